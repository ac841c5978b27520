"""Queries that hand usage from minutes to longer windows, and read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.query_priority import PATIENT
from schemas.cost import ACTIVE_SERIES, COARSER, FINER, SERIES_HOURS, Piece, Usage
from schemas.tables.cardinality_states import EMPTY_SKETCH
from schemas.windows import MICROSECONDS, Grain, window_start, windows_touched

SETTINGS = {**PATIENT, "max_threads": 1, "max_memory_usage": 1_073_741_824, "max_bytes_before_external_group_by": 402_653_184}
WRITE = {**SETTINGS, "async_insert": 0, "insert_deduplicate": 0, "max_insert_threads": 1}
COLUMNS = "tenant, grain, within, window_start, dimension, value, service, provider, model, unit, project, quantity, billed, series, computed"
OF_SERVICE = "tenant = {tenant:String} AND service = {service:String}"


def _times(name: str) -> str:
    return f"(SELECT fromUnixTimestamp64Micro(arrayJoin({{{name}:Array(Int64)}}), 'UTC'))"


def window_of(time: str, grain: Grain | None) -> str:
    """The start of the window of a grain that holds a time."""
    length = grain.seconds * MICROSECONDS if grain else 0
    return f"fromUnixTimestamp64Micro(intDiv(toUnixTimestamp64Micro({time}), {length}) * {length}, 'UTC')" if length else "toDateTime64(0, 6, 'UTC')"


OF_MINUTES = f"{OF_SERVICE} AND grain = '1m' AND within IN {_times('within')} AND window_start IN {_times('starts')}"


@dataclass(frozen=True)
class Touched:
    """Minutes of a service that were counted: what is looked up for them is limited to the subjects that changed in them."""

    service: str
    starts: Sequence[int]
    """Of the minutes, microseconds."""
    since: Sequence[int]
    """For each of them the computation after which changes count; 0 for whatever the minute holds or held."""
    dimensions: Sequence[str]
    """Of the subjects."""

    @property
    def params(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "starts": list(self.starts),
            "within": _within(self.starts),
            "since": list(self.since),
            "dimensions": list(self.dimensions),
        }


_CHANGED = f"""{OF_MINUTES} AND dimension IN {{dimensions:Array(String)}}
    AND computed > transform(toUnixTimestamp64Micro(window_start), {{starts:Array(Int64)}}, {{since:Array(UInt64)}}, toUInt64(0))"""
_TOUCHED = f"(dimension, value) IN (SELECT dimension, value FROM cost_usage WHERE {_CHANGED})"


def _add_up(grain: Grain, finer: Grain) -> str:
    # Series are distinct within an hour and added up from there on: that is how they are priced.
    unit = f"if(was = '{ACTIVE_SERIES}', '{SERIES_HOURS}', was)" if grain is Grain.HOUR else "was"
    keep = "merged" if grain is Grain.FIVE_MINUTES else EMPTY_SKETCH
    return f"""
INSERT INTO cost_usage ({COLUMNS})
SELECT {{tenant:String}}, '{grain}', {window_of("start", COARSER.get(grain))}, start, dimension, value, {{service:String}}, provider, model, {unit}, project,
    if(was = '{ACTIVE_SERIES}', size, total), if(was = '{ACTIVE_SERIES}', size, total_billed), {keep}, {{computed:UInt64}}
FROM (
    SELECT within AS start, dimension, value, provider, model, unit AS was, project, sum(quantity) AS total, sum(billed) AS total_billed,
        uniqCombined64MergeState(series) AS merged, finalizeAggregation(merged) AS size
    FROM cost_usage FINAL
    WHERE {OF_SERVICE} AND grain = '{finer}' AND within IN {_times("windows")} AND {_TOUCHED}
    GROUP BY start, dimension, value, provider, model, was, project
)
"""


async def add_up(clickhouse: ClickHouse, tenant: str, touched: Touched, grain: Grain, computed: int, *, timeout: float) -> None:
    """Make the usage of the windows of a grain that hold the minutes, of the subjects that changed in them. Repeating is safe."""
    windows = _windows_of(touched.starts, grain)
    params = {"tenant": tenant, "computed": computed, "windows": windows, **touched.params}
    await clickhouse.command(_add_up(grain, FINER[grain]), WRITE, params=params, timeout=timeout)


Place = tuple[Grain, int]
"""Grain and start of a window."""

_USED = "dimension, value, provider, model, unit, sum(quantity) AS used, sum(billed) AS priced FROM cost_usage FINAL WHERE tenant = {tenant:String} AND quantity > 0"
_BY = "dimension, value, provider, model, unit"
_OF_PAGE = "cityHash64(dimension, value) % {pages:UInt32} = {page:UInt32}"


async def usage(
    clickhouse: ClickHouse,
    tenant: str,
    dimensions: Mapping[Place, Sequence[str]],
    touched: Touched | None,
    page: tuple[int, int],
    *,
    timeout: float,
) -> list[tuple[Place, Usage]]:
    """Usage in whole windows, of each the dimensions named, all services together.

    `touched` limits it to the subjects there, `page` (number, count) to a share of the subjects.
    """
    wanted = [
        "grain IN {grains:Array(String)}",
        f"within IN {_times('of')}",
        "(toString(grain), toUnixTimestamp64Micro(window_start), toString(dimension)) IN {wanted:Array(Tuple(String, Int64, String))}",
    ]
    of = {0 if (coarser := COARSER.get(grain)) is None else window_start(start, coarser) for grain, start in dimensions}
    params: dict[str, Any] = {
        "tenant": tenant,
        "grains": sorted({grain.value for grain, _ in dimensions}),
        "of": sorted(of),
        "wanted": [(grain.value, start, dimension) for (grain, start), names in dimensions.items() for dimension in names],
    }
    _limit(wanted, params, touched, page)
    rows = await clickhouse.query(
        f"SELECT grain, toUnixTimestamp64Micro(window_start) AS start, {_USED} AND {' AND '.join(wanted)} GROUP BY grain, start, {_BY}",
        params,
        settings=SETTINGS,
        timeout=timeout,
    )
    return [((Grain(row["grain"]), int(row["start"])), _usage(row)) for row in rows]


async def usage_of_piece(
    clickhouse: ClickHouse,
    tenant: str,
    piece: Piece,
    dimensions: Sequence[str],
    touched: Touched | None,
    page: tuple[int, int],
    *,
    hourly: bool,
    timeout: float,
) -> list[Usage]:
    """The same in a piece of time, as one sum. `hourly` asks for series_hours, else for all the rest."""
    coarser = COARSER.get(piece.grain)
    params: dict[str, Any] = {"tenant": tenant, "from": piece.from_us, "wanted": list(dimensions)}
    wanted = [f"grain = '{piece.grain}' AND window_start >= fromUnixTimestamp64Micro({{from:Int64}}, 'UTC') AND dimension IN {{wanted:Array(String)}}"]
    if coarser is not None and coarser is not Grain.ALL:
        wanted.append(f"within >= {window_of('fromUnixTimestamp64Micro({from:Int64})', coarser)}")
    else:
        wanted.append("within = toDateTime64(0, 6, 'UTC')")
    if piece.until_us is not None:
        wanted.append("window_start < fromUnixTimestamp64Micro({until:Int64}, 'UTC') AND within < fromUnixTimestamp64Micro({until:Int64}, 'UTC')")
        params["until"] = piece.until_us
    wanted.append(f"unit {'=' if hourly else '!='} '{SERIES_HOURS}'")
    _limit(wanted, params, touched, page)
    rows = await clickhouse.query(f"SELECT {_USED} AND {' AND '.join(wanted)} GROUP BY {_BY}", params, settings=SETTINGS, timeout=timeout)
    return [_usage(row) for row in rows]


def _limit(wanted: list[str], params: dict[str, Any], touched: Touched | None, page: tuple[int, int]) -> None:
    if touched is not None:
        wanted.append(_TOUCHED)
        params |= touched.params
    if page[1] > 1:
        wanted.append(_OF_PAGE)
        params |= {"page": page[0], "pages": page[1]}


def _usage(row: Mapping[str, Any]) -> Usage:
    return Usage(row["dimension"], row["value"], row["provider"], row["model"], row["unit"], int(row["used"]), int(row["priced"]))


async def subjects(clickhouse: ClickHouse, tenant: str, touched: Touched, *, timeout: float) -> list[tuple[int, str, str]]:
    """(minute start, dimension, value) of everything that changed in the minutes."""
    rows = await clickhouse.query(
        f"SELECT DISTINCT toUnixTimestamp64Micro(window_start) AS start, dimension, value FROM cost_usage WHERE {_CHANGED}",
        {"tenant": tenant, **touched.params},
        settings=SETTINGS,
        timeout=timeout,
    )
    return [(int(row["start"]), str(row["dimension"]), str(row["value"])) for row in rows]


async def starts(
    clickhouse: ClickHouse, tenant: str, grain: Grain, from_us: int, until_us: int | None, *, dimensions: Sequence[str], timeout: float
) -> list[tuple[int, int]]:
    """Starts of the windows of a grain that overlap [from_us, until_us) and hold usage of the dimensions, ascending, with their number of subjects."""
    length = grain.seconds * MICROSECONDS
    until = "" if until_us is None or not length else "AND window_start < fromUnixTimestamp64Micro({until:Int64}, 'UTC')"
    after = f"AND window_start > fromUnixTimestamp64Micro({{from:Int64}} - {length}, 'UTC')" if length else ""
    rows = await clickhouse.query(
        "SELECT toUnixTimestamp64Micro(window_start) AS start, uniq(dimension, value) AS n FROM cost_usage "
        f"WHERE tenant = {{tenant:String}} AND grain = '{grain}' AND dimension IN {{wanted:Array(String)}} {after} {until} GROUP BY start ORDER BY start",
        {"tenant": tenant, "from": from_us, "until": until_us or 0, "wanted": list(dimensions)},
        settings=SETTINGS,
        timeout=timeout,
    )
    return [(int(row["start"]), int(row["n"])) for row in rows]


def _windows_of(minutes: Sequence[int], grain: Grain) -> list[int]:
    return list(windows_touched((start // (60 * MICROSECONDS) for start in minutes), grain))


def _within(minutes: Sequence[int]) -> list[int]:
    return _windows_of(minutes, Grain.FIVE_MINUTES)
