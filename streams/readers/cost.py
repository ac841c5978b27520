"""Queries that add up usage and hand it from minutes to longer windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.query_priority import PATIENT
from schemas.cost import (
    ACTIVE_SERIES,
    BYTES,
    COARSER,
    FINER,
    LOG_RECORDS,
    METRIC_POINTS,
    PROMPT_VERSION,
    SERIES_HOURS,
    SPANS,
    Piece,
    Usage,
)
from schemas.tables.cardinality_states import EMPTY_SKETCH
from schemas.token_usage_sql import TOKENS, USED_TOKENS
from schemas.windows import MICROSECONDS, Grain, windows_touched

_SETTINGS = {**PATIENT, "max_threads": 1, "max_memory_usage": 1_073_741_824, "max_bytes_before_external_group_by": 402_653_184}
_WRITE = {**_SETTINGS, "async_insert": 0, "insert_deduplicate": 0, "max_insert_threads": 1}
_COLUMNS = "tenant, grain, within, window_start, dimension, value, service, provider, model, unit, project, quantity, billed, series, computed"
_MINUTES = "(SELECT toDateTime(intDiv(arrayJoin({starts:Array(Int64)}), 1000000), 'UTC'))"
_OF_SERVICE = "tenant = {tenant:String} AND service = {service:String}"


def _times(name: str) -> str:
    return f"(SELECT fromUnixTimestamp64Micro(arrayJoin({{{name}:Array(Int64)}}), 'UTC'))"


def _start(time: str, grain: Grain | None) -> str:
    """The start of the window of a grain that holds a time."""
    length = grain.seconds * MICROSECONDS if grain else 0
    return f"fromUnixTimestamp64Micro(intDiv(toUnixTimestamp64Micro({time}), {length}) * {length}, 'UTC')" if length else "toDateTime64(0, 6, 'UTC')"


_TOKENS = f"""
SELECT minute, entry.1 AS dimension, entry.2 AS value, provider, model, entry.3 AS unit, project_name, sum(entry.4) AS quantity, sum(entry.5) AS billed,
    {EMPTY_SKETCH} AS series
FROM (
    SELECT toStartOfMinute(start_time) AS minute, toString(llm_provider) AS provider, toString(llm_model) AS model, toString(project) AS project_name,
        {TOKENS},
        [('provider', provider), ('model', model), ('project', project_name), ('user', user_id), ('session', session_id),
         ('{PROMPT_VERSION}', toString(prompt_version)), ('service', {{service:String}})] AS places
    FROM spans FINAL
    WHERE {_OF_SERVICE} AND toStartOfMinute(start_time) IN {_MINUTES} AND {USED_TOKENS}
)
ARRAY JOIN arrayFlatten(arrayMap(p -> arrayMap(u -> (p.1, p.2, u.1, u.2, u.3), units), arrayFilter(p -> p.2 != '', places))) AS entry
GROUP BY minute, dimension, value, provider, model, unit, project_name
"""


def _volume(table: str, time: str, unit: str) -> str:
    return f"""
SELECT toStartOfMinute({time}) AS minute, 'service' AS dimension, {{service:String}} AS value, '' AS provider, '' AS model, entry.1 AS unit, '' AS project_name,
    sum(entry.2) AS quantity, quantity AS billed, {EMPTY_SKETCH} AS series
FROM {table} FINAL ARRAY JOIN [('{unit}', toUInt64(1)), ('{BYTES}', toUInt64(bytes))] AS entry
WHERE {_OF_SERVICE} AND toStartOfMinute({time}) IN {_MINUTES} AND quarantined = 0
GROUP BY minute, unit
"""


_SERIES = f"""
SELECT toStartOfMinute(time) AS minute, 'service' AS dimension, {{service:String}} AS value, '' AS provider, '' AS model, '{ACTIVE_SERIES}' AS unit,
    '' AS project_name, uniqCombined64(series) AS quantity, quantity AS billed, uniqCombined64State(series) AS sketch
FROM metric_points
WHERE {_OF_SERVICE} AND toStartOfMinute(time) IN {_MINUTES} AND quarantined = 0
GROUP BY minute
"""

_OF_MINUTES = f"{_OF_SERVICE} AND grain = '1m' AND within IN {_times('within')} AND window_start IN {_times('starts')}"

# Only what differs from what is stored is written, so that the rows behind a computation are what it changed. Sketches are not compared.
_COUNT = f"""
INSERT INTO cost_usage ({_COLUMNS})
SELECT {{tenant:String}}, '1m', {_start("minute64", Grain.FIVE_MINUTES)}, toDateTime64(minute, 6, 'UTC') AS minute64, dimension, value, {{service:String}},
    provider, model, unit, project_name, used, priced, sketch, {{computed:UInt64}}
FROM (
    SELECT minute, dimension, value, provider, model, unit, project_name, sumIf(quantity, counted) AS used, sumIf(billed, counted) AS priced,
        sumIf(quantity, NOT counted) AS was_used, sumIf(billed, NOT counted) AS was_priced, uniqCombined64MergeState(series) AS sketch,
        max(counted) AS is_there, max(max(counted)) OVER (PARTITION BY minute) AS has_rows
    FROM (
        SELECT *, true AS counted
        FROM ({_TOKENS} UNION ALL {_volume("spans", "start_time", SPANS)} UNION ALL {_volume("metric_points", "time", METRIC_POINTS)}
            UNION ALL {_volume("logs", "time", LOG_RECORDS)} UNION ALL {_SERIES})
        UNION ALL
        SELECT toDateTime(window_start, 'UTC'), toString(dimension), value, toString(provider), toString(model), toString(unit), toString(project), quantity, billed,
            {EMPTY_SKETCH}, false
        FROM cost_usage FINAL
        WHERE {_OF_MINUTES} AND quantity > 0
    )
    GROUP BY minute, dimension, value, provider, model, unit, project_name
)
WHERE has_rows AND (used != was_used OR priced != was_priced OR is_there AND unit = '{ACTIVE_SERIES}')
"""


@dataclass(frozen=True)
class Touched:
    """Minutes of a service that were counted: what is looked up for them is limited to the subjects that changed in them."""

    service: str
    starts: Sequence[int]
    """Of the minutes, microseconds."""
    since: Sequence[int]
    """For each of them the computation after which changes count; 0 for whatever the minute holds or held."""

    @property
    def params(self) -> dict[str, Any]:
        return {"service": self.service, "starts": list(self.starts), "within": _within(self.starts), "since": list(self.since)}


_CHANGED = f"""{_OF_MINUTES}
    AND computed > transform(toUnixTimestamp64Micro(window_start), {{starts:Array(Int64)}}, {{since:Array(UInt64)}}, toUInt64(0))"""
_TOUCHED = f"(dimension, value) IN (SELECT dimension, value FROM cost_usage WHERE {_CHANGED})"


async def count_minutes(clickhouse: ClickHouse, tenant: str, touched: Touched, computed: int, *, timeout: float) -> None:
    """Add up these minutes again from the distinct rows, and store what changed as of `computed`. Repeating is safe.

    What a minute had and no longer has is set to nothing. A minute of which no rows are left at all keeps its usage: its rows have expired.
    """
    await clickhouse.command(_COUNT, _WRITE, params={"tenant": tenant, "computed": computed, **touched.params}, timeout=timeout)


def _add_up(grain: Grain, finer: Grain) -> str:
    # Series are distinct within an hour and added up from there on: that is how they are priced.
    unit = f"if(was = '{ACTIVE_SERIES}', '{SERIES_HOURS}', was)" if grain is Grain.HOUR else "was"
    keep = "merged" if grain is Grain.FIVE_MINUTES else EMPTY_SKETCH
    return f"""
INSERT INTO cost_usage ({_COLUMNS})
SELECT {{tenant:String}}, '{grain}', {_start("start", COARSER.get(grain))}, start, dimension, value, {{service:String}}, provider, model, {unit}, project,
    if(was = '{ACTIVE_SERIES}', size, total), if(was = '{ACTIVE_SERIES}', size, total_billed), {keep}, {{computed:UInt64}}
FROM (
    SELECT within AS start, dimension, value, provider, model, unit AS was, project, sum(quantity) AS total, sum(billed) AS total_billed,
        uniqCombined64MergeState(series) AS merged, finalizeAggregation(merged) AS size
    FROM cost_usage FINAL
    WHERE {_OF_SERVICE} AND grain = '{finer}' AND within IN {_times("windows")} AND {_TOUCHED}
    GROUP BY start, dimension, value, provider, model, was, project
)
"""


async def add_up(clickhouse: ClickHouse, tenant: str, touched: Touched, grain: Grain, computed: int, *, timeout: float) -> None:
    """Make the usage of the windows of a grain that hold the minutes, of the subjects that changed in them. Repeating is safe."""
    windows = _windows_of(touched.starts, grain)
    params = {"tenant": tenant, "computed": computed, "windows": windows, **touched.params}
    await clickhouse.command(_add_up(grain, FINER[grain]), _WRITE, params=params, timeout=timeout)


async def usage(
    clickhouse: ClickHouse,
    tenant: str,
    piece: Piece,
    starts: Sequence[int] | None,
    touched: Touched | None,
    page: tuple[int, int],
    *,
    hourly: bool,
    left_out: str | None,
    timeout: float,
) -> list[tuple[int, Usage]]:
    """Usage in a piece of time by window start, all services together; with `starts` None the piece is one window, given as start 0.

    `touched` limits it to the subjects there, `page` (number, count) to a share of the subjects. `hourly` asks for
    series_hours, else for all the rest. `left_out` is a dimension that is not wanted.
    """
    coarser = COARSER.get(piece.grain)
    params: dict[str, Any] = {"tenant": tenant, "from": piece.from_us, "page": page[0], "pages": page[1], **(touched.params if touched else {})}
    wanted = [f"tenant = {{tenant:String}} AND grain = '{piece.grain}' AND window_start >= fromUnixTimestamp64Micro({{from:Int64}}, 'UTC')"]
    if coarser is not None and coarser is not Grain.ALL:
        wanted.append(f"within >= {_start('fromUnixTimestamp64Micro({from:Int64})', coarser)}")
    else:
        wanted.append("within = toDateTime64(0, 6, 'UTC')")
    if piece.until_us is not None:
        wanted.append("window_start < fromUnixTimestamp64Micro({until:Int64}, 'UTC') AND within < fromUnixTimestamp64Micro({until:Int64}, 'UTC')")
        params["until"] = piece.until_us
    if starts is not None:
        wanted.append(f"window_start IN {_times('windows')}")
        params["windows"] = list(starts)
    if touched is not None:
        wanted.append(_TOUCHED)
    if left_out is not None:
        wanted.append("dimension != {left_out:String}")
        params["left_out"] = left_out
    if page[1] > 1:
        wanted.append("cityHash64(dimension, value) % {pages:UInt32} = {page:UInt32}")
    wanted.append(f"unit {'=' if hourly else '!='} '{SERIES_HOURS}' AND quantity > 0")
    start = "toUnixTimestamp64Micro(window_start)" if starts is not None else "toInt64(0)"
    rows = await clickhouse.query(
        f"SELECT {start} AS start, dimension, value, provider, model, unit, sum(quantity) AS used, sum(billed) AS priced FROM cost_usage FINAL "
        f"WHERE {' AND '.join(wanted)} GROUP BY start, dimension, value, provider, model, unit",
        params,
        settings=_SETTINGS,
        timeout=timeout,
    )
    return [(int(r["start"]), Usage(r["dimension"], r["value"], r["provider"], r["model"], r["unit"], int(r["used"]), int(r["priced"]))) for r in rows]


async def subjects(clickhouse: ClickHouse, tenant: str, touched: Touched, *, timeout: float) -> list[tuple[int, str, str]]:
    """(minute start, dimension, value) of everything that changed in the minutes."""
    rows = await clickhouse.query(
        f"SELECT DISTINCT toUnixTimestamp64Micro(window_start) AS start, dimension, value FROM cost_usage WHERE {_CHANGED}",
        {"tenant": tenant, **touched.params},
        settings=_SETTINGS,
        timeout=timeout,
    )
    return [(int(row["start"]), str(row["dimension"]), str(row["value"])) for row in rows]


async def starts(clickhouse: ClickHouse, tenant: str, grain: Grain, from_us: int, until_us: int | None, *, timeout: float) -> list[tuple[int, int]]:
    """Starts of the windows of a grain that overlap [from_us, until_us) and hold usage, ascending, with their number of subjects."""
    length = grain.seconds * MICROSECONDS
    until = "" if until_us is None or not length else "AND window_start < fromUnixTimestamp64Micro({until:Int64}, 'UTC')"
    after = f"AND window_start > fromUnixTimestamp64Micro({{from:Int64}} - {length}, 'UTC')" if length else ""
    rows = await clickhouse.query(
        "SELECT toUnixTimestamp64Micro(window_start) AS start, uniq(dimension, value) AS n FROM cost_usage "
        f"WHERE tenant = {{tenant:String}} AND grain = '{grain}' {after} {until} GROUP BY start ORDER BY start",
        {"tenant": tenant, "from": from_us, "until": until_us or 0},
        settings=_SETTINGS,
        timeout=timeout,
    )
    return [(int(row["start"]), int(row["n"])) for row in rows]


def _windows_of(minutes: Sequence[int], grain: Grain) -> list[int]:
    return list(windows_touched((start // (60 * MICROSECONDS) for start in minutes), grain))


def _within(minutes: Sequence[int]) -> list[int]:
    return _windows_of(minutes, Grain.FIVE_MINUTES)
