"""Telemetry events as a file: CSV, a JSON array, or a JSON object on each line, in the order of their time.

Events are read and written in parts, so a file may be of any size. It ends with what is stored when it is begun; what comes in meanwhile with an
earlier time may be in it.
"""

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple

import msgspec
import orjson

from infra.runtime.errors import ValidationFailed
from query_api.domain.instants import instant
from query_api.readers.rows import Rows
from query_api.readers.telemetry import Place, TelemetryEvent, TelemetryFilter, TelemetryReader
from schemas.telemetry_field import field_of

Form = Literal["csv", "json", "jsonl"]
MEDIA_TYPES: Final[dict[Form, str]] = {"csv": "text/csv; charset=utf-8; header=present", "json": "application/json", "jsonl": "application/x-ndjson"}
_FIRST, _FEWEST, _MOST = 1_000, 50, 10_000
"""Events of one part. Of up to 10 000 the engine reads what is large only where it is shown (its `query_plan_max_limit_for_lazy_materialization`)."""
_PART_SIZE: Final = 8_000_000
"""About so many characters are held at once."""


class Column(NamedTuple):
    """A field of the file."""

    name: str
    value: Callable[[TelemetryEvent], Any]
    """Of an event, as JSON: a text, a list, None, or a fragment of what the client sent."""


WHOLE: Final[dict[str, Callable[[TelemetryEvent], Any]]] = {
    "timestamp": lambda event: instant(event.time_us),
    "event_name": lambda event: event.event_name.split("."),
    "id": lambda event: event.event_id,
    "experiment_id": lambda event: event.experiment or None,
    "measurements": lambda event: _Json((event.measurements or "{}").encode()),
    "metadata": lambda event: _Json((event.metadata or "{}").encode()),
}
"""The fields that have no dots, in the order in which they are written when none is named."""


class _Json(NamedTuple):
    """What the client sent; empty where it sent nothing."""

    raw: bytes

    @property
    def compact(self) -> bytes:
        """The same without the blanks and the ends of lines between its parts."""
        return msgspec.json.format(self.raw, indent=-1) if self.raw else b""


def columns_of(names: Sequence[str] | None) -> list[Column]:
    """The columns of these names; all whole fields for None. Raises ValidationFailed that names each name which is none."""
    wrong, found = [], []
    for number, name in enumerate(names if names is not None else WHOLE):
        try:
            if names is not None and name in names[:number]:
                raise ValueError("is named twice")
            found.append(_column(name))
        except ValueError as error:
            wrong.append(f"`{name[:200]}` {error}")
    if wrong:
        raise ValidationFailed(f"fields: {'; '.join(wrong)}", details={"fields": wrong})
    return found


async def exported(rows: Rows, tenant: str, wanted: TelemetryFilter, form: Form, columns: Sequence[Column]) -> AsyncGenerator[bytes, None]:
    """The file, piece by piece. Raises QueryLimit and Unavailable, also in the middle of it."""
    reader = TelemetryReader(rows, tenant)
    total, latest_us = await reader.total(wanted)
    opening = {"csv": _lines([[column.name for column in columns]]), "json": b"[", "jsonl": b""}[form]
    # What comes in at the end would keep the file growing.
    until = replace(wanted, before_us=latest_us + 1)
    behind: Place | None = None
    limit, done = _FIRST, not total
    while not done:
        events = await reader.oldest(until, limit=limit, behind=behind)
        if events:
            yield opening + await asyncio.to_thread(_written, events, form, columns, behind is None)
            opening, behind = b"", events[-1].place
        done = len(events) < limit
        limit = min(_MOST, max(_FEWEST, limit * _PART_SIZE // max(1, _size(events))))
    yield opening + (b"\n]\n" if form == "json" else b"")


def _size(events: Sequence[TelemetryEvent]) -> int:
    """Characters of what is large in them."""
    return sum(len(each.measurements) + len(each.metadata) + len(each.extra) for each in events)


def _column(name: str) -> Column:
    if name in WHOLE:
        return Column(name, WHOLE[name])
    try:
        field = field_of(name)
    except ValueError as error:
        raise ValueError(f"is no field of an event: it is none of {', '.join(WHOLE)}, and {error}") from error
    return Column(name, lambda event: _Json(field.raw_in(event.measurements if field.holder == "measurements" else event.metadata)))


def _written(events: Sequence[TelemetryEvent], form: Form, columns: Sequence[Column], first: bool) -> bytes:
    if form == "csv":
        return _lines([_cell(column.value(event)) for column in columns] for event in events)
    lines = [orjson.dumps({column.name: _json(column.value(event)) for column in columns}) for event in events]
    if form == "jsonl":
        return b"".join(line + b"\n" for line in lines)
    return (b"\n" if first else b",\n") + b",\n".join(lines)


def _json(value: Any) -> Any:
    return orjson.Fragment(value.compact or b"null") if isinstance(value, _Json) else value


def _cell(value: Any) -> str:
    """A text stands for itself and a list for its parts joined by dots; what is not there or null is empty, and the rest is the JSON that was sent."""
    if isinstance(value, _Json):
        if value.raw[:1] == b'"':
            return msgspec.json.decode(value.raw, type=str)
        return "" if value.raw == b"null" else value.compact.decode()
    return ".".join(value) if isinstance(value, list) else value or ""


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    """CSV by RFC 4180."""
    sheet = io.StringIO(newline="")
    csv.writer(sheet, lineterminator="\r\n").writerows(rows)
    return sheet.getvalue().encode()
