"""Crucible telemetry: from a JSON body to columns and blocks."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from infra.runtime.clock import Clock
from infra.runtime.errors import ValidationFailed
from infra.runtime.settings import IngestSettings
from ingest import json_objects, json_rows
from ingest.json_objects import JsonObjects
from ingest.json_rows import ItemError, Received
from schemas.arrow_stream import stream
from schemas.blocks import Block, Touched
from schemas.topics import TELEMETRY

_LONGEST_NAME: Final = 512
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST_NAME)]


class TelemetryIn(msgspec.Struct, gc=False):
    """A telemetry event as a client sends it."""

    event_name: Name | Annotated[list[Name], msgspec.Meta(min_length=1, max_length=32)]
    measurements: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()
    timestamp: str | None = None
    id: Name | None = None


class _KnownIn(TelemetryIn, forbid_unknown_fields=True):
    """One without fields that are unknown here."""


class _Batch(msgspec.Struct):
    events: list[_KnownIn]


class _OfExperiment(msgspec.Struct):
    experiment_id: Any = None


_batch = msgspec.json.Decoder(_Batch)
_of_experiment = msgspec.json.Decoder(_OfExperiment)
_FIELDS = {field.name for field in msgspec.structs.fields(TelemetryIn)}
_item = msgspec.json.Decoder(TelemetryIn)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value = msgspec.json.Decoder()
_NULL: Final = msgspec.Raw(b"null")
_SHAPES: Final = bytes.maketrans(b"123456789E", b"000000000e")
_BEYOND: Final = (b"0e000", b"0e+000", b"0" * 309)
"""What a number beyond a double has one of, where every digit is a nought. To look for them is ten times as fast as a regular expression."""


class _Event(NamedTuple):
    """An event that was looked at as a whole."""

    sent: TelemetryIn
    name: str
    experiment: str


@dataclass(frozen=True)
class TelemetryRows:
    """Validated telemetry of one request, as Arrow columns: a part of a block."""

    table: pa.Table
    errors: list[ItemError]

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    @property
    def size(self) -> int:
        return int(self.table.nbytes)


def decode(body: bytes, received: Received, settings: IngestSettings) -> TelemetryRows:
    """Validate a body `{"events": [...]}`; refused items are in `errors`, the others in the columns.

    Raises InvalidArgument when the body is not JSON, ValidationFailed when it is not a batch, TooLarge above the row limit.
    """
    json_rows.check_utf8(body)
    try:
        events = _batch.decode(body).events
        json_rows.check_rows(len(events), settings)
        json_rows.check_nesting(body, 2 * len(events), settings.max_nesting)
        if not _may_be_beyond(body):
            return TelemetryRows(_columns([_looked_at(event) for event in events], None, received, settings), [])
    except (msgspec.MsgspecError, RecursionError, ValidationFailed):
        pass  # one by one, the item at fault is found and named
    good, extras, errors = json_rows.one_by_one(json_rows.items_of(body, settings), _decode_item)
    return TelemetryRows(_columns(good, extras, received, settings), errors)


def _looked_at(event: TelemetryIn) -> _Event:
    """Raises ValidationFailed and MsgspecError for one that is at fault, without saying where."""
    metadata = event.metadata
    experiment = _of_experiment.decode(metadata).experiment_id if len(metadata) and metadata != _NULL else ""
    return _Event(event, _name(event), experiment if isinstance(experiment, str) else "")


def _name(event: TelemetryIn) -> str:
    name = event.event_name if isinstance(event.event_name, str) else ".".join(event.event_name)
    if len(name) > _LONGEST_NAME:
        message = f"`event_name` has {len(name)} characters with the dots between its parts; at most {_LONGEST_NAME} are taken."
        raise ValidationFailed(message, details={"field": "event_name"})
    return name


def _decode_item(raw: bytes) -> tuple[_Event, str]:
    try:
        event = _item.decode(raw)
        fields = _fields.decode(raw)
    except msgspec.ValidationError as error:
        raise json_rows.field_error(error) from error
    except msgspec.DecodeError as error:
        raise ValidationFailed(f"The event is not valid JSON: {error}") from error
    except RecursionError as error:
        raise ValidationFailed("The event nests too deep.") from error
    name = _name(event)
    _object(event.measurements, "measurements")
    experiment = _object(event.metadata, "metadata").get("experiment_id")
    json_rows.times_of([event.timestamp], "timestamp")
    extra = {name: value for name, value in fields.items() if name not in _FIELDS}
    found = _Event(event, name, experiment if isinstance(experiment, str) else "")
    return found, msgspec.json.encode(extra).decode() if extra else ""


def _object(raw: msgspec.Raw, field: str) -> dict[str, Any]:
    """What is in an object that was sent; nothing for one that was not. Raises ValidationFailed also for a number beyond a double: of a text with one
    such number ClickHouse reads nothing at all."""
    text = bytes(raw)
    json_rows.check_object(text, field)
    if text[:1] != b"{":
        return {}
    try:
        value: dict[str, Any] = _value.decode(text)
    except msgspec.ValidationError as error:
        raise _beyond_a_double(field) from error
    if _may_be_beyond(text) and not _fits(value):
        raise _beyond_a_double(field)
    return value


def _may_be_beyond(text: bytes) -> bool:
    """False where no number is beyond a double."""
    shapes = text.translate(_SHAPES)
    return any(shape in shapes for shape in _BEYOND)


def _beyond_a_double(field: str) -> ValidationFailed:
    return ValidationFailed(f"`{field}` has a number beyond 1.8e308: send it as a text, or leave it out.", details={"field": field})


def _fits(value: Any) -> bool:
    """Whether every number in it fits into a double."""
    if isinstance(value, dict):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or abs(value) <= sys.float_info.max


def _columns(found: list[_Event], extras: list[str] | None, received: Received, settings: IngestSettings) -> pa.Table:
    """`extras` are the unknown fields of each; None when none has any."""
    count = len(found)
    events = [each.sent for each in found]
    times = json_rows.times_of([e.timestamp for e in events], "timestamp", received.at_us)
    at = np.full(count, received.at_us, dtype=np.int64)
    own, made = [e.id for e in events], json_rows.numbered(received.id_prefix, count)
    columns = {
        "tenant": pa.repeat(received.tenant, count),
        "event_name": pa.array([each.name for each in found], pa.string()),
        "experiment": pa.array([each.experiment for each in found], pa.string()),
        "event_id": pa.array([mine or ours for mine, ours in zip(own, made, strict=True)] if any(own) else made, pa.string()),
        "keyed": pa.array([int(mine is not None) for mine in own], pa.uint8()) if any(own) else pa.repeat(pa.scalar(0, pa.uint8()), count),
        "time": json_rows.micros_column(times),
        "received": json_rows.micros_column(at),
        "quarantined": pa.array(json_rows.quarantined(times, at, settings)),
        "measurements": json_objects.column([JsonObjects.of([e.measurements for e in events], "measurements")]),
        "metadata": json_objects.column([JsonObjects.of([e.metadata for e in events], "metadata")]),
        "extra": pa.repeat("", count) if extras is None else pa.array(extras, pa.string()),
    }
    return pa.table(columns)


def assembler(clock: Clock) -> Callable[[Sequence[TelemetryRows], str], Block]:
    """How group commit makes a `telemetry/1` block of several requests' rows."""

    def assemble(parts: Sequence[TelemetryRows], batch_id: str) -> Block:
        table = pa.concat_tables([part.table for part in parts]).combine_chunks()
        times = table["time"].cast(pa.int64()).to_numpy()
        names = pa.table({"tenant": table["tenant"], "name": table["event_name"]}).group_by(["tenant", "name"], use_threads=False).aggregate([])
        touched = tuple(Touched(row["tenant"], row["name"], (), (), False) for row in names.to_pylist())
        body = stream({name: table[name].chunk(0) for name in table.column_names})
        return Block(TELEMETRY, batch_id, "telemetry/1", table.num_rows, body, int(times.min()), int(times.max()), clock.now_us(), touched)

    return assemble
