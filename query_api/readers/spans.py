"""Reads of stored spans, newest first, and of every copy of a span the one that counts.

Copies of a span that began at the same time replace each other in the table. Copies whose start differs do not, so nothing is taken from a
row before it is known to be the newest of its trace id and span id: the keys of a page are read first, in the order of the table, then all
copies behind these keys, and of them the one that ended last, of equal ends the one received last.
"""

import asyncio
from base64 import b64decode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from query_api.readers.conditions import Conditions
from query_api.readers.newest_spans import NewestSpans
from query_api.readers.rows import Rows, integer
from query_api.readers.span_list_filter import SpanFilter
from query_api.readers.span_times import before, since

# The bound on the minute repeats the one on the start in terms of the sorting key, so that older pages read less.
_AFTER: Final = """toStartOfMinute(start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'))
  AND (start_time, trace_id, span_id) < (fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'), {after_trace:String}, {after_span:String})"""

_KEYS: Final = """
SELECT toUnixTimestamp64Nano(start_time) AS start_ns, trace_id, span_id FROM spans WHERE {where}
ORDER BY toStartOfMinute(start_time) DESC, start_time DESC, trace_id DESC, span_id DESC
LIMIT {{keys:UInt32}}
"""
_COPIES: Final = """
SELECT trace_id, span_id, parent_id, name, kind, span_kind, status_code, status_message, project, session_id, trace_state, flags, scope_name,
       toUnixTimestamp64Nano(start_time) AS start_ns, toUnixTimestamp64Nano(end_time) AS end_ns,
       mapApply((name, value) -> (name, base64Encode(value)), attributes) AS encoded_attributes,
       arrayMap(event -> base64Encode(event), events) AS encoded_events, {where} AS fits
FROM spans
WHERE tenant = {{tenant:String}} AND {of_keys}
ORDER BY end_time DESC, received DESC
LIMIT 1 BY trace_id, span_id
"""
_START: Final = "fromUnixTimestamp64Nano(arrayJoin({starts:Array(Int64)}), 'UTC')"
_IDS: Final = "concat(trace_id, span_id) IN {ids:Array(String)}"
_AT_STARTS: Final = f"toStartOfMinute(start_time) IN (SELECT toStartOfMinute({_START})) AND start_time IN (SELECT {_START}) AND {_IDS}"
_OF_KEYS: Final = f"trace_id IN {{traces:Array(String)}} AND {_IDS}"
_ELSEWHERE: Final = f"SELECT DISTINCT trace_id, span_id FROM spans WHERE tenant = {{tenant:String}} AND {_OF_KEYS} AND start_time NOT IN (SELECT {_START})"
_OF_TRACES: Final = "trace_id IN {traces:Array(String)}"
_OF_TRACE: Final = """
SELECT * FROM ({copies}) WHERE fits AND (start_ns, trace_id, span_id) < ({{after_ns:Int64}}, {{after_trace:String}}, {{after_span:String}})
ORDER BY start_ns DESC, span_id DESC LIMIT {{limit:UInt32}}
"""
_PLACES: Final = """
SELECT trace_id, span_id, toUInt8(argMax(end_time, (end_time, received)) > toDateTime64(0, 9, 'UTC')) AS ended FROM spans
WHERE {where} AND span_id IN {{span_ids:Array(String)}} GROUP BY trace_id, span_id ORDER BY trace_id
"""
_LATEST_NS: Final = 2**63 - 1
_WORTHWHILE: Final = 0.25
"""Where fewer of the likely keys fit, the rest is asked for exactly."""


class Key(NamedTuple):
    """Place of a span in the list."""

    start_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    trace_id: str
    span_id: str


@dataclass(frozen=True)
class StoredSpan:
    """A span as it is stored: attribute values and events are the client's own protobuf bytes."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty for a root."""
    name: str
    span_kind: str
    status_code: int
    status_message: str
    start_ns: int
    end_ns: int
    """0 while it runs."""
    attributes: Mapping[str, bytes]
    events: Sequence[bytes]
    kind: int = 0
    """OTLP SpanKind."""
    project: str = ""
    """Where it was sent; a moved trace is elsewhere now."""
    session_id: str = ""
    trace_state: str = ""
    flags: int = 0
    scope_name: str = ""

    @property
    def key(self) -> Key:
        return Key(self.start_ns, self.trace_id, self.span_id)


class Place(NamedTuple):
    """A span that is stored."""

    trace_id: str
    span_id: str
    ended: bool


class SpanReader:
    """Reads spans; each stored span comes exactly once over the pages of a list, whatever arrives in between."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def page(
        self, visible: Conditions, wanted: SpanFilter, *, limit: int, after: Key | None = None, newest: NewestSpans | None = None
    ) -> list[StoredSpan]:
        """Up to `limit` spans from behind a place on, newest start first; equal starts by falling trace id and span id. `newest` says where to
        look first."""
        within = wanted.applied(visible)
        likely = wanted.applied(visible, roughly=True)
        edge_ns = newest.since_ns(visible) if newest is not None and wanted.seeks else None
        if wanted.trace_ids is not None and len(wanted.trace_ids) == 1:
            return await self._of_trace(within, wanted.trace_ids[0], limit, after)
        found: list[StoredSpan] = []
        while len(found) < limit:
            asked = (limit - len(found)) * 9 // 8 + 16
            keys = await (self._keys(likely, asked, after) if edge_ns is None else self._sought(likely, asked, after, edge_ns))
            copies = {span.key: span for span in await self._copies(within, keys)}
            fitting = [copies[key] for key in dict.fromkeys(keys) if key in copies]
            found += fitting
            if len(keys) < asked:
                break
            after = keys[-1]
            if len(fitting) < len(keys) * _WORTHWHILE:
                likely = within
        return found[:limit]

    async def of_traces(self, visible: Conditions, trace_ids: Sequence[str]) -> list[StoredSpan]:
        """Every span of these traces, oldest start first."""
        params = {**visible.params, "traces": list(trace_ids)}
        rows = await self._rows.query(_COPIES.format(where=visible.where, of_keys=_OF_TRACES), params)
        return sorted((_span(row) for row in rows if integer(row["fits"])), key=lambda span: span.key)

    async def places(self, visible: Conditions, span_ids: Sequence[str]) -> list[Place]:
        """Where spans of these ids are; an id may be in several traces."""
        rows = await self._rows.query(_PLACES.format(where=visible.where), {**visible.params, "span_ids": list(span_ids)})
        return [Place(row["trace_id"], row["span_id"], bool(integer(row["ended"]))) for row in rows]

    async def _of_trace(self, within: Conditions, trace_id: str, limit: int, after: Key | None) -> list[StoredSpan]:
        """The same of one trace, whose spans are few enough to be read at once."""
        sql = _OF_TRACE.format(copies=_COPIES.format(where=within.where, of_keys=_OF_TRACES))
        place = after or Key(_LATEST_NS, "", "")
        behind = {"after_ns": place.start_ns, "after_trace": place.trace_id, "after_span": place.span_id}
        rows = await self._rows.query(sql, {**within.params, **behind, "traces": [trace_id], "limit": limit})
        return [_span(row) for row in rows]

    async def _sought(self, within: Conditions, limit: int, after: Key | None, edge_ns: int) -> list[Key]:
        """The same keys, first from the edge on and then from before it: few spans may have one."""
        behind_edge = after is not None and after.start_ns < edge_ns
        near = [] if behind_edge else await self._keys(within.and_also(since("edge_ns"), edge_ns=edge_ns), limit, after)
        left = limit - len(near)
        return [*near, *await self._keys(within.and_also(before("edge_ns"), edge_ns=edge_ns), left, after)] if left else near

    async def _keys(self, within: Conditions, limit: int, after: Key | None) -> list[Key]:
        if after is not None:
            within = within.and_also(_AFTER, after_ns=after.start_ns, after_trace=after.trace_id, after_span=after.span_id)
        rows = await self._rows.query(_KEYS.format(where=within.where), {**within.params, "keys": limit})
        return [Key(integer(row["start_ns"]), row["trace_id"], row["span_id"]) for row in rows]

    async def _copies(self, within: Conditions, keys: Sequence[Key]) -> list[StoredSpan]:
        """The spans behind these keys that fit, as their newest copies say. Copies that began when the key says are found by the order of the
        table; that there is no other is seen from the ids alone."""
        if not keys:
            return []
        starts = list({key.start_ns for key in keys})
        params = {**within.params, **_named([(key.trace_id, key.span_id) for key in keys])}
        rows, others = await asyncio.gather(
            self._rows.query(_COPIES.format(where=within.where, of_keys=_AT_STARTS), {**params, "starts": starts}),
            self._rows.query(_ELSEWHERE, {**params, "starts": starts}),
        )
        if others:
            elsewhere = {(row["trace_id"], row["span_id"]) for row in others}
            rows = [row for row in rows if (row["trace_id"], row["span_id"]) not in elsewhere]
            rows += await self._rows.query(_COPIES.format(where=within.where, of_keys=_OF_KEYS), {**within.params, **_named(elsewhere)})
        return [_span(row) for row in rows if integer(row["fits"])]


def _named(spans: Collection[tuple[str, str]]) -> dict[str, list[str]]:
    return {"traces": list({trace for trace, _ in spans}), "ids": list({trace + span for trace, span in spans})}


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
        attributes={name: b64decode(value) for name, value in row["encoded_attributes"].items()},
        events=[b64decode(event) for event in row["encoded_events"]],
        kind=int(row["kind"]),
        project=row["project"],
        session_id=row["session_id"],
        trace_state=row["trace_state"],
        flags=int(row["flags"]),
        scope_name=row["scope_name"],
    )
