"""Queries that count distinct series and label values, and merge the counts of windows."""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.query_priority import PATIENT
from schemas.cardinality import HISTORY, METRICS, OPERATION, RESOURCE, SPANS
from schemas.tables.cardinality_states import EMPTY_SKETCH
from schemas.windows import MICROSECONDS, Grain

MAX_LABELS = 200
"""Labels kept per metric and minute, those with most values."""
MAX_ROWS = 50_000
"""Rows kept per service, signal and minute: a bound for clients that put ids into metric names."""

_SETTINGS = {
    **PATIENT,
    "max_threads": 1,
    "max_memory_usage": 1_073_741_824,
    "max_bytes_before_external_group_by": 402_653_184,
    "max_bytes_before_external_sort": 402_653_184,
}
_WRITE = {**_SETTINGS, "async_insert": 0, "insert_deduplicate": 0, "max_insert_threads": 1}
_COLUMNS = "tenant, service, grain, window_start, signal, metric, label, state, points, computed"
_OF_SERVICE = "tenant = {tenant:String} AND service = {service:String}"
_STARTS = "(SELECT fromUnixTimestamp64Micro(arrayJoin({starts:Array(Int64)}), 'UTC'))"
_MINUTES = "(SELECT toDateTime(intDiv(arrayJoin({starts:Array(Int64)}), 1000000), 'UTC'))"

# A series has the same attributes in all of its points, so labels are taken apart once per series, not once per point.
_SERIES = f"""
SELECT toStartOfMinute(time) AS minute, '{METRICS}' AS signal, toString(metric) AS name, series AS id, count() AS n,
    any(attributes) AS labels, sipHash64(any(resource)) AS origin
FROM metric_points FINAL
WHERE {_OF_SERVICE} AND toStartOfMinute(time) IN {_MINUTES} AND quarantined = 0
GROUP BY minute, name, id
"""
_OF_SERIES = f"""
SELECT minute, signal, name, entry.1 AS label, uniqCombined64State(entry.2) AS state, sum(n) AS points
FROM ({_SERIES})
ARRAY JOIN arrayConcat([('', id), ('{RESOURCE}', origin)],
    arrayFilter(e -> e.1 != '', arrayMap((k, v) -> (toString(k), sipHash64(v)), mapKeys(labels), mapValues(labels)))) AS entry
GROUP BY minute, signal, name, label
"""
_OF_SPANS = f"""
SELECT toStartOfMinute(start_time) AS minute, '{SPANS}' AS signal, '' AS name, entry.1 AS label, uniqCombined64State(entry.2) AS state, count() AS points
FROM spans FINAL
ARRAY JOIN arrayConcat([('', sipHash64(name, kind)), ('{OPERATION}', sipHash64(name)), ('{RESOURCE}', sipHash64(resource))],
    arrayFilter(e -> e.1 != '', arrayMap((k, v) -> (toString(k), sipHash64(v)), mapKeys(attributes), mapValues(attributes)))) AS entry
WHERE {_OF_SERVICE} AND toStartOfMinute(start_time) IN {_MINUTES} AND quarantined = 0
GROUP BY minute, label
"""


def _count(source: str) -> str:
    return f"""
INSERT INTO cardinality_states ({_COLUMNS})
SELECT {{tenant:String}}, {{service:String}}, '1m', toDateTime64(minute, 6, 'UTC'), signal, name, label, state, points, {{computed:UInt64}}
FROM (
    SELECT * FROM ({source})
    ORDER BY minute, signal, name, label != '', finalizeAggregation(state) DESC, label LIMIT {MAX_LABELS + 1} BY minute, signal, name
)
LIMIT {MAX_ROWS} BY minute, signal
"""


_CLEAR = f"""
INSERT INTO cardinality_states ({_COLUMNS})
SELECT tenant, service, grain, window_start, signal, metric, label, {EMPTY_SKETCH}, 0, {{computed:UInt64}}
FROM cardinality_states FINAL
WHERE {_OF_SERVICE} AND grain = '1m' AND window_start IN (
        SELECT window_start FROM cardinality_states
        WHERE {_OF_SERVICE} AND grain = '1m' AND window_start IN {_STARTS} AND computed = {{computed:UInt64}}
    ) AND computed < {{computed:UInt64}} AND points > 0
"""


async def count_minutes(clickhouse: ClickHouse, tenant: str, service: str, starts: Sequence[int], computed: int, *, timeout: float) -> None:
    """Count these minutes (starts in microseconds) again from the distinct rows. Repeating is safe.

    What a minute had and no longer has is set to nothing. A minute of which no rows are left at all keeps its counts: its rows have expired.
    """
    params = {"tenant": tenant, "service": service, "starts": list(starts), "computed": computed}
    for statement in (_count(_OF_SERIES), _count(_OF_SPANS), _CLEAR):
        await clickhouse.command(statement, _WRITE, params=params, timeout=timeout)


def _merge(grain: Grain, finer: Grain) -> str:
    length = grain.seconds * MICROSECONDS
    # The epoch for the cumulative window, which has no length.
    start = f"fromUnixTimestamp64Micro(intDiv(toUnixTimestamp64Micro(window_start), {length}) * {length}, 'UTC')" if length else "toDateTime64(0, 6, 'UTC')"
    parts = f"arrayJoin(range(toInt64(0), {length}, {finer.seconds * MICROSECONDS}))"
    inside = (
        f"window_start IN (SELECT fromUnixTimestamp64Micro(start + {parts}, 'UTC') FROM (SELECT arrayJoin({{starts:Array(Int64)}}) AS start))"
        if length
        else "1"
    )
    place = "signal, metric, label"
    finer_rows = f"FROM cardinality_states FINAL WHERE {_OF_SERVICE} AND grain = '{finer}' AND {inside}"
    return f"""
INSERT INTO cardinality_states ({_COLUMNS})
SELECT {{tenant:String}}, {{service:String}}, '{grain}', start, {place}, uniqCombined64MergeState(sketch), sum(n), {{computed:UInt64}}
FROM (
    SELECT {start} AS start, {place}, {EMPTY_SKETCH} AS sketch, points AS n {finer_rows}
    UNION ALL
    SELECT {start} AS start, {place}, state AS sketch, 0 AS n {finer_rows} AND ({{whole:UInt8}} OR window_start IN (
        SELECT fromUnixTimestamp64Micro(arrayJoin({{changed:Array(Int64)}}), 'UTC')))
    UNION ALL
    SELECT window_start AS start, {place}, state AS sketch, 0 AS n FROM cardinality_states FINAL
    WHERE {_OF_SERVICE} AND grain = '{grain}' AND window_start IN {_STARTS} AND NOT {{whole:UInt8}}
)
GROUP BY start, {place}
"""


async def merge(
    clickhouse: ClickHouse,
    tenant: str,
    service: str,
    grain: Grain,
    finer: Grain,
    starts: Sequence[int],
    changed: Sequence[int] | None,
    computed: int,
    *,
    timeout: float,
) -> None:
    """Make the states of windows from those of the next finer grain. Repeating is safe.

    With `changed` (starts of the finer windows that did) only their states are merged into what is there; without, all are merged anew.
    """
    params: dict[str, Any] = {"tenant": tenant, "service": service, "starts": list(starts), "computed": computed}
    params |= {"changed": list(changed or ()), "whole": int(changed is None)}
    await clickhouse.command(_merge(grain, finer), _WRITE, params=params, timeout=timeout)


def _figures(grain: Grain) -> str:
    length = grain.seconds * MICROSECONDS
    shifts = f"range(toInt64({HISTORY if length else 0} + 1))"
    targets = f"(SELECT fromUnixTimestamp64Micro(start - arrayJoin({shifts}) * {length}, 'UTC') FROM (SELECT arrayJoin({{starts:Array(Int64)}}) AS start))"
    return f"""
SELECT toUnixTimestamp64Micro(window_start) + shift * {length} AS target, signal, metric, label, sumIf(points, shift = 0) AS n,
    maxIf(size, shift = 0) AS now, arrayMap(e -> e.2, arrayReverseSort(e -> e.1, groupArrayIf((shift, size), shift > 0))) AS history,
    uniqCombined64Merge(state) AS seen, uniqCombined64MergeIf(state, shift > 0) AS before
FROM (
    SELECT window_start, signal, metric, label, state, points, finalizeAggregation(state) AS size
    FROM cardinality_states FINAL
    WHERE {_OF_SERVICE} AND grain = '{grain}' AND window_start IN {targets} AND points > 0
)
ARRAY JOIN {shifts} AS shift
WHERE target IN (
    SELECT toUnixTimestamp64Micro(window_start) FROM cardinality_states WHERE {_OF_SERVICE} AND grain = '{grain}' AND window_start IN {_STARTS})
GROUP BY target, signal, metric, label
HAVING n > 0
"""


async def counts(clickhouse: ClickHouse, tenant: str, service: str, grain: Grain, starts: Sequence[int], *, timeout: float) -> list[Mapping[str, Any]]:
    """Rows target, signal, metric, label, n, now, history (oldest first), seen, before of the windows with these starts.

    `seen` counts what is in the window or its history, `before` what is in its history.
    """
    params = {"tenant": tenant, "service": service, "starts": list(starts)}
    return list(await clickhouse.query(_figures(grain), params, settings=_SETTINGS, timeout=timeout))
