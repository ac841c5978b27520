"""Crucible telemetry: from a JSON body to columns and blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

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

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class TelemetryIn(msgspec.Struct, gc=False):
    """A telemetry event as a client sends it."""

    event_name: Name | Annotated[list[Name], msgspec.Meta(min_length=1, max_length=32)]
    measurements: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()
    timestamp: str | None = None
    id: Name | None = None


_FIELDS = {field.name for field in msgspec.structs.fields(TelemetryIn)}
_item = msgspec.json.Decoder(TelemetryIn)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


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
    good, extras, errors = json_rows.one_by_one(json_rows.items_of(body, settings), _decode_item)
    return TelemetryRows(_columns(good, extras, received, settings), errors)


def _decode_item(raw: bytes) -> tuple[TelemetryIn, str]:
    try:
        event = _item.decode(raw)
        fields = _fields.decode(raw)
    except msgspec.ValidationError as error:
        raise json_rows.field_error(error) from error
    except msgspec.DecodeError as error:
        raise ValidationFailed(f"The event is not valid JSON: {error}") from error
    except RecursionError as error:
        raise ValidationFailed("The event nests too deep.") from error
    json_rows.check_object(event.measurements, "measurements")
    json_rows.check_object(event.metadata, "metadata")
    json_rows.times_of([event.timestamp], "timestamp")
    extra = {name: value for name, value in fields.items() if name not in _FIELDS}
    return event, msgspec.json.encode(extra).decode() if extra else ""


def _experiment(metadata: bytes) -> str:
    try:
        value: Any = msgspec.json.decode(metadata).get("experiment_id") if metadata else None
    except (msgspec.DecodeError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""


def _columns(events: list[TelemetryIn], extras: list[str], received: Received, settings: IngestSettings) -> pa.Table:
    count = len(events)
    times = json_rows.times_of([e.timestamp for e in events], "timestamp", received.at_us)
    at = np.full(count, received.at_us, dtype=np.int64)
    metadata = json_objects.column([JsonObjects.of([e.metadata for e in events], "metadata")])
    columns = {
        "tenant": pa.repeat(received.tenant, count),
        "event_name": pa.array([e.event_name if isinstance(e.event_name, str) else ".".join(e.event_name) for e in events], pa.string()),
        "experiment": pa.array([_experiment(raw) for raw in metadata.to_pylist()], pa.string()),
        "event_id": pa.array([e.id or received.id_prefix + str(i) for i, e in enumerate(events)], pa.string()),
        "keyed": pa.array([int(e.id is not None) for e in events], pa.uint8()),
        "time": json_rows.micros_column(times),
        "received": json_rows.micros_column(at),
        "quarantined": pa.array(json_rows.quarantined(times, at, settings)),
        "measurements": json_objects.column([JsonObjects.of([e.measurements for e in events], "measurements")]),
        "metadata": metadata,
        "extra": pa.array(extras, pa.string()),
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
