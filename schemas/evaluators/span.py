"""A stored span as filters and evaluators see it."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson
from google.protobuf.message import DecodeError

from schemas.any_value import Value, decode
from schemas.evaluators.verdict import CannotJudge
from schemas.llm_model import openinference

COLUMNS: Final = """trace_id, span_id, parent_id, project, name, span_kind, status_code, status_message, session_id, user_id,
       llm_provider, llm_model, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
       toUnixTimestamp64Nano(start_time) AS start_ns, toUnixTimestamp64Nano(end_time) AS end_ns,
       mapApply((key, value) -> (key, base64Encode(value)), attributes) AS encoded"""
"""What a reader selects from `spans` to build an `EvaluatedSpan`."""

_FIELDS: Final = frozenset(
    {
        "trace_id", "span_id", "parent_id", "project", "name", "span_kind", "status_code", "status_message", "session_id", "user_id",
        "llm_provider", "llm_model", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "latency_ms",
    }
)  # fmt: skip
_SHORT: Final[Mapping[str, tuple[str, ...]]] = {
    "input": ("input.value", "gen_ai.input.messages", "gen_ai.prompt"),
    "output": ("output.value", "gen_ai.output.messages", "gen_ai.completion"),
}
"""Names that stand for the first of some attributes that is there: OpenInference's, else that of the GenAI conventions."""
_TEXTS: Final = ("trace_id", "span_id", "parent_id", "project", "name", "status_message", "session_id", "user_id", "llm_provider", "llm_model")
_NUMBERS: Final = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "start_ns", "end_ns")
STATUS_CODES: Final = ("UNSET", "OK", "ERROR")
"""By OTLP's number."""
_YEAR_NS: Final = 366 * 86_400 * 1_000_000_000


@dataclass(frozen=True)
class EvaluatedSpan:
    """One span. Attributes are decoded when they are asked for."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty for a root."""
    project: str
    name: str
    span_kind: str
    """In capitals; UNKNOWN for none."""
    status_code: str
    """UNSET, OK or ERROR."""
    status_message: str
    session_id: str
    user_id: str
    llm_provider: str
    llm_model: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    start_ns: int
    end_ns: int
    raw: Mapping[str, bytes]
    """Attributes as serialised AnyValues."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "EvaluatedSpan":
        """The span in a row of `COLUMNS`; 64-bit numbers may be text."""
        plain: dict[str, Any] = {name: str(row[name]) for name in _TEXTS} | {name: int(row[name]) for name in _NUMBERS}
        return cls(
            **plain,
            span_kind=str(row["span_kind"]).upper() or "UNKNOWN",
            status_code=STATUS_CODES[int(row["status_code"]) if int(row["status_code"]) in (1, 2) else 0],
            raw=_Encoded(row["encoded"]),
        )

    @property
    def latency_ms(self) -> float:
        """Milliseconds from start to end."""
        return (self.end_ns - self.start_ns) / 1e6

    @property
    def ended_us(self) -> int:
        """When it ended, in microseconds: the time its evaluations are counted at. The start of one that claims to have ended before it, or a year after."""
        return (self.end_ns if 0 <= self.end_ns - self.start_ns <= _YEAR_NS else self.start_ns) // 1_000

    @cached_property
    def attributes(self) -> Mapping[str, Value]:
        """Attributes as they were sent, each decoded when it is asked for."""
        return _Decoded(self.raw)

    @cached_property
    def known(self) -> Mapping[str, Any]:
        """Attributes by flat names, those of OpenInference beside the original ones."""
        return openinference(dict(self.attributes))

    def value(self, name: str) -> Any:
        """A field (`name`, `latency_ms`), an attribute (`llm.model_name`, also with `attributes.` in front), what is below a name
        (`retrieval.documents`), or `input` and `output`; None when it is not there."""
        if name in _FIELDS:
            return getattr(self, name)
        for each in _SHORT.get(name, (name.removeprefix("attributes."),)):
            found = self.attributes.get(each)
            if found is None:
                found = self.known.get(each)
            if found is None:
                found = {key.removeprefix(f"{each}."): value for key, value in self.known.items() if key.startswith(f"{each}.")} or None
            if found is not None:
                return found
        return None

    def text(self, name: str) -> str:
        """The value as text, JSON unless it is text. Raises CannotJudge when it is not there."""
        found = self.value(name)
        if found is None:
            raise CannotJudge("missing", f"the span has no `{name}`")
        return found if isinstance(found, str) else orjson.dumps(found, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


class _Encoded(Mapping[str, bytes]):
    """Attributes as they cross the engine's JSON, taken out of their base64 one by one."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> bytes:
        return base64.b64decode(self._values[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class _Decoded(Mapping[str, Value]):
    """Attributes, decoded one by one; one that cannot be read is null."""

    def __init__(self, raw: Mapping[str, bytes]) -> None:
        self._raw = raw
        self._values: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self._values:
            stored = self._raw[name]
            try:
                self._values[name] = decode(stored)
            except DecodeError:
                self._values[name] = None
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


def _plain(value: Any) -> str:
    return base64.b64encode(value).decode()
