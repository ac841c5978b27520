"""The spans of stored blocks, for those who judge them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from infra.runtime.clickhouse import ClickHouse
from schemas.evaluators.span import COLUMNS, EvaluatedSpan

PAGE: Final = 2_000
"""Spans of one query."""
MAX_MINUTES: Final = 1_000
"""Minutes named in a query; more are named by the first and the last."""
_MINUTE: Final = "toStartOfMinute(start_time)"
_NAMED: Final = f"{_MINUTE} IN (SELECT toDateTime(arrayJoin({{minutes:Array(Int64)}}) * 60, 'UTC'))"
_BETWEEN: Final = f"{_MINUTE} BETWEEN toDateTime({{first:Int64}} * 60, 'UTC') AND toDateTime({{last:Int64}} * 60, 'UTC')"
_EDITED: Final = "SELECT key FROM span_edits FINAL WHERE tenant = {tenant:String} AND edit"

# A span sent again in a later block may have replaced the one of this block; then that block's mark finds it.
_SPANS: Final = f"""
WITH (SELECT mapFromArrays(groupArray(key), groupArray(at)) FROM span_edits FINAL WHERE tenant = {{tenant:String}} AND edit = 'project') AS cuts
SELECT {COLUMNS}, toUnixTimestamp64Micro(received) AS received_us
FROM spans
WHERE tenant = {{tenant:String}} AND {{minutes_of_marks}} AND (service, part, `offset`) IN {{places:Array(Tuple(String, UInt16, UInt64))}}
  AND (trace_id, span_id) > ({{after_trace:String}}, {{after_span:String}}) AND quarantined = 0 AND end_time > toDateTime64(0, 9, 'UTC')
  AND start_time >= cuts[toString(project)] AND trace_id NOT IN ({_EDITED} = 'trace') AND concat(trace_id, span_id) NOT IN ({_EDITED} = 'span')
ORDER BY trace_id, span_id, end_time DESC
LIMIT 1 BY trace_id, span_id
LIMIT {PAGE}
"""


class Origin(NamedTuple):
    """A service's spans in one block."""

    service: str
    partition: int
    offset: int


class Found(NamedTuple):
    """A span, and when ingest took it."""

    span: EvaluatedSpan
    received_us: int


async def spans_of(
    clickhouse: ClickHouse, tenant: str, origins: Sequence[Origin], minutes: Sequence[int], after: tuple[str, str], *, timeout: float
) -> list[Found]:
    """Up to `PAGE` ended spans of these blocks that were not deleted, each once, by trace and span id from behind a place on.

    `minutes` are those in which the blocks' spans began. Raises ClickHouseError.
    """
    named = len(minutes) <= MAX_MINUTES
    which = {"minutes": list(minutes)} if named else {"first": min(minutes), "last": max(minutes)}
    params = {"tenant": tenant, "places": [tuple(origin) for origin in origins], "after_trace": after[0], "after_span": after[1], **which}
    rows = await clickhouse.query(_SPANS.replace("{minutes_of_marks}", _NAMED if named else _BETWEEN), params, timeout=timeout)
    return [Found(EvaluatedSpan.from_row(row), int(row["received_us"])) for row in rows]
