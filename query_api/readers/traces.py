"""Reads of traces: which ones a list shows and in what order, and what each of them came to.

The order is found from all visible copies of the spans; a span sent again with another start or status may thus place its trace by what it said
before. What is shown of a trace comes from the copies that count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from query_api.readers.conditions import Conditions
from query_api.readers.rows import Rows, integer
from query_api.readers.trace_ids import OF_TRACES, TRACES_OF

Sort = Literal["start_time", "latency_ms"]

_START: Final = "toUnixTimestamp64Nano(min(start_time))"
_LATENCY: Final = "toUnixTimestamp64Nano(max(greatest(start_time, end_time))) - toUnixTimestamp64Nano(min(start_time))"
# The newest, or oldest, spans within reach: every trace that began between the edge and the place it starts from has its first span among them.
# Most traces begin with their root, so where enough roots are within reach the edge is at the last of those that are needed.
_EDGE: Final = """
SELECT count() AS spans, toUnixTimestamp64Nano({furthest}(start_time)) AS edge_ns,
       {sort}(groupArrayIf(toUnixTimestamp64Nano(start_time), parent_id = ''))[{{roots:UInt32}}] AS root_ns
FROM (SELECT start_time, parent_id FROM spans WHERE {where} ORDER BY toStartOfMinute(start_time) {order}, start_time {order} LIMIT {{window:UInt64}})
"""
_RANK: Final = f"""
SELECT trace_id, {_START} AS start_ns, {_LATENCY} AS latency_ns FROM spans
WHERE {{where}} AND {{candidates}}
GROUP BY trace_id HAVING {{having}}
ORDER BY {{sort}} {{order}}, trace_id {{order}} LIMIT {{{{limit:UInt32}}}}
"""
_BETWEEN: Final = """toStartOfMinute(start_time) >= toStartOfMinute(fromUnixTimestamp64Nano({low_ns:Int64}, 'UTC'))
  AND toStartOfMinute(start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({high_ns:Int64}, 'UTC'))
  AND start_time >= fromUnixTimestamp64Nano({low_ns:Int64}, 'UTC') AND start_time <= fromUnixTimestamp64Nano({high_ns:Int64}, 'UTC')"""
_OF_SESSIONS: Final = "session_id IN {sessions:Array(String)}"

_COPIES: Final = """
SELECT trace_id, span_id, parent_id, name, span_kind, status_code, start_time, end_time, project, session_id, prompt_tokens, completion_tokens, {where} AS fits
FROM spans PREWHERE {candidates} WHERE tenant = {{tenant:String}}
ORDER BY end_time DESC, received DESC, start_time DESC LIMIT 1 BY trace_id, span_id
"""
_SUMMARY: Final = f"""
SELECT trace_id, {_START} AS start_ns, {_START} + {_LATENCY} AS end_ns, any(project) AS home,
       sumIf(prompt_tokens, upper(span_kind) = 'LLM') AS prompt, sumIf(completion_tokens, upper(span_kind) = 'LLM') AS completion,
       groupUniqArrayIf(100)(session_id, session_id != '') AS sessions
FROM ({_COPIES}) WHERE fits
GROUP BY trace_id ORDER BY start_ns, trace_id
"""
_SPANS: Final = f"""
SELECT trace_id, span_id, parent_id, name, span_kind, status_code, toUnixTimestamp64Nano(start_time) AS start_ns, toUnixTimestamp64Nano(end_time) AS end_ns
FROM ({_COPIES}) WHERE fits
ORDER BY start_ns, span_id
"""
_LATEST: Final = 2**63 - 1
_SPANS_A_TRACE: Final = 40
_GROWTH: Final = 8


class TracePlace(NamedTuple):
    """Place of a trace in a list."""

    sort: str
    value: int
    """Nanoseconds: of the start, or of the latency."""
    trace_id: str


@dataclass(frozen=True)
class TraceFilter:
    """Which traces of a project; None leaves a field open."""

    start_ns: int | None = None
    """Traces that began at or after this."""
    end_ns: int | None = None
    """Traces that began before this."""
    sessions: Sequence[str] | None = None
    error: bool | None = None
    """Whether a span failed."""
    min_latency_ns: int | None = None
    max_latency_ns: int | None = None


class Trace(NamedTuple):
    """What a trace came to; its end is the latest time known while spans run."""

    trace_id: str
    start_ns: int
    end_ns: int
    home: str
    """Project its spans were sent to; a moved trace is elsewhere now."""
    prompt: int
    """Tokens of its LLM spans, so that an agent's sum over them does not count twice."""
    completion: int
    sessions: Sequence[str]


class TraceSpan(NamedTuple):
    """A span without what is large in it."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    span_kind: str
    status_code: int
    start_ns: int
    end_ns: int


class TraceReader:
    """Reads traces of spans that are visible."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def page(
        self, visible: Conditions, wanted: TraceFilter, *, sort: Sort, descending: bool, limit: int, after: TracePlace | None = None
    ) -> list[TracePlace]:
        """Places of up to `limit` traces from behind a place on; equal ones by trace id."""
        if wanted.sessions is not None:
            of_sessions = visible.and_also(_OF_SESSIONS, sessions=list(wanted.sessions))
            visible = Conditions([*visible.sql, TRACES_OF.format(where=of_sessions.where)], of_sessions.params)
        low = max(0, wanted.start_ns or 0)
        high = _LATEST if wanted.end_ns is None else wanted.end_ns - 1
        if sort == "latency_ms":
            return await self._ranked(visible, wanted, sort, descending, limit, after, low, high)
        if after is not None:
            low, high = (low, min(high, after.value)) if descending else (max(low, after.value), high)
        window = _SPANS_A_TRACE * limit + 20_000
        while True:
            edge = await self._edge(visible, descending, window, limit + 1, low, high)
            reached = (edge, high) if descending else (low, edge)
            found = await self._ranked(visible, wanted, sort, descending, limit, after, *(reached if edge is not None else (low, high)))
            if edge is None or len(found) == limit:
                return found
            window *= _GROWTH

    async def of_ids(self, visible: Conditions, trace_ids: Sequence[str]) -> list[Trace]:
        """These traces, the oldest first, without those that have no visible span."""
        return await self._summaries(visible.where, OF_TRACES, {**visible.params, "traces": list(trace_ids)}) if trace_ids else []

    async def of_sessions(self, visible: Conditions, sessions: Sequence[str]) -> list[Trace]:
        """The traces with a span in one of the sessions, the oldest first."""
        within = visible.and_also(_OF_SESSIONS, sessions=list(sessions))
        return await self._summaries(visible.where, TRACES_OF.format(where=within.where), within.params) if sessions else []

    async def spans(self, visible: Conditions, trace_ids: Sequence[str]) -> list[TraceSpan]:
        """The spans of these traces, the oldest first."""
        sql = _SPANS.format(where=visible.where, candidates=OF_TRACES)
        rows = await self._rows.query(sql, {**visible.params, "traces": list(trace_ids)})
        return [
            TraceSpan(
                row["trace_id"],
                row["span_id"],
                row["parent_id"],
                row["name"],
                row["span_kind"],
                int(row["status_code"]),
                integer(row["start_ns"]),
                integer(row["end_ns"]),
            )
            for row in rows
        ]

    async def _edge(self, visible: Conditions, descending: bool, window: int, roots: int, low: int, high: int) -> int | None:
        """Start of the last root that is needed, or of the last span within the window; None when the window holds them all."""
        within = visible.and_also(_BETWEEN, low_ns=low, high_ns=high)
        order, furthest, sort = ("DESC", "min", "arrayReverseSort") if descending else ("ASC", "max", "arraySort")
        sql = _EDGE.format(where=within.where, order=order, furthest=furthest, sort=sort)
        (row,) = await self._rows.query(sql, {**within.params, "window": window, "roots": roots})
        if integer(row["spans"]) < window:
            return None
        return integer(row["root_ns"]) or integer(row["edge_ns"])

    async def _ranked(
        self, visible: Conditions, wanted: TraceFilter, sort: Sort, descending: bool, limit: int, after: TracePlace | None, low: int, high: int
    ) -> list[TracePlace]:
        within = visible.and_also(_BETWEEN, low_ns=low, high_ns=high)
        having = ["start_ns >= {low_ns:Int64}", "start_ns <= {high_ns:Int64}", *_having(wanted)]
        column = "start_ns" if sort == "start_time" else "latency_ns"
        params: dict[str, Any] = {"limit": limit, "min_latency_ns": wanted.min_latency_ns or 0, "max_latency_ns": wanted.max_latency_ns or 0}
        if after is not None:
            having.append(f"({column}, trace_id) {'<' if descending else '>'} ({{after_value:Int64}}, {{after_trace:String}})")
            params |= {"after_value": after.value, "after_trace": after.trace_id}
        everything = low == 0 and high == _LATEST
        sql = _RANK.format(
            where=visible.where,
            candidates="1" if everything else TRACES_OF.format(where=within.where),
            having=" AND ".join(having),
            sort=column,
            order="DESC" if descending else "ASC",
        )
        rows = await self._rows.query(sql, {**within.params, **params})
        return [TracePlace(sort, integer(row[column]), row["trace_id"]) for row in rows]

    async def _summaries(self, where: str, candidates: str, params: Mapping[str, Any]) -> list[Trace]:
        rows = await self._rows.query(_SUMMARY.format(where=where, candidates=candidates), params)
        return [
            Trace(
                row["trace_id"],
                integer(row["start_ns"]),
                integer(row["end_ns"]),
                row["home"],
                integer(row["prompt"]),
                integer(row["completion"]),
                row["sessions"],
            )
            for row in rows
        ]


def _having(wanted: TraceFilter) -> list[str]:
    found = []
    if wanted.error is not None:
        found.append(f"countIf(status_code = 2) {'>' if wanted.error else '='} 0")
    if wanted.min_latency_ns is not None:
        found.append("latency_ns >= {min_latency_ns:Int64}")
    if wanted.max_latency_ns is not None:
        found.append("latency_ns <= {max_latency_ns:Int64}")
    return found
