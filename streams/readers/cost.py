"""Queries that add up usage and hand it from minutes to longer windows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    SESSION,
    SPANS,
    USER,
    Piece,
    Usage,
)
from schemas.tables.cardinality_states import EMPTY_SKETCH
from schemas.token_usage_sql import TOKEN_SUMS, UNITS, USED_TOKENS
from schemas.windows import MICROSECONDS, Grain, windows_touched

_SETTINGS = {**PATIENT, "max_threads": 1, "max_memory_usage": 1_073_741_824, "max_bytes_before_external_group_by": 402_653_184}
_WRITE = {**_SETTINGS, "async_insert": 0, "insert_deduplicate": 0, "max_insert_threads": 1}
_COLUMNS = "tenant, grain, within, window_start, dimension, value, service, provider, model, unit, project, quantity, billed, series, computed"
_OF_SERVICE = "tenant = {tenant:String} AND service = {service:String}"


def _times(name: str) -> str:
    return f"(SELECT fromUnixTimestamp64Micro(arrayJoin({{{name}:Array(Int64)}}), 'UTC'))"


def _minutes(name: str) -> str:
    return f"(SELECT toDateTime(intDiv(arrayJoin({{{name}:Array(Int64)}}), 1000000), 'UTC'))"


def _start(time: str, grain: Grain | None) -> str:
    """The start of the window of a grain that holds a time."""
    length = grain.seconds * MICROSECONDS if grain else 0
    return f"fromUnixTimestamp64Micro(intDiv(toUnixTimestamp64Micro({time}), {length}) * {length}, 'UTC')" if length else "toDateTime64(0, 6, 'UTC')"


_MINUTES = _minutes("starts")
_KNOWN = _minutes("known")
_SPANS = f"{_OF_SERVICE} AND toStartOfMinute(start_time) IN {_MINUTES}"

_BLOCKS = f"""
SELECT toUnixTimestamp64Micro(toDateTime64(toStartOfMinute(start_time), 6, 'UTC')) AS start, part, `offset`, count() AS spans,
    countIf(quarantined = 0) AS counted, sumIf(bytes, quarantined = 0) AS counted_bytes
FROM spans FINAL WHERE {_SPANS}
GROUP BY start, part, `offset`
"""


def _came(column: str) -> str:
    """What the blocks that came to the minutes known say in a column."""
    return f"""(SELECT {column} FROM spans WHERE {_SPANS}
        AND (part, `offset`) IN {{blocks:Array(Tuple(UInt16, UInt64))}})"""


# Users and sessions are many. Of a minute that is known only those are added up that something came for, the rest goes under no name and is left out.
_TOKENS = f"""
SELECT minute, entry.1 AS dimension, entry.2 AS value, provider, model, entry.3 AS unit, project_name, sum(entry.4) AS quantity, sum(entry.5) AS billed,
    {EMPTY_SKETCH} AS series
FROM (
    SELECT minute, provider, model, project_name, {UNITS} AS units,
        [('provider', provider), ('model', model), ('project', project_name), ('{USER}', of_user), ('{SESSION}', of_session),
         ('{PROMPT_VERSION}', version), ('service', {{service:String}})] AS places
    FROM (
        SELECT toStartOfMinute(start_time) AS minute, toString(llm_provider) AS provider, toString(llm_model) AS model, toString(project) AS project_name,
            toString(prompt_version) AS version, minute IN {_KNOWN} AS known,
            if(known AND user_id NOT IN {_came("user_id")}, '', user_id) AS of_user,
            if(known AND session_id NOT IN {_came("session_id")}, '', session_id) AS of_session,
            {TOKEN_SUMS}
        FROM spans FINAL
        WHERE {_SPANS} AND {USED_TOKENS}
        GROUP BY minute, provider, model, project_name, version, of_user, of_session
    )
)
ARRAY JOIN arrayFlatten(arrayMap(p -> arrayMap(u -> (p.1, p.2, u.1, u.2, u.3), units), arrayFilter(p -> p.2 != '', places))) AS entry
GROUP BY minute, dimension, value, provider, model, unit, project_name
"""

_SPAN_VOLUME = f"""
SELECT toDateTime(intDiv(volume.1, 1000000), 'UTC') AS minute, 'service' AS dimension, {{service:String}} AS value, '' AS provider, '' AS model, entry.1 AS unit,
    '' AS project_name, entry.2 AS quantity, quantity AS billed, {EMPTY_SKETCH} AS series
FROM (SELECT arrayJoin({{volumes:Array(Tuple(Int64, UInt64, UInt64))}}) AS volume) ARRAY JOIN [('{SPANS}', volume.2), ('{BYTES}', volume.3)] AS entry
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
        FROM ({_TOKENS} UNION ALL {_SPAN_VOLUME} UNION ALL {_volume("metric_points", "time", METRIC_POINTS)}
            UNION ALL {_volume("logs", "time", LOG_RECORDS)} UNION ALL {_SERIES})
        UNION ALL
        SELECT toDateTime(window_start, 'UTC'), toString(dimension), value, toString(provider), toString(model), toString(unit), toString(project), quantity, billed,
            {EMPTY_SKETCH}, false
        FROM cost_usage FINAL
        WHERE {_OF_MINUTES} AND quantity > 0 AND (dimension NOT IN ('{USER}', '{SESSION}') OR toDateTime(window_start, 'UTC') NOT IN {_KNOWN}
            OR dimension = '{USER}' AND value IN {_came("user_id")} OR dimension = '{SESSION}' AND value IN {_came("session_id")})
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


class BlockSpans(NamedTuple):
    """Spans of one block in one minute that no other copy replaces."""

    spans: int
    counted: int
    """Without those in quarantine."""
    counted_bytes: int


Blocks = Mapping[tuple[int, int], BlockSpans]
"""Spans of one minute by the partition and offset of the block that brought them."""


@dataclass(frozen=True)
class Came:
    """The blocks of spans of some minutes, and which of them came since a minute was counted."""

    found: Mapping[int, Blocks]
    """All of them, by start of the minute."""
    known: Sequence[int]
    """Minutes of which all spans were counted but those of the blocks that came. What is stored of their other users and sessions holds."""
    blocks: Collection[tuple[int, int]]
    """What came to the minutes known."""

    @property
    def params(self) -> dict[str, Any]:
        volumes = [(start, sum(each.counted for each in of.values()), sum(each.counted_bytes for each in of.values())) for start, of in self.found.items()]
        return {
            "known": list(self.known),
            "blocks": list(self.blocks),
            "volumes": [volume for volume in volumes if volume[1]],
        }


_CHANGED = f"""{_OF_MINUTES}
    AND computed > transform(toUnixTimestamp64Micro(window_start), {{starts:Array(Int64)}}, {{since:Array(UInt64)}}, toUInt64(0))"""
_TOUCHED = f"(dimension, value) IN (SELECT dimension, value FROM cost_usage WHERE {_CHANGED})"


async def blocks(clickhouse: ClickHouse, tenant: str, service: str, starts: Sequence[int], *, timeout: float) -> Mapping[int, Blocks]:
    """The blocks of spans of each minute, by its start."""
    params = {"tenant": tenant, "service": service, "starts": list(starts)}
    found: dict[int, dict[tuple[int, int], BlockSpans]] = {start: {} for start in starts}
    for row in await clickhouse.query(_BLOCKS, params, settings=_SETTINGS, timeout=timeout):
        spans = BlockSpans(int(row["spans"]), int(row["counted"]), int(row["counted_bytes"]))
        found[int(row["start"])][int(row["part"]), int(row["offset"])] = spans
    return found


async def count_minutes(clickhouse: ClickHouse, tenant: str, touched: Touched, came: Came, computed: int, *, timeout: float) -> None:
    """Add up these minutes again from the distinct rows, and store what changed as of `computed`. Repeating is safe.

    What a minute had and no longer has is set to nothing. A minute of which no rows are left at all keeps its usage: its rows have expired.
    """
    await clickhouse.command(_COUNT, _WRITE, params={"tenant": tenant, "computed": computed, **touched.params, **came.params}, timeout=timeout)


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
    hourly: bool | None,
    left_out: str | None,
    timeout: float,
) -> list[tuple[int, Usage]]:
    """Usage in a piece of time by window start, all services together; with `starts` None the piece is one window, given as start 0.

    `touched` limits it to the subjects there, `page` (number, count) to a share of the subjects. `hourly` asks for
    series_hours, False for all the rest, None for both. `left_out` is a dimension that is not wanted.
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
    if hourly is not None:
        wanted.append(f"unit {'=' if hourly else '!='} '{SERIES_HOURS}'")
    wanted.append("quantity > 0")
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
