"""A/B events: from a JSON body to columns, touching each field once."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from infra.runtime.errors import InvalidArgument, ValidationFailed
from infra.runtime.settings import IngestSettings
from ingest import json_rows
from ingest.json_objects import JsonObjects
from ingest.json_rows import ItemError, Received

_ROW_BYTES = 160
"""Bytes of a row beside its metadata, roughly."""
_OUTER_LEVELS = 3
"""Levels of a batch around an event's metadata."""
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


_FIELDS = {field.name for field in msgspec.structs.fields(EventIn)}
_single = msgspec.json.Decoder(EventIn)
_batch = msgspec.json.Decoder(_Batch)


class EventRows(msgspec.Struct, frozen=True):
    """Validated events of one request: a part of a block."""

    received: Received
    events: list[EventIn]
    ids: list[str]
    """Event id of each row, in the order sent."""
    metadata: JsonObjects
    times: npt.NDArray[np.int64] | list[int]
    """Event times, microseconds since the epoch; a list where they are few."""
    keyed: bool
    """Whether a row has an id of the client's own."""
    extras: list[str] | None = None
    """Unknown fields of each row; None when no row has any."""
    errors: list[ItemError] = []
    """What was refused, by its place in the request."""

    @property
    def rows(self) -> int:
        return len(self.events)

    @property
    def size(self) -> int:
        return len(self.metadata.data) + _ROW_BYTES * len(self.events)


class EventCheck(Protocol):
    """A check of events beyond their form."""

    def passes(self, events: Sequence[EventIn], /) -> bool:
        """Whether all of them do."""
        ...

    def verify(self, event: EventIn, /) -> None:
        """Raises ValidationFailed naming the field when the event does not pass."""
        ...


def decode_single(body: bytes, received: Received, settings: IngestSettings, check: EventCheck | None = None) -> EventRows:
    """Validate one event. Raises ValidationFailed with the field at fault, InvalidArgument when the body is not JSON."""
    json_rows.check_utf8(body)
    event, extra = _item(body)
    json_rows.check_nesting(body, 1, settings.max_nesting)
    if check:
        check.verify(event)
    return _rows([event], [extra] if extra else None, received)


def decode_batch(body: bytes, received: Received, settings: IngestSettings, check: EventCheck | None = None) -> EventRows:
    """Validate a batch `{"events": [...]}`; refused items are in `errors`, the others in the columns.

    Raises InvalidArgument when the body is not JSON, ValidationFailed when it is not a batch, TooLarge above the row limit.
    """
    json_rows.check_utf8(body)
    try:
        events = _batch.decode(body).events
        json_rows.check_rows(len(events), settings)
        if check and not check.passes(events):
            raise ValidationFailed("an event did not pass the check")
        rows = _rows(events, None, received)
        # Only metadata can nest, and a level takes two bytes at least.
        if rows.metadata.longest > 2 * (settings.max_nesting - _OUTER_LEVELS):
            json_rows.check_nesting(body, len(events), settings.max_nesting)
        return rows
    except (msgspec.MsgspecError, RecursionError, ValidationFailed):
        return _decode_items(body, received, settings, check)  # names the item at fault


def _decode_items(body: bytes, received: Received, settings: IngestSettings, check: EventCheck | None) -> EventRows:
    """The slow way, for batches with a bad item or an unknown field: one item at a time."""
    events, extras, errors = json_rows.one_by_one(json_rows.items_of(body, settings), partial(_checked_item, check))
    return msgspec.structs.replace(_rows(events, extras, received), errors=errors)


def _checked_item(check: EventCheck | None, raw: bytes) -> tuple[EventIn, str]:
    event, extra = _item(raw)
    _check_event(event)
    if check:
        check.verify(event)
    return event, extra


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
        except (msgspec.DecodeError, RecursionError) as nested:
            raise InvalidArgument(f"The body is not valid JSON: {nested}") from nested
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f"The body is not valid JSON: {error}") from error


def _check_event(event: EventIn) -> None:
    """What the decoder cannot check: raises ValidationFailed naming the field."""
    json_rows.check_object(event.metadata, "metadata")
    json_rows.times_of([event.timestamp], "timestamp")


def rows_of(events: list[EventIn], received: Received) -> EventRows:
    """Rows of events that no client sent as events; they are not checked."""
    return _rows(events, None, received)


def _rows(events: list[EventIn], extras: list[str] | None, received: Received) -> EventRows:
    """Raises ValidationFailed when a row is at fault, without saying which."""
    own = [e.id for e in events]
    keyed = any(own)
    ids = json_rows.numbered(received.id_prefix, len(events))
    if keyed:
        ids = [mine or made for mine, made in zip(own, ids, strict=True)]
    metadata = JsonObjects.of([e.metadata for e in events], "metadata")
    read = json_rows.times_of_few if len(events) < json_rows.FEW else json_rows.times_of
    times = read([e.timestamp for e in events], "timestamp", received.at_us)
    return EventRows(received, events, ids, metadata, times, keyed, extras)
