"""What the units of an experiment did between two positions: what is added to the units held in memory."""

from collections.abc import AsyncIterator, Mapping, Sequence

import pyarrow as pa

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.query_priority import URGENT
from schemas.tables.unit_totals import FIGURES
from streams.readers.experiments import AS_FIGURES, BEHIND_SEAL, MAX_TYPES, OF_EXPERIMENT, SETTINGS, WIDTH, Scope, named, slices

_IN_TAIL = f"""
{OF_EXPERIMENT} AND bucket BETWEEN {{low:UInt16}} AND {{high:UInt16}} AND keyed = 0 AND quarantined = 0
    AND {BEHIND_SEAL} AND offset < {{until:Map(UInt16, UInt64)}}[part]
"""
_HASHES = "cityHash64(unit) AS hash, sipHash64(unit) AS check"
_EVENTS = f"""
SELECT {_HASHES}, event_type, variant, sdk, source, toUnixTimestamp64Micro(time) AS time, ifNull(value, 0) AS value FROM events WHERE {_IN_TAIL}
"""
_ALL = f"""
SELECT unit, event_type, {", ".join(FIGURES)}
FROM unit_totals WHERE {OF_EXPERIMENT} AND bucket BETWEEN {{low:UInt16}} AND {{high:UInt16}}
UNION ALL
SELECT unit, event_type, {AS_FIGURES} FROM events WHERE {_IN_TAIL}
"""

_SETTINGS = {**SETTINGS, **URGENT}
_RAW = 8
"""How many times smaller the slices are of a reading that gives a row for each event."""

Positions = Mapping[int, int]
"""The first offset that is not included, by partition of the events topic; a partition that is missing has nothing included."""


async def since(
    clickhouse: ClickHouse, tenant: str, experiment: str, included: Positions, until: Positions, rows: int, *, timeout: float
) -> AsyncIterator[pa.Table]:
    """Events without a client's id from `included` up to `until`, which are about so many: hash and check of the unit, event_type, variant, sdk, source,
    time in microseconds, value (0 when there is none). In several tables, so that what is in memory at a time stays small."""
    for scope in slices(Scope(tenant, experiment, included), rows * _RAW):
        params = {**scope.params, "until": dict(until)}
        yield await clickhouse.query_arrow(_EVENTS, params, settings={**_SETTINGS, "output_format_arrow_low_cardinality_as_dictionary": 1}, timeout=timeout)


async def sealed_and_since(
    clickhouse: ClickHouse, tenant: str, experiment: str, sealed: Positions, until: Positions, rows: int, known: Sequence[str], *, timeout: float
) -> AsyncIterator[tuple[pa.Table, list[str]] | None]:
    """What units did from the beginning, sealed and behind the seal, a row for each: hash, check, is_exposed, since, variant, several, sdk, source, and for
    each event type n, x and first with its number: how often, the sum of values, and when first, in microseconds. In several tables likewise.

    Also gives the event types, which are the known ones and what else was found; None when these are too many to be held side by side.
    """
    for scope in slices(Scope(tenant, experiment, sealed), rows * WIDTH):
        yield await _read(clickhouse, scope, _ALL, until, known, timeout)


async def any_keyed(clickhouse: ClickHouse, tenant: str, experiment: str) -> bool:
    """Whether the experiment has events with a client's id that are totalled."""
    sql = f"SELECT 1 AS found FROM unit_keyed_totals WHERE {OF_EXPERIMENT} LIMIT 1"
    return bool(await clickhouse.query(sql, {"tenant": tenant, "experiment": experiment}, settings=SETTINGS))


async def _read(clickhouse: ClickHouse, scope: Scope, source: str, until: Positions, known: Sequence[str], timeout: float) -> tuple[pa.Table, list[str]] | None:
    types = list(known)
    while len(types) <= MAX_TYPES:
        params = {**scope.params, **named(types), "types": types, "until": dict(until)}
        table = await clickhouse.query_arrow(_by_unit(source, len(types)), params, settings=_SETTINGS, timeout=timeout)
        if not any(table["others"].to_pylist()):
            return table, types
        sql = f"SELECT DISTINCT toString(event_type) AS event_type FROM ({source}) ORDER BY event_type"
        found = [row["event_type"] for row in await clickhouse.query(sql, params, settings=SETTINGS, timeout=timeout)]
        types += [each for each in found if each not in types]
    return None


def _by_unit(source: str, types: int) -> str:
    figures = "".join(
        f", sumIf(events, event_type = {{type{i}:String}}) AS n{i}, sumIf(total, event_type = {{type{i}:String}}) AS x{i}"
        f", toUnixTimestamp64Micro(minIf(first_time, event_type = {{type{i}:String}})) AS first{i}"
        for i in range(types)
    )
    return f"""
SELECT {_HASHES}, max(variant_high) != '' AS is_exposed, toUnixTimestamp64Micro(min(exposed)) AS since,
    max(variant_high) AS variant, is_exposed AND min(variant_low) != max(variant_high) AS several, min(sdk) AS sdk, min(source) AS source,
    countIf(event_type NOT IN {{types:Array(String)}}) AS others{figures}
FROM ({source}) GROUP BY unit
"""
