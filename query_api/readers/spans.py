"""Reads of stored spans, newest first, and of every copy of a span the one that counts.

Copies of a span that began at the same time replace each other in the table. Copies whose start differs do not, so nothing is taken from a
row before it is known to be the one that counts: a page is read in the order of the table, and what is read is compared with the newest of
all copies of these spans, wherever they are. It counts the copy that ended last, of equal ends the one received last.
"""

from binascii import a2b_base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from query_api.readers.conditions import Conditions
from query_api.readers.newest_spans import NewestSpans
from query_api.readers.rows import Rows, integer
from query_api.readers.span_list_filter import SpanFilter
from query_api.readers.span_times import since
from query_api.readers.trace_ids import OF_TRACES

# The bounds on minute and start repeat the last one in terms of the sorting key, so that older pages read less.
_AFTER: Final = """toStartOfMinute(start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'))
  AND start_time <= fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC')
  AND (start_time, trace_id, span_id) < (fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'), {after_trace:String}, {after_span:String})"""

_SELECT: Final = """
SELECT trace_id, span_id, parent_id, name, kind, span_kind, status_code, status_message, project, session_id, trace_state, flags, scope_name,
       toUnixTimestamp64Nano(start_time) AS start_ns, toUnixTimestamp64Nano(end_time) AS end_ns, toUnixTimestamp64Micro(received) AS received_us,
       mapApply((name, value) -> (name, base64Encode(value)), attributes) AS encoded_attributes,
       arrayMap(event -> base64Encode(event), events) AS encoded_events, {fits} AS fits
FROM spans"""
# Nothing but the table's own order: only then the engine stops once it has a page, and looks at what is large only of the rows in it.
_PAGE: Final = f"""{_SELECT} PREWHERE {{where}}
ORDER BY toStartOfMinute(start_time) DESC, start_time DESC, trace_id DESC, span_id DESC
LIMIT {{{{rows:UInt32}}}}
"""
_COPIES: Final = f"""{_SELECT} PREWHERE {{of_ids}} WHERE tenant = {{{{tenant:String}}}}
ORDER BY end_time DESC, received DESC, start_time DESC
LIMIT 1 BY trace_id, span_id
"""
_OF_SPANS: Final = f"{OF_TRACES} AND concat(trace_id, span_id) IN {{ids:Array(String)}}"
_COUNTS: Final = f"""
SELECT trace_id, span_id, max((end_time, received, start_time)) AS copy,
       toUnixTimestamp64Nano(copy.1) AS end_ns, toUnixTimestamp64Micro(copy.2) AS received_us, toUnixTimestamp64Nano(copy.3) AS start_ns
FROM spans PREWHERE {_OF_SPANS} WHERE tenant = {{tenant:String}}
GROUP BY trace_id, span_id
"""
_PAGES_OF_TRACE: Final = 2
"""A trace of fewer pages than this is ordered here; a larger one is ordered, and cut, by the engine, to which a second level costs a fifth of the whole read."""
_OF_LARGE_TRACE: Final = """
SELECT * FROM ({copies}) WHERE fits AND (start_ns, trace_id, span_id) < ({{after_ns:Int64}}, {{after_trace:String}}, {{after_span:String}})
ORDER BY start_ns DESC, span_id DESC LIMIT {{limit:UInt32}}
"""
_PLACES: Final = """
SELECT trace_id, span_id, toUInt8(argMax(end_time, (end_time, received)) > toDateTime64(0, 9, 'UTC')) AS ended FROM spans
WHERE {where} AND span_id IN {{span_ids:Array(String)}} GROUP BY trace_id, span_id ORDER BY trace_id
"""
_LATEST_NS: Final = 2**63 - 1
_WORTHWHILE: Final = 0.25
"""Where fewer of the likely spans fit, the rest is asked for exactly."""


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
        if wanted.trace_ids is not None and len(wanted.trace_ids) == 1:
            return await self._of_trace(within, wanted.trace_ids[0], limit, after)
        likely = wanted.applied(visible, roughly=True)
        edge_ns = None if newest is None or wanted.of_ids else newest.since_ns(visible, rare=wanted.seeks)
        near = edge_ns is not None and (after is None or after.start_ns >= edge_ns) and (wanted.end_ns is None or wanted.end_ns > edge_ns)
        found: list[Mapping[str, Any]] = []
        while len(found) < limit:
            asked = (limit - len(found)) * 9 // 8 + 16
            rows = await self._rows_after(likely.and_also(since("edge_ns"), edge_ns=edge_ns) if near else likely, within, asked, after)
            fitting = await self._counting(within, rows)
            found += fitting
            if len(rows) == asked:
                after = _key(rows[-1])
            elif near:
                # Whatever began at the edge is behind this place.
                near, after = False, Key(edge_ns or 0, "", "")
            else:
                break
            if len(fitting) < len(rows) * _WORTHWHILE:
                likely = within
        return [_span(row) for row in found[:limit]]

    async def of_traces(self, visible: Conditions, trace_ids: Sequence[str]) -> list[StoredSpan]:
        """Every span of these traces, oldest start first."""
        params = {**visible.params, "traces": list(trace_ids)}
        rows = await self._rows.query(_COPIES.format(fits=visible.where, of_ids=OF_TRACES), params)
        return sorted((_span(row) for row in rows if integer(row["fits"])), key=lambda span: span.key)

    async def places(self, visible: Conditions, span_ids: Sequence[str]) -> list[Place]:
        """Where spans of these ids are; an id may be in several traces."""
        rows = await self._rows.query(_PLACES.format(where=visible.where), {**visible.params, "span_ids": list(span_ids)})
        return [Place(row["trace_id"], row["span_id"], bool(integer(row["ended"]))) for row in rows]

    async def _of_trace(self, within: Conditions, trace_id: str, limit: int, after: Key | None) -> list[StoredSpan]:
        """The same of one trace, whose spans are mostly few enough to be read at once."""
        copies = _COPIES.format(fits=within.where, of_ids=OF_TRACES)
        place = after or Key(_LATEST_NS, "", "")
        params = {**within.params, "traces": [trace_id]}
        few = _PAGES_OF_TRACE * limit
        rows = await self._rows.query(copies + "LIMIT {few:UInt32}", {**params, "few": few})
        if len(rows) < few:
            spans = [_span(row) for row in rows if integer(row["fits"])]
            return sorted((span for span in spans if span.key < place), key=lambda span: span.key, reverse=True)[:limit]
        behind = {"after_ns": place.start_ns, "after_trace": place.trace_id, "after_span": place.span_id}
        rows = await self._rows.query(_OF_LARGE_TRACE.format(copies=copies), {**params, **behind, "limit": limit})
        return [_span(row) for row in rows]

    async def _rows_after(self, likely: Conditions, within: Conditions, limit: int, after: Key | None) -> Sequence[Mapping[str, Any]]:
        if after is not None:
            likely = likely.and_also(_AFTER, after_ns=after.start_ns, after_trace=after.trace_id, after_span=after.span_id)
        return await self._rows.query(_PAGE.format(where=likely.where, fits=within.where), {**within.params, **likely.params, "rows": limit})

    async def _counting(self, within: Conditions, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The rows of the spans that fit, at the places where the copies that count have them."""
        if not rows:
            return []
        counts = await self._rows.query(_COUNTS, {**within.params, **_named({_id(row) for row in rows})})
        latest = {_id(copy): copy for copy in counts}
        best = {_key(row): row for row in sorted(rows, key=_copy)}
        found = {key: row for key, row in best.items() if _id(row) in latest and _key(latest[_id(row)]) == key}
        # The copy that counts is at their place, but did not seem to fit, stood behind the end of the page, or came a moment ago.
        unseen = {_id(row) for row in found.values() if _copy(row) != _copy(latest[_id(row)])}
        if unseen:
            sql = _COPIES.format(fits=within.where, of_ids=_OF_SPANS)
            again = await self._rows.query(sql, {**within.params, **_named(unseen)})
            found = {key: row for key, row in found.items() if _id(row) not in unseen} | {_key(row): row for row in again}
        return [found[key] for key in dict.fromkeys(map(_key, rows)) if key in found and integer(found[key]["fits"])]


def _id(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["trace_id"], row["span_id"]


def _key(row: Mapping[str, Any]) -> Key:
    return Key(integer(row["start_ns"]), row["trace_id"], row["span_id"])


def _copy(row: Mapping[str, Any]) -> tuple[int, int, int]:
    """What decides which copy of a span counts."""
    return integer(row["end_ns"]), integer(row["received_us"]), integer(row["start_ns"])


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
        attributes={name: a2b_base64(value) for name, value in row["encoded_attributes"].items()},
        events=[a2b_base64(event) for event in row["encoded_events"]],
        kind=int(row["kind"]),
        project=row["project"],
        session_id=row["session_id"],
        trace_state=row["trace_state"],
        flags=int(row["flags"]),
        scope_name=row["scope_name"],
    )
