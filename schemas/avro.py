"""The Avro records: control records, window updates, marks and uses of keys.

A record on a topic is two bytes, the type and the version of the schema it was written with, then the Avro binary
body. A new version of a schema only appends fields with defaults at the end. So both ways stay open without a
registry: a record of an older version is resolved against the newest schema, and one of a version newer than this
program is read as the newest version it knows, the appended rest being left aside. The test of this module holds
every version against a stored copy.
"""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final, Literal, NamedTuple, cast

import fastavro
import msgspec

from schemas.definition_kinds import ControlRecord
from schemas.definitions import Definitions

WindowKind = Literal["assignments", "cardinality", "cost", "significance", "evaluation"]
MarkReason = Literal["block", "recompute", "definition"]


class WindowUpdate(msgspec.Struct, frozen=True):
    """A new revision of one window."""

    kind: str
    """One of `WindowKind`."""
    tenant: str
    subject: str
    """What the window is about; its form depends on the kind."""
    grain: str
    """Value of `schemas.windows.Grain`."""
    window_start_us: int
    revision: int
    """Rises each time the window is computed anew."""
    computed_at_us: int
    positions: Mapping[str, int]
    """Highest offset by `topic:partition` that the revision holds; see `schemas.position`."""
    payload: str
    """The window as JSON."""


class Mark(msgspec.Struct, frozen=True):
    """What one stored block touched of one subject."""

    tenant: str
    subject: str
    topic: str
    """Topic of the block; empty when no block is behind the mark."""
    partition: int
    offset: int
    batch_id: str
    minutes: tuple[int, ...]
    """Minutes since the epoch with touched event times."""
    units: tuple[str, ...] | None = None
    """Units that changed; None when there are too many to name, or when it is not about units."""
    rows: int = 0
    keyed: bool = True
    """Whether the rows have a key they replace each other by."""
    produced_at_us: int = 0
    reason: str = "block"
    """One of `MarkReason`."""


class KeyUse(msgspec.Struct, frozen=True):
    """When an API key was last used."""

    tenant: str
    id: str
    """Of the key."""
    used_at_us: int

    @property
    def key(self) -> bytes:
        """Key on the compacted topic."""
        return f"{self.tenant}/{self.id}".encode()


class EvaluationTask(msgspec.Struct, frozen=True):
    """One span that a model is to judge."""

    tenant: str
    rule: str
    annotation: str
    """Name of the annotation."""
    unit: str
    """span or trace_root."""
    trace_id: str
    span_id: str
    project: str
    ended_us: int
    """When the span ended."""
    prompt: str
    """The rule's template with the values of the span."""
    judge: str
    """The rule's evaluator when the span came, as JSON."""
    queued_at_us: int


class AvroType(NamedTuple):
    """One type of record with all versions of its schema, oldest first."""

    id: int
    """First byte of every record of this type; never reused."""
    name: str
    versions: tuple[dict[str, Any], ...]


def _record(name: str, doc: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "millstream", "doc": doc, "fields": list(fields)}


CONTROL: Final = AvroType(
    1,
    "control",
    (
        _record(
            "Control",
            "One version of one definition.",
            {"name": "kind", "type": "string"},
            {"name": "tenant", "type": "string"},
            {"name": "id", "type": "string"},
            {"name": "version", "type": "long"},
            {"name": "deleted", "type": "boolean"},
            {"name": "payload", "type": "string"},
            {"name": "updated_at_us", "type": "long"},
        ),
    ),
)
UPDATE: Final = AvroType(
    2,
    "update",
    (
        _record(
            "WindowUpdate",
            "A new revision of one window.",
            {"name": "kind", "type": "string"},
            {"name": "tenant", "type": "string"},
            {"name": "subject", "type": "string"},
            {"name": "grain", "type": "string"},
            {"name": "window_start_us", "type": "long"},
            {"name": "revision", "type": "long"},
            {"name": "computed_at_us", "type": "long"},
            {"name": "positions", "type": {"type": "map", "values": "long"}},
            {"name": "payload", "type": "string"},
        ),
    ),
)
MARK: Final = AvroType(
    3,
    "mark",
    (
        _record(
            "Mark",
            "What one stored block touched of one subject.",
            {"name": "tenant", "type": "string"},
            {"name": "subject", "type": "string"},
            {"name": "topic", "type": "string"},
            {"name": "partition", "type": "int"},
            {"name": "offset", "type": "long"},
            {"name": "batch_id", "type": "string"},
            {"name": "minutes", "type": {"type": "array", "items": "long"}},
            {"name": "units", "type": ["null", {"type": "array", "items": "string"}]},
            {"name": "rows", "type": "int"},
            {"name": "keyed", "type": "boolean"},
            {"name": "produced_at_us", "type": "long"},
            {"name": "reason", "type": "string"},
        ),
    ),
)
KEY_USE: Final = AvroType(
    4,
    "key_use",
    (
        _record(
            "KeyUse",
            "When an API key was last used.",
            {"name": "tenant", "type": "string"},
            {"name": "id", "type": "string"},
            {"name": "used_at_us", "type": "long"},
        ),
    ),
)
EVALUATION_TASK: Final = AvroType(
    5,
    "evaluation_task",
    (
        _record(
            "EvaluationTask",
            "One span that a model is to judge.",
            {"name": "tenant", "type": "string"},
            {"name": "rule", "type": "string"},
            {"name": "annotation", "type": "string"},
            {"name": "unit", "type": "string"},
            {"name": "trace_id", "type": "string"},
            {"name": "span_id", "type": "string"},
            {"name": "project", "type": "string"},
            {"name": "ended_us", "type": "long"},
            {"name": "prompt", "type": "string"},
            {"name": "judge", "type": "string"},
            {"name": "queued_at_us", "type": "long"},
        ),
    ),
)
AVRO_TYPES: Final = (CONTROL, UPDATE, MARK, KEY_USE, EVALUATION_TASK)

_PARSED: Final = {kind.id: tuple(fastavro.parse_schema(version, named_schemas={}) for version in kind.versions) for kind in AVRO_TYPES}


def encode_control(record: ControlRecord) -> bytes:
    """The record as it stands on the control topic."""
    return _encode(CONTROL, msgspec.structs.asdict(record))


def decode_control(data: bytes) -> ControlRecord:
    """Raises ValueError when `data` is not a control record."""
    return msgspec.convert(_decode(CONTROL, data), ControlRecord)


def applied_to(definitions: Definitions) -> Callable[[bytes, bytes], None]:
    """Takes key and value of each record of the control topic into `definitions`; an empty value, a Kafka tombstone, says nothing.

    The callable raises ValueError or `msgspec.ValidationError` for a record that is not one, with nothing changed.
    """

    def apply(_key: bytes, value: bytes) -> None:
        if value:
            definitions.apply(decode_control(value))

    return apply


def encode_update(update: WindowUpdate) -> bytes:
    """The update as it stands on the updates topic."""
    return _encode(UPDATE, msgspec.structs.asdict(update))


def decode_update(data: bytes) -> WindowUpdate:
    """Raises ValueError when `data` is not a window update."""
    return msgspec.convert(_decode(UPDATE, data), WindowUpdate)


def encode_mark(mark: Mark) -> bytes:
    """The mark as it stands on a topic of marks."""
    return _encode(MARK, msgspec.structs.asdict(mark))


def decode_mark(data: bytes) -> Mark:
    """Raises ValueError when `data` is not a mark."""
    return msgspec.convert(_decode(MARK, data), Mark)


def encode_key_use(use: KeyUse) -> bytes:
    """The use as it stands on the topic of key usage."""
    return _encode(KEY_USE, msgspec.structs.asdict(use))


def decode_key_use(data: bytes) -> KeyUse:
    """Raises ValueError when `data` is not the use of a key."""
    return msgspec.convert(_decode(KEY_USE, data), KeyUse)


def encode_evaluation_task(task: EvaluationTask) -> bytes:
    """The task as it stands on the topic of evaluation tasks."""
    return _encode(EVALUATION_TASK, msgspec.structs.asdict(task))


def decode_evaluation_task(data: bytes) -> EvaluationTask:
    """Raises ValueError when `data` is not an evaluation task."""
    return msgspec.convert(_decode(EVALUATION_TASK, data), EvaluationTask)


def _encode(kind: AvroType, values: Mapping[str, Any]) -> bytes:
    out = BytesIO()
    out.write(bytes((kind.id, len(kind.versions))))
    # Within a union fastavro takes a pair for (name of the branch, value), so sequences go in as lists.
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    fastavro.schemaless_writer(out, _PARSED[kind.id][-1], plain)
    return out.getvalue()


def _decode(kind: AvroType, data: bytes) -> dict[str, Any]:
    if len(data) < 2 or data[0] != kind.id or data[1] == 0:
        raise ValueError(f"not a {kind.name} record: it starts with {data[:2].hex() or 'nothing'}, expected {kind.id:02x} and a version")
    schemas = _PARSED[kind.id]
    writer = schemas[min(data[1], len(schemas)) - 1]
    try:
        values = fastavro.schemaless_reader(BytesIO(data[2:]), writer, None if writer is schemas[-1] else schemas[-1])
    except Exception as error:
        # fastavro reports broken bytes by whatever its C code ran into: EOFError, IndexError, UnicodeDecodeError and more.
        raise ValueError(f"broken {kind.name} record of version {data[1]}: {type(error).__name__} {error}") from error
    return cast(dict[str, Any], values)
