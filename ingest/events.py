"""A/B events: from a JSON body to columns, touching each field once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pyarrow as pa

from infra.runtime.errors import InvalidArgument, MillstreamError, TooLarge, ValidationFailed
from infra.runtime.settings import IngestSettings
from ingest import json_rows
from ingest.json_rows import ItemError, Received

MAX_NAME = 512
"""Longest identifier, in characters."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]


class EventIn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event as a client sends it."""

    user_id: Name
    event_type: Name
    experiment_id: Name | None = None
    variant: Annotated[str, msgspec.Meta(max_length=MAX_NAME)] | None = None
    timestamp: str | None = None
    metadata: msgspec.Raw = msgspec.Raw()
    id: Name | None = None


class _Batch(msgspec.Struct):
    events: list[EventIn]


class _LooseBatch(msgspec.Struct):
    events: list[msgspec.Raw]


_FIELDS = {field.name for field in msgspec.structs.fields(EventIn)}
_single = msgspec.json.Decoder(EventIn)
_batch = msgspec.json.Decoder(_Batch)
_loose = msgspec.json.Decoder(_LooseBatch)


@dataclass(frozen=True)
class EventRows:
    """Validated events of one request, as Arrow columns: a part of a block."""

    table: pa.RecordBatch
    ids: list[str]
    """Event id of each row, in the order sent."""
    errors: list[ItemError]
    """What was refused, by its place in the request."""
    events: list[EventIn]

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    @property
    def size(self) -> int:
        return int(self.table.nbytes)


def decode_single(body: bytes, received: Received, settings: IngestSettings) -> EventRows:
    """Validate one event. Raises ValidationFailed with the field at fault, InvalidArgument when the body is not JSON."""
    event, extra = _item(body)
    json_rows.check_nesting(body, 1, settings.max_nesting)
    rows = _columns([event], [extra], received, settings)
    if rows.errors:
        raise ValidationFailed(rows.errors[0].message, details={"field": rows.errors[0].field})
    return rows


def decode_batch(body: bytes, received: Received, settings: IngestSettings) -> EventRows:
    """Validate a batch `{"events": [...]}`; refused items are in `errors`, the others in the columns.

    Raises InvalidArgument when the body is not JSON, ValidationFailed when it is not a batch, TooLarge above the row limit.
    """
    try:
        events = _batch.decode(body).events
        _check_rows(len(events), settings)
        json_rows.check_nesting(body, len(events), settings.max_nesting)
        return _columns(events, [""] * len(events), received, settings)
    except (msgspec.MsgspecError, RecursionError, _BadColumn):
        return _decode_items(body, received, settings)


class _BadColumn(Exception):
    """A whole-column check failed; the items must be looked at one by one."""


def _check_rows(count: int, settings: IngestSettings) -> None:
    if count > settings.max_rows:
        raise TooLarge(f"The batch has {count} events; the limit is {settings.max_rows}. Send smaller batches.")


def _decode_items(body: bytes, received: Received, settings: IngestSettings) -> EventRows:
    """The slow way, for batches with a bad item or an unknown field: one item at a time."""
    try:
        items = _loose.decode(body).events
    except msgspec.ValidationError as error:
        raise ValidationFailed(f'The body must be {{"events": [...]}}: {error}') from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f"The body is not valid JSON: {error}") from error
    _check_rows(len(items), settings)
    json_rows.check_nesting(body, len(items), settings.max_nesting)
    events: list[EventIn] = []
    extras: list[str] = []
    places: list[int] = []
    errors: list[ItemError] = []
    for index, raw in enumerate(items):
        try:
            event, extra = _item(bytes(raw))
            _check_event(event)
        except MillstreamError as error:
            errors.append(ItemError(index, error.message, str(error.details.get("field", ""))))
        else:
            events.append(event)
            extras.append(extra)
            places.append(index)
    rows = _columns(events, extras, received, settings)
    return EventRows(rows.table, rows.ids, errors, events)


def _item(raw: bytes) -> tuple[EventIn, str]:
    """One event and its unknown fields as JSON text. Raises ValidationFailed naming the field."""
    try:
        return _single.decode(raw), ""
    except msgspec.ValidationError as error:
        try:
            fields: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
            extra = {name: fields.pop(name) for name in [*fields] if name not in _FIELDS}
            if not extra:
                raise json_rows.field_error(error) from error
            return _single.decode(msgspec.json.encode(fields)), msgspec.json.encode(extra).decode()
        except msgspec.ValidationError as nested:
            raise json_rows.field_error(nested) from nested
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"The body is not valid JSON: {error}") from error


def _check_event(event: EventIn) -> None:
    """What the decoder cannot check: raises ValidationFailed naming the field."""
    json_rows.check_object(event.metadata, "metadata")
    json_rows.parse_times([event.timestamp], "timestamp")


def _columns(events: Sequence[EventIn], extras: Sequence[str], received: Received, settings: IngestSettings) -> EventRows:
    """The rows as columns. Raises _BadColumn when one of several items is at fault, ValidationFailed when the only one is."""
    count = len(events)
    prefix = received.id_prefix
    ids = [e.id or prefix + str(i) for i, e in enumerate(events)]
    try:
        metadata = json_rows.objects([e.metadata for e in events], "metadata")
        times = json_rows.parse_times([e.timestamp for e in events], "timestamp", received.at_us)
    except ValidationFailed as error:
        if count > 1:
            raise _BadColumn from error
        raise
    units = [e.user_id for e in events]
    kinds = [e.event_type for e in events]
    experiments = [e.experiment_id or "" for e in events]
    variants = [e.variant or "" for e in events]
    at = pa.repeat(pa.scalar(received.at_us, pa.timestamp("us", "UTC")), count)
    keyed = pa.array([e.id is not None for e in events]).cast(pa.uint8())
    table = pa.RecordBatch.from_arrays(
        [
            pa.repeat(received.tenant, count), pa.array(experiments, pa.string()), pa.array(units, pa.string()), pa.array(kinds, pa.string()),
            pa.array(variants, pa.string()), pa.array(ids, pa.string()), keyed, times, at, pa.repeat(received.sdk, count), pa.repeat(received.source, count),
            json_rows.quarantined(times, received.at_us, settings), metadata, pa.array(extras, pa.string()),
        ],
        names=["tenant", "experiment", "unit", "event_type", "variant", "event_id", "keyed", "time", "received", "sdk", "source", "quarantined", "metadata", "extra"],
    )  # fmt: skip
    return EventRows(table, ids, [], list(events))
