"""Reads of stored spans, always of one tenant and project, newest first."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from query_api.readers.rows import Rows, integer

_CONDITIONS: Final = {
    "trace_ids": "trace_id IN {trace_ids:Array(String)}",
    "span_ids": "span_id IN {span_ids:Array(String)}",
    "names": "name IN {names:Array(String)}",
    "span_kinds": "if(span_kind = '', 'UNKNOWN', upper(span_kind)) IN {span_kinds:Array(String)}",
    "status_codes": "status_code IN {status_codes:Array(Int32)}",
    "parent_id": "parent_id = {parent_id:String}",
    "start_ns": "start_time >= fromUnixTimestamp64Nano({start_ns:Int64})",
    "end_ns": "start_time < fromUnixTimestamp64Nano({end_ns:Int64})",
}
# The bound on the minute repeats the one on the start in terms of the sorting key, so that older pages read less.
_AFTER: Final = """toStartOfMinute(start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'))
  AND (start_time, trace_id, span_id) < (fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'), {after_trace:String}, {after_span:String})"""

_OF_PROJECT: Final = "tenant = {tenant:String} AND project = {project:String}"

_PAGE: Final = """
SELECT trace_id, span_id, parent_id, name, span_kind, status_code, status_message,
       toUnixTimestamp64Nano(start_time) AS start_ns, toUnixTimestamp64Nano(end_time) AS end_ns,
       mapApply((name, value) -> (name, base64Encode(value)), attributes) AS attributes, arrayMap(event -> base64Encode(event), events) AS events
FROM spans FINAL
WHERE {conditions}
ORDER BY start_time DESC, trace_id DESC, span_id DESC
LIMIT {{limit:UInt32}}
"""

# FINAL is dear, so it is kept to the minutes a page comes from: the newest that hold twice its spans, counted without it.
_FLOOR: Final = """
SELECT toUnixTimestamp(max(minute)) AS floor_s FROM (
    SELECT minute, sum(spans) OVER (ORDER BY minute DESC) AS newer FROM (
        SELECT toStartOfMinute(start_time) AS minute, count() AS spans FROM spans WHERE {conditions} GROUP BY minute
    )
) WHERE newer >= 2 * {{limit:UInt32}}
"""
_ABOVE_FLOOR: Final = "toStartOfMinute(start_time) >= toDateTime({floor_s:UInt32}, 'UTC')"


class Key(NamedTuple):
    """Place of a span in the list."""

    start_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    trace_id: str
    span_id: str


@dataclass(frozen=True)
class SpanFilter:
    """Which spans of a project; None leaves a field open."""

    trace_ids: Sequence[str] | None = None
    span_ids: Sequence[str] | None = None
    names: Sequence[str] | None = None
    span_kinds: Sequence[str] | None = None
    """In capitals; UNKNOWN stands for none."""
    status_codes: Sequence[int] | None = None
    parent_id: str | None = None
    """Empty: roots only."""
    start_ns: int | None = None
    """Spans that began at or after this."""
    end_ns: int | None = None
    """Spans that began before this."""

    def chosen(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: value for name in _CONDITIONS if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class StoredSpan:
    """A span as it is stored: attribute values and events are the client's own protobuf bytes."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    span_kind: str
    status_code: int
    status_message: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, bytes]
    events: Sequence[bytes]

    @property
    def key(self) -> Key:
        return Key(self.start_ns, self.trace_id, self.span_id)


class SpanReader:
    """Reads spans; each stored span comes exactly once over the pages of a list, whatever arrives in between."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def page(self, tenant: str, project: str, wanted: SpanFilter, *, limit: int, after: Key | None = None) -> list[StoredSpan]:
        """Up to `limit` spans from behind a place on, newest start first; equal starts by falling trace id and span id."""
        params = wanted.chosen()
        conditions = [_OF_PROJECT, *(_CONDITIONS[name] for name in params)]
        if after is not None:
            conditions.append(_AFTER)
            params |= {"after_ns": after.start_ns, "after_trace": after.trace_id, "after_span": after.span_id}
        params |= {"tenant": tenant, "project": project, "limit": limit}
        (floor,) = await self._rows.query(_FLOOR.format(conditions=_all(conditions)), params)
        if floor["floor_s"]:
            found = await self._find([*conditions, _ABOVE_FLOOR], {**params, "floor_s": integer(floor["floor_s"])})
            # Fewer when spans were sent several times: then the page goes on below.
            if len(found) == limit:
                return found
        return await self._find(conditions, params)

    async def _find(self, conditions: Sequence[str], params: Mapping[str, Any]) -> list[StoredSpan]:
        rows = await self._rows.query(_PAGE.format(conditions=_all(conditions)), params)
        return [_span(row) for row in rows]


def _all(conditions: Sequence[str]) -> str:
    return "\n      AND ".join(conditions)


def _span(row: Mapping[str, Any]) -> StoredSpan:
    return StoredSpan(
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        parent_id=row["parent_id"],
        name=row["name"],
        span_kind=row["span_kind"],
        status_code=int(row["status_code"]),
        status_message=row["status_message"],
        start_ns=integer(row["start_ns"]),
        end_ns=integer(row["end_ns"]),
        attributes={name: b64decode(value) for name, value in row["attributes"].items()},
        events=[b64decode(event) for event in row["events"]],
    )
