"""Telemetry events of the crucible surface: listed, grouped and aggregated over time."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import orjson

from infra.runtime.errors import ValidationFailed
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.instants import instant
from query_api.domain.sorted_page import Listed, Wanted
from query_api.domain.telemetry_view import event_json
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.telemetry import MOST_ROWS, Computed, Function, Group, Place, Question, TelemetryFilter, TelemetryReader
from schemas.position import Positions
from schemas.telemetry_field import Holder, TelemetryField, field_of

Interval = Literal["1m", "5m", "1h", "1d"]
INTERVALS_US: Final[dict[Interval, int]] = {"1m": 60_000_000, "5m": 300_000_000, "1h": 3_600_000_000, "1d": 86_400_000_000}


class Telemetry:
    """The telemetry of a tenant. Every read waits as it is told to, and says what it covers. Raises `Unavailable` without ClickHouse."""

    def __init__(self, parts: Parts, tenant: str) -> None:
        self._freshness = parts.freshness
        self._reader = TelemetryReader(parts.rows, tenant)

    async def events(self, wanted: TelemetryFilter, page: Wanted, wait: Wait) -> tuple[Listed, Positions]:
        """One page, the newest first. Raises ValidationFailed for a bad cursor."""
        behind = None if page.cursor is None else decode_cursor(page.cursor, Place)
        watermark = await self._freshness.raw(wait)
        offset = 0 if behind else (page.page - 1) * page.per_page
        found = await self._reader.newest(wanted, limit=page.per_page + 1, offset=offset, behind=behind)
        total, _ = await self._reader.total(wanted)
        items = found[: page.per_page]
        cursor = encode_cursor(items[-1].place) if len(found) > page.per_page else None
        return Listed([event_json(event) for event in items], total, page, cursor), watermark

    async def groups(self, wanted: TelemetryFilter, function: Function, field: str | None, group_by: str | None, wait: Wait) -> tuple[list[Any], Positions]:
        """A value for each group, of the largest group first; for all events together without `group_by`, also when there are none.

        Raises ValidationFailed for what names no field, and for more groups than an answer holds.
        """
        question = Question(function, _field(function, field, "agg_field"), _group(group_by), largest_first=True)
        found, watermark = await self._computed(wanted, question, wait)
        if not found and group_by is None:
            found = [Computed(0, "", 0, 0 if function == "count" else None)]
        return [{"group": _group_json(each), "value": each.value, "count": each.counted} for each in found], watermark

    async def series(
        self, wanted: TelemetryFilter, function: Function, metric: str | None, group_by: str | None, interval: Interval | None, wait: Wait
    ) -> tuple[list[Any], Positions]:
        """A value for each bin of time, rising, and in it for each group; bins are those of UTC, and without events there is none. Without an interval
        all time is one bin, at the time of the first event that counts.

        Raises ValidationFailed for what names no field, and for more values than an answer holds.
        """
        width = None if interval is None else INTERVALS_US[interval]
        found, watermark = await self._computed(wanted, Question(function, _field(function, metric, "metric"), _group(group_by), width), wait)
        grouped = [{} if group_by is None else {"group": _group_json(each)} for each in found]
        return [{"timestamp": instant(each.at_us), **group, "value": each.value} for each, group in zip(found, grouped, strict=True)], watermark

    async def _computed(self, wanted: TelemetryFilter, question: Question, wait: Wait) -> tuple[Sequence[Computed], Positions]:
        watermark = await self._freshness.raw(wait)
        found = await self._reader.computed(wanted, question)
        if len(found) > MOST_ROWS:
            cause = "interval" if question.width_us else "group_by"
            message = f"gives more than {MOST_ROWS} values; narrow `filter[after]` and `filter[before]`, or take a longer interval or a field of fewer values"
            raise _wrong(cause, message)
        return found, watermark


def _field(function: Function, name: str | None, parameter: str) -> TelemetryField | None:
    if name is not None:
        return _named(name, parameter, "measurements")
    if function == "count":
        return None
    raise _wrong(parameter, f"is required for {function}; name a measurement, or take the count")


def _group(name: str | None) -> Group | None:
    if name is None or name == "event_name" or name == "experiment_id":
        return name  # type: ignore[return-value]
    return _named(name, "group_by", "metadata")


def _named(name: str, parameter: str, holder: Holder) -> TelemetryField:
    try:
        return field_of(name, holder)
    except ValueError as error:
        raise _wrong(parameter, str(error)) from error


def _group_json(each: Computed) -> Any:
    return orjson.Fragment(each.group) if each.group else None


def _wrong(parameter: str, message: str) -> ValidationFailed:
    return ValidationFailed(f"{parameter} {message}", details={parameter: [message]})
