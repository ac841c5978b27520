"""Crucible telemetry: from a JSON body to columns and blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pyarrow as pa

from infra.runtime.clock import Clock
from infra.runtime.errors import InvalidArgument, MillstreamError, TooLarge, ValidationFailed
from infra.runtime.settings import IngestSettings
from ingest import json_rows
from ingest.json_rows import ItemError, Received
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


class _Batch(msgspec.Struct):
    events: list[msgspec.Raw]


_FIELDS = {field.name for field in msgspec.structs.fields(TelemetryIn)}
_batch = msgspec.json.Decoder(_Batch)
_item = msgspec.json.Decoder(TelemetryIn)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class TelemetryRows:
    """Validated telemetry of one request, as Arrow columns: a part of a block."""

    table: pa.RecordBatch
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
    try:
        items = _batch.decode(body).events
    except msgspec.ValidationError as error:
        raise ValidationFailed(f'The body must be {{"events": [...]}}: {error}') from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"The body is not valid JSON: {error}") from error
    if len(items) > settings.max_rows:
        raise TooLarge(f"The batch has {len(items)} events; the limit is {settings.max_rows}. Send smaller batches.")
    json_rows.check_nesting(body, 2 * len(items), settings.max_nesting)
    good: list[TelemetryIn] = []
    extras: list[str] = []
    errors: list[ItemError] = []
    for index, raw in enumerate(items):
        try:
            event, extra = _decode_item(bytes(raw))
        except MillstreamError as error:
            errors.append(ItemError(index, error.message, str(error.details.get("field", ""))))
        else:
            good.append(event)
            extras.append(extra)
    return TelemetryRows(_columns(good, extras, received, settings), errors)


def _decode_item(raw: bytes) -> tuple[TelemetryIn, str]:
    try:
        event = _item.decode(raw)
        fields = _fields.decode(raw)
    except msgspec.ValidationError as error:
        raise json_rows.field_error(error) from error
    except RecursionError as error:
        raise ValidationFailed("The event nests too deep.") from error
    json_rows.check_object(event.measurements, "measurements")
    json_rows.check_object(event.metadata, "metadata")
    json_rows.parse_times([event.timestamp], "timestamp")
    extra = {name: value for name, value in fields.items() if name not in _FIELDS}
    return event, msgspec.json.encode(extra).decode() if extra else ""


def _experiment(metadata: bytes) -> str:
    try:
        value: Any = msgspec.json.decode(metadata).get("experiment_id") if metadata else None
    except (msgspec.DecodeError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""


def _columns(events: list[TelemetryIn], extras: list[str], received: Received, settings: IngestSettings) -> pa.RecordBatch:
    count = len(events)
    times = json_rows.parse_times([e.timestamp for e in events], "timestamp", received.at_us)
    metadata = json_rows.objects([e.metadata for e in events], "metadata")
    columns = {
        "tenant": pa.repeat(received.tenant, count),
        "event_name": pa.array([e.event_name if isinstance(e.event_name, str) else ".".join(e.event_name) for e in events], pa.string()),
        "experiment": pa.array([_experiment(raw) for raw in metadata.to_pylist()], pa.string()),
        "event_id": pa.array([e.id or received.id_prefix + str(i) for i, e in enumerate(events)], pa.string()),
        "keyed": pa.array([e.id is not None for e in events], pa.bool_()).cast(pa.uint8()),
        "time": times,
        "received": pa.repeat(pa.scalar(received.at_us, pa.timestamp("us", "UTC")), count),
        "quarantined": json_rows.quarantined(times, received.at_us, settings),
        "measurements": json_rows.objects([e.measurements for e in events], "measurements"),
        "metadata": metadata,
        "extra": pa.array(extras, pa.string()),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def assembler(clock: Clock) -> Callable[[Sequence[TelemetryRows], str], Block]:
    """How group commit makes a `telemetry/1` block of several requests' rows."""

    def assemble(parts: Sequence[TelemetryRows], batch_id: str) -> Block:
        body, table = json_rows.stream([part.table for part in parts])
        low, high = json_rows.time_range(table)
        names = pa.table({"tenant": table["tenant"], "name": table["event_name"]}).group_by(["tenant", "name"], use_threads=False).aggregate([])
        touched = tuple(Touched(row["tenant"], row["name"], (), (), False) for row in names.to_pylist())
        return Block(TELEMETRY, batch_id, "telemetry/1", table.num_rows, body, low, high, clock.now_us(), touched)

    return assemble
