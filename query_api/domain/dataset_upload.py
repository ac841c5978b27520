"""Uploads of datasets: what a JSON body or a form with a file says, as examples that can be stored."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast, get_args

import msgspec
import orjson

from infra.runtime.errors import ValidationFailed
from query_api.control.dataset_plan import Action, NewExample
from query_api.domain.dataset_files import CSV, Row, SentFile, read_rows, too_many

_PREFIXES: Final = ("input.", "output.", "metadata.")
_LONGEST_NAME: Final = 300
_LONGEST_ID: Final = 500
_DIGEST_BYTES: Final = 16


class Upload(NamedTuple):
    """A request to put examples into a dataset."""

    name: str
    description: str | None
    action: Action
    examples: list[NewExample]
    set_splits: bool
    """Whether the upload says which splits its examples belong to."""


class Limits(NamedTuple):
    """How much an upload may hold."""

    bytes: int
    """After decompression."""
    examples: int


def from_json(body: bytes, limits: Limits) -> Upload:
    """The upload of a JSON body. Raises ValidationFailed and TooLarge."""
    try:
        sent = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValidationFailed(f"The body is not JSON: {error}.") from error
    if not isinstance(sent, dict):
        raise ValidationFailed("The body must be a JSON object.")
    inputs = sent.get("inputs")
    if inputs is None:
        raise ValidationFailed("inputs are required")
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise ValidationFailed("inputs should be a list containing only dictionary objects")
    count = len(inputs)
    if count > limits.examples:
        raise too_many(limits.examples)
    outputs, metadata = (_objects(sent, name, count) for name in ("outputs", "metadata"))
    splits, spans, ids = (_column(sent, name, count) for name in ("splits", "span_ids", "example_ids"))
    examples = [
        _example(
            f"inputs[{number}]",
            each,
            outputs[number] if outputs else {},
            metadata[number] if metadata else {},
            splits=_splits(splits[number]) if splits else frozenset(),
            external_id=_external_id(ids[number]) if ids else None,
            span_id=_span_id(spans[number]) if spans else None,
        )
        for number, each in enumerate(inputs)
    ]
    _unique(examples)
    return Upload(_name(sent.get("name")), _description(sent.get("description")), _action(sent.get("action")), examples, splits is not None)


def from_form(fields: Mapping[str, Sequence[str]], file: SentFile, limits: Limits) -> Upload:
    """The upload of a form with a file, whose columns the fields share out. Raises ValidationFailed, TooLarge and UnsupportedMediaType."""
    name, action = _name(_one(fields, "name")), _action(_one(fields, "action"))
    keys = _Keys.of(fields)
    table = read_rows(file, limits.bytes, limits.examples)
    keys.check(table.columns)
    is_csv = file.content_type.lower().startswith(CSV)
    examples = [_from_row(row, keys, is_csv) for row in table.rows]
    _unique(examples)
    return Upload(name, _description(_one(fields, "description")) or file.name or None, action, examples, bool(keys.split or keys.splits))


class _Keys(NamedTuple):
    """Which column goes where."""

    input: Sequence[str]
    output: Sequence[str]
    metadata: Sequence[str]
    flatten: frozenset[str]
    """Columns of objects whose members go where the column goes."""
    splits: Sequence[str]
    """Columns with the name of one split each."""
    split: str | None
    """The column with the name of a split, or a JSON list of names."""
    span_id: str | None
    example_id: str | None

    @staticmethod
    def of(fields: Mapping[str, Sequence[str]]) -> "_Keys":
        columns = {
            name: [each for each in dict.fromkeys(fields.get(f"{name}_keys[]", ())) if each] for name in ("input", "output", "metadata", "split", "flatten")
        }
        split, span_id, example_id = (_one(fields, name) or None for name in ("split_key", "span_id_key", "example_id_key"))
        if split and columns["split"]:
            raise ValidationFailed("Send either split_key or split_keys[], not both.")
        flatten = frozenset(columns["flatten"])
        return _Keys(columns["input"], columns["output"], columns["metadata"], flatten, columns["split"], split, span_id, example_id)

    @property
    def dotted(self) -> bool:
        """Whether the columns are named as the CSV export names them: `input.question`, with objects and lists as JSON."""
        return not self.flatten and any(key.startswith(_PREFIXES) for key in (*self.input, *self.output, *self.metadata))

    def check(self, columns: frozenset[str]) -> None:
        for what, keys in (("input", self.input), ("output", self.output), ("metadata", self.metadata), ("split", self.splits), ("flatten", self.flatten)):
            missing = sorted(set(keys) - columns)
            if missing:
                raise ValidationFailed(f"{what} keys not found in column headers: {', '.join(missing)}. The file has {', '.join(sorted(columns)) or 'none'}.")
        for what, key in (("split_key", self.split), ("span_id_key", self.span_id), ("example_id_key", self.example_id)):
            if key and key not in columns:
                raise ValidationFailed(f"{what} {key!r} not found in column headers. The file has {', '.join(sorted(columns)) or 'none'}.")


def _from_row(row: Row, keys: _Keys, is_csv: bool) -> NewExample:
    parts = (
        _bucket(row, names, prefix, keys.flatten, nested=is_csv and keys.dotted)
        for names, prefix in zip((keys.input, keys.output, keys.metadata), _PREFIXES, strict=True)
    )
    given = [row.values.get(each) for each in ((keys.split,) if keys.split else keys.splits)]
    splits = frozenset[str]().union(*(_splits(_listed(each) if keys.split else each) for each in given))
    span, own = (row.values.get(key) if key else None for key in (keys.span_id, keys.example_id))
    return _example(row.place, *parts, splits=splits, external_id=_external_id(_cell(own)), span_id=_span_id(_cell(span)))


def _bucket(row: Row, names: Sequence[str], prefix: str, flatten: frozenset[str], *, nested: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        if name not in row.values:
            continue
        value = row.values[name]
        if name in flatten:
            members = _container(value)
            if not isinstance(members, dict):
                raise ValidationFailed(f"{row.place}: cannot flatten {name!r}: it is not an object")
            twice = sorted(found.keys() & members.keys())
            if twice:
                raise ValidationFailed(f"{row.place}: cannot flatten {name!r}: there is another {twice[0]!r}")
            found |= members
        elif nested and name.startswith(prefix):
            _nest(found, name.removeprefix(prefix).split("."), _container(value), f"{row.place}: {name}")
        elif name in found:
            raise ValidationFailed(f"{row.place}: {name!r} comes from a flattened column as well")
        else:
            found[name] = _container(value) if nested else value
    return found


def _nest(into: dict[str, Any], path: Sequence[str], value: Any, where: str) -> None:
    for step in path[:-1]:
        into = into.setdefault(step, {})
        if not isinstance(into, dict):
            break
    if not isinstance(into, dict) or path[-1] in into:
        raise ValidationFailed(f"{where}: another column gives a value to the same place")
    into[path[-1]] = value


def _container(value: Any) -> Any:
    """The object or list that a text spells, and anything else as it is."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            return msgspec.json.decode(value.strip().encode())
        except (msgspec.DecodeError, RecursionError):
            return value
    return value


def _listed(value: Any) -> Any:
    found = _container(value)
    return found if isinstance(found, list) else value


def _cell(value: Any) -> str | None:
    """An id in a file; numbers are taken for their digits, and pandas writes `nan` where there is none."""
    text = "" if value is None else str(value).strip()
    return None if text.lower() == "nan" else text or None


def _example(
    place: str,
    input: dict[str, Any],
    output: dict[str, Any],
    metadata: dict[str, Any],
    *,
    splits: frozenset[str],
    external_id: str | None,
    span_id: str | None,
) -> NewExample:
    try:
        asked, answered, meta = (orjson.dumps(part, default=str).decode() for part in (input, output, metadata))
        whole = orjson.dumps((input, output, metadata), default=str, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise ValidationFailed(f"{place}: {error}; send such a value as a text") from error
    return NewExample(asked, answered, meta, blake2b(whole, digest_size=_DIGEST_BYTES).hexdigest(), splits, external_id, span_id=span_id)


def _one(fields: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(fields.get(name, ())), "")


def _name(value: Any) -> str:
    if not value or not isinstance(value, str):
        raise ValidationFailed("Dataset name is required")
    return plain(value, "name", _LONGEST_NAME)


def _description(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValidationFailed("description must be a text")
    return plain(value, "description") if value else None


def _action(value: Any) -> Action:
    action = value.lower() if isinstance(value, str) else value
    if action not in (None, "", *get_args(Action)):
        raise ValidationFailed(f"Invalid dataset action: {value}. Use create, append or update.")
    return cast(Action, action or "create")


def _objects(sent: Mapping[str, Any], name: str, count: int) -> list[dict[str, Any]]:
    values = sent.get(name) or []
    if not isinstance(values, list) or (values and len(values) != count) or not all(isinstance(each, dict) for each in values):
        raise ValidationFailed(f"{name} should be a list of same length as inputs containing only dictionary objects")
    return values


def _column(sent: Mapping[str, Any], name: str, count: int) -> list[Any] | None:
    values = sent.get(name)
    if values is not None and not isinstance(values, list):
        raise ValidationFailed(f"{name} must be a list")
    if values is not None and len(values) != count:
        raise ValidationFailed(f"{name} must have same length as inputs ({len(values)} != {count})")
    return values


def _splits(value: Any) -> frozenset[str]:
    names: Iterable[Any] = value if isinstance(value, list) else (value,)
    wrong = next((each for each in names if each is not None and not isinstance(each, str)), None)
    if wrong is not None:
        raise ValidationFailed(f"Split value must be a string, list of strings, or None, got {type(wrong).__name__}")
    return frozenset(plain(each.strip(), "split", _LONGEST_NAME) for each in names if each and each.strip())


def _span_id(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValidationFailed(f"Span ID must be a string or None, got {type(value).__name__}")
    return value.strip() or None if value else None


def _external_id(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValidationFailed("example_ids must contain only strings or None")
    return plain(value, "example_id", _LONGEST_ID) if value else None


def _unique(examples: Sequence[NewExample]) -> None:
    seen: set[str] = set()
    for each in examples:
        if each.external_id is not None and each.external_id in seen:
            raise ValidationFailed(f"Duplicate example_id in request: {each.external_id!r}. Every example can be given once.")
        seen.add(each.external_id or "")


def plain(text: str, what: str, longest: int | None = None) -> str:
    """The text, where a database can keep it. Raises ValidationFailed for a NUL character and for one that is too long."""
    if "\x00" in text:
        raise ValidationFailed(f"{what}: holds a NUL character, which cannot be stored")
    if longest is not None and len(text) > longest:
        raise ValidationFailed(f"{what}: has {len(text)} characters; {longest} are allowed")
    return text
