"""The cost of a refresh: the same new data on more history, and on more units."""

import asyncio
import statistics
import time

from infra.provision.tables import apply, create_database, differences
from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import SystemClock
from infra.runtime.settings import ClickHouseSettings, StreamSettings
from schemas.definitions import Definitions
from schemas.tables.events import BUCKETS
from streams.experiment_windows import ExperimentWindows
from streams.publish_windows import WindowWriter
from streams.refresher import Batch, Subject
from tests.bench.figures import Figure, Figures
from tests.support import EmbeddedParts

PART_ROWS = 500_000
NEW_EVENTS = 1_000
REFRESHES = 7

_COLUMNS = (
    "tenant, experiment, unit, event_type, variant, event_id, keyed, time, received, sdk, source, quarantined, metadata, extra, value, bucket, part, offset"
)
_UNIT = "'user_' || toString(cityHash64(number + {first:UInt64}) % {units:UInt64})"
_ROW = (
    "{experiment:String}, unit, ['view', 'purchase'][1 + number % 2], if(cityHash64(unit) % 2 = 0, 'control', 'treatment'), "
    "'evt_' || {experiment:String} || toString(number + {first:UInt64}), 0, now64(6, 'UTC'), now64(6, 'UTC'), 'bench', 'http', 0, '', '', "
    f"toFloat64(number % 100), toUInt16(cityHash64(unit) % {BUCKETS}), 0, {{offset:UInt64}}"
)


class _Nowhere:
    """Updates go nowhere: what is measured is the refresh."""

    async def send(self, topic: str, value: bytes, *, key: bytes | None = None, headers: object = ()) -> None:
        return None


async def _history(clickhouse: ClickHouse, experiment: str, rows: int, units: int) -> None:
    for part in range(rows // PART_ROWS):
        sql = f"INSERT INTO events ({_COLUMNS}) SELECT 'default', {_ROW.replace('unit,', _UNIT + ' AS unit,', 1)} FROM numbers({PART_ROWS})"
        params = {"experiment": experiment, "first": part * PART_ROWS, "units": units, "offset": part}
        await clickhouse.command(sql, {"max_insert_threads": 1}, params=params, timeout=120)


async def _new_events(clickhouse: ClickHouse, experiment: str, units: list[str], offset: int) -> None:
    sql = (
        f"INSERT INTO events ({_COLUMNS}) SELECT 'default', {_ROW.replace('unit,', '{names:Array(String)}[number + 1] AS unit,', 1)} FROM numbers({len(units)})"
    )
    params = {"experiment": experiment, "first": 10**9 + offset * 10**6, "units": 1, "offset": offset, "names": units}
    await clickhouse.command(sql, params=params, timeout=60)


async def _refresh_seconds(clickhouse: ClickHouse, experiment: str, rows: int, units: int) -> float:
    """Median seconds of a refresh after 1,000 new events of 1,000 units."""
    await _history(clickhouse, experiment, rows, units)
    clock = SystemClock()
    producer = _Nowhere()
    assignments, significance = (WindowWriter(kind, clickhouse, producer, clock) for kind in ("assignments", "significance"))  # type: ignore[arg-type]
    windows = ExperimentWindows(clickhouse, clock, Definitions(), StreamSettings(), assignments, significance)
    subject = Subject("default", experiment)
    first = Batch(units=None, positions={"events:0": rows // PART_ROWS - 1})
    await windows.refresh(subject, first)
    times = []
    for number in range(REFRESHES + 1):
        offset = rows // PART_ROWS + number
        names = [f"user_{(number * NEW_EVENTS + index) * 7_919 % units}" for index in range(NEW_EVENTS)]
        await _new_events(clickhouse, experiment, names, offset)
        started = time.perf_counter()
        await windows.refresh(subject, Batch(units=set(names), positions={"events:0": offset}))
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def refresh() -> Figures:
    """1 M and 10 M events over 200,000 units, then 10 M events over 2,000,000 units."""
    with EmbeddedParts(kafka=False) as parts:
        return asyncio.run(_all(parts.settings.clickhouse))


async def _all(settings: ClickHouseSettings) -> Figures:
    server, clickhouse = (ClickHouse(settings.url, settings.user, "", database) for database in ("", settings.database))
    await create_database(server, settings)
    await apply(clickhouse, await differences(clickhouse, settings))
    small = await _refresh_seconds(clickhouse, "history_1m", 1_000_000, 200_000)
    long = await _refresh_seconds(clickhouse, "history_10m", 10_000_000, 200_000)
    wide = await _refresh_seconds(clickhouse, "units_2m", 10_000_000, 2_000_000)
    await server.aclose()
    await clickhouse.aclose()
    conditions = f"{NEW_EVENTS} new events of {NEW_EVENTS} units; median of {REFRESHES} refreshes"
    reference = f"1 M events over 200,000 units, {small * 1e3:.0f} ms"
    return {
        "refresh_10m_events": Figure(long * 1e3, "ms", reference, long / small, "10 M events over 200,000 units; " + conditions),
        "refresh_2m_units": Figure(wide * 1e3, "ms", reference, wide / small, "10 M events over 2,000,000 units; " + conditions),
    }
