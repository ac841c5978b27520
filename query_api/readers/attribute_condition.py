"""The condition that an attribute has a value, in every form in which a span may carry the two.

An attribute is shown under its dotted path, whichever of these it came as: an attribute of that name; one of the GenAI conventions that means
the same; a member of a key-value list; a member of an attribute that is JSON text. Numbers are equal when their values are.
"""

from collections.abc import Iterator
from math import isfinite
from typing import Any, Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from query_api.readers.conditions import Conditions
from schemas.any_value import encode, message_of, sql_text
from schemas.llm_model import JSON_TEXTS, KIND_OF_OPERATION, NAMES, provider_names
from schemas.tables.spans import REST_SCOPE, pair

_WHOLE: Final = range(-(2**63), 2**63)
_LIST: Final = "2"
"""First byte of a stored key-value list."""


class AttributeIs(NamedTuple):
    """An attribute has a value: text, a truth value, or a number, whole or not."""

    path: str
    value: str | bool | int | float


def attribute_condition(conditions: Conditions, prefix: str, wanted: AttributeIs, *, roughly: bool = False) -> Conditions:
    """`conditions` and that the attribute has the value; `prefix` keeps the parameters of several apart.

    `roughly` asks where possible only for what the small column `pairs` knows: every span with the value fits, and few others do.
    """
    return _Condition(prefix, wanted).added_to(conditions, roughly=roughly)


class _Condition:
    def __init__(self, prefix: str, wanted: AttributeIs) -> None:
        self._prefix = prefix
        self._wanted = wanted
        self._params: dict[str, Any] = {}
        self._pairs: list[str] = []
        """What `pairs` may hold of a span with the attribute."""

    def added_to(self, conditions: Conditions, *, roughly: bool) -> Conditions:
        forms = [*self._named(), *self._members(), *self._said()]
        # Only of `metadata` it is known what its text says, and only at the top level; of other texts nothing can be ruled out.
        texts = [path for path, _ in _splits(self._wanted.path) if path.endswith(JSON_TEXTS)]
        prunable = not texts or (texts == ["metadata"] and self._wanted.path.count(".") == 1 and not _exponential(self._wanted.value))
        known = [f"hasAny(pairs, [{', '.join(self._pairs)}])"] if prunable else []
        sql = " AND ".join(known if known and roughly else [*known, f"({' OR '.join(f'({form})' for form in forms)})"])
        return conditions.and_also(sql, **{name: value for name, value in self._params.items() if f"{{{name}:" in sql})

    def _named(self) -> Iterator[str]:
        """Under its own name, else under the first one present that means the same."""
        absent: list[str] = []
        for name in (self._wanted.path, *NAMES.get(self._wanted.path, ()), *_KIND_SOURCES.get(self._wanted.path, ())):
            path = self._param(name)
            stored = [self._bytes(raw) for value in _meaning(name, self._wanted) for raw in _encodings(value)]
            if stored:
                yield " AND ".join([*absent, f"attributes[{path}] IN ({', '.join(stored)})"])
            self._pairs += [pair(path, raw) for raw in stored]
            absent.append(f"NOT mapContains(attributes, {path})")

    def _members(self) -> Iterator[str]:
        """As a member of a key-value list."""
        for path, rest in _splits(self._wanted.path):
            name = self._param(path)
            self._pairs.append(pair(name))
            for value in _numbers(self._wanted.value):
                member = self._bytes(KeyValue(key=rest, value=message_of(value)).SerializeToString())
                yield f"startsWith(attributes[{name}], '{_LIST}') AND position(attributes[{name}], {member}) > 0"

    def _said(self) -> Iterator[str]:
        """As what a JSON text says."""
        for path, rest in _splits(self._wanted.path):
            if path.endswith(JSON_TEXTS):
                text = sql_text(f"attributes[{self._param(path)}]")
                keys = ", ".join(self._param(key) for key in rest.split("."))
                value = self._wanted.value
                if isinstance(value, str):
                    said = f"JSONType({text}, {keys}) = 'String' AND JSONExtractString({text}, {keys}) = {self._param(value)}"
                elif isinstance(value, bool):
                    said = f"JSONType({text}, {keys}) = 'Bool' AND JSONExtractBool({text}, {keys}) = {int(value)}"
                else:
                    said = f"JSONType({text}, {keys}) IN ('Int64', 'UInt64', 'Double') AND JSONExtractFloat({text}, {keys}) = {self._param(float(value))}"
                yield f"scope_name != '{REST_SCOPE}' AND {said}"
                self._pairs.append(pair("'metadata'", self._param(rest), self._param(_shown(value))))

    def _param(self, value: str | float) -> str:
        name = next((name for name, known in self._params.items() if known == value and type(known) is type(value)), None)
        if name is None:
            name = f"{self._prefix}_{len(self._params)}"
            self._params[name] = value
        return f"{{{name}:{'String' if isinstance(value, str) else 'Float64'}}}"

    def _bytes(self, raw: bytes) -> str:
        return f"unhex({self._param(raw.hex())})"


_KIND_SOURCES: Final = {"openinference.span.kind": ("gen_ai.operation.name",)}


def _meaning(name: str, wanted: AttributeIs) -> list[str | bool | int | float]:
    """Values under this name that mean the wanted one."""
    if name == wanted.path:
        return [wanted.value]
    if wanted.path == "llm.provider" and isinstance(wanted.value, str):
        return list(provider_names(wanted.value))
    if wanted.path == "openinference.span.kind":
        return [operation for operation, kind in KIND_OF_OPERATION.items() if kind == wanted.value]
    return [wanted.value]


def _splits(path: str) -> list[tuple[str, str]]:
    """Every way to cut a dotted path in two."""
    steps = path.split(".")
    return [(".".join(steps[:at]), ".".join(steps[at:])) for at in range(1, len(steps))]


def _numbers(value: str | bool | int | float) -> list[str | bool | int | float]:
    """The value in each type in which it is equal."""
    if isinstance(value, bool | str):
        return [value]
    whole = [int(value)] if isfinite(value) and value == int(value) and int(value) in _WHOLE else []
    return [*whole, float(value)]


def _encodings(value: str | bool | int | float) -> list[bytes]:
    return [encode(each) for each in _numbers(value)]


def _exponential(value: str | bool | int | float) -> bool:
    """Whether it is a number that the engine shows with an exponent in a form of its own."""
    return not isinstance(value, str) and "e" in str(float(value))


def _shown(value: str | bool | int | float) -> str:
    """As the engine shows a value of a JSON text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(_numbers(value)[0])
