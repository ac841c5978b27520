"""Queries on the events of an experiment, per unit first.

Three sources are added up for each (unit, event type): what is sealed in `unit_totals`, the events behind the seal, and the
totals of events with a client's id in `unit_keyed_totals`. Buckets narrow a query to the shards that changed; an empty list
means all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from infra.runtime.clickhouse import ClickHouse
from schemas.tables.events import BUCKETS
from schemas.tables.unit_totals import NEVER

_SETTINGS = {"max_threads": 1, "max_memory_usage": 1_500_000_000}

SLICE_ROWS = 2_000_000
"""Rows of totals and tail that one query adds up; its hash tables stay below a few hundred megabytes."""

_EXPOSURE = f"min((if(variant = '', {NEVER}, time), toString(variant), toString(sdk), toString(source)))"
_LOW = "minIf(toString(variant), variant != '')"
_IN_BUCKETS = "bucket BETWEEN {low:UInt16} AND {high:UInt16} AND (empty({buckets:Array(UInt16)}) OR bucket IN {buckets:Array(UInt16)})"
_OF_EXPERIMENT = "tenant = {tenant:String} AND experiment = {experiment:String}"
_BEHIND_SEAL = "offset >= {sealed:Map(UInt16, UInt64)}[part]"
"""The seal maps a partition to the first offset behind it; a partition it does not know counts from 0."""

_TAIL = f"""
SELECT bucket, unit, event_type, {_EXPOSURE} AS exposure, {_LOW} AS low, max(toString(variant)) AS high,
    min(time) AS first_time, count() AS events, sum(ifNull(value, 0)) AS total
FROM events
WHERE {_OF_EXPERIMENT} AND {_IN_BUCKETS} AND keyed = 0 AND quarantined = 0 AND {_BEHIND_SEAL}
GROUP BY bucket, unit, event_type
"""

_SOURCES = f"""
SELECT bucket, unit, event_type, exposure, variant_low AS low, variant_high AS high, first_time, events, total
FROM unit_totals WHERE {_OF_EXPERIMENT} AND {_IN_BUCKETS}
UNION ALL
SELECT bucket, unit, event_type, exposure, variant_low AS low, variant_high AS high, first_time, events, total
FROM unit_keyed_totals FINAL WHERE {_OF_EXPERIMENT} AND {_IN_BUCKETS}
UNION ALL
{_TAIL}
"""

_IN_TIME = "time >= fromUnixTimestamp64Micro({start:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({end:Int64}, 'UTC')"
_VALUE = "if({path:String} = 'value', value, JSONExtract(metadata, {path:String}, 'Nullable(Float64)'))"

_ROWS = f"""
SELECT bucket, unit, event_type, {_EXPOSURE} AS exposure, {_LOW} AS low, max(toString(variant)) AS high,
    min(time) AS first_time, count() AS events, sum(ifNull({_VALUE}, 0)) AS total
FROM events FINAL
WHERE {_OF_EXPERIMENT} AND {_IN_BUCKETS} AND quarantined = 0 AND {_IN_TIME}
GROUP BY bucket, unit, event_type
"""
"""Straight from the rows: of one window, or with a value that the totals do not keep. Costs what the rows in question cost."""

_BEGINNING, _END = 0, 7_000_000_000_000_000
"""All of time, for the sources that take a range."""


def _units(source: str) -> str:
    """One row per exposed unit: `seen` (its first exposure), `lowest` and `highest` variant, and `types`: (event type, events, total, earliest)."""
    return f"""
SELECT bucket, unit, min(exposure) AS seen, minIf(low, low != '') AS lowest, max(high) AS highest, groupArray((event_type, n, amount, earliest)) AS types
FROM (
    SELECT bucket, unit, event_type, min(exposure) AS exposure, minIf(low, low != '') AS low, max(high) AS high,
        min(first_time) AS earliest, sum(events) AS n, sum(total) AS amount
    FROM ({source}) GROUP BY bucket, unit, event_type
)
GROUP BY bucket, unit
HAVING highest != ''
"""


def _exact_units(source: str) -> str:
    """Like `_units`, where the types of a unit that had events before its exposure are counted again from the rows since."""
    return f"""
SELECT u.bucket AS bucket, u.unit AS unit, any(u.seen) AS seen, any(u.lowest) AS lowest, any(u.highest) AS highest,
    arrayConcat(any(arrayFilter(t -> t.4 >= u.seen.1, u.types)), arrayFilter(t -> t.2 > 0, groupArray((r.event_type, r.n, r.amount, u.seen.1)))) AS types
FROM ({_units(source)}) AS u
LEFT JOIN (
    SELECT l.bucket AS bucket, l.unit AS unit, l.event_type AS event_type, count() AS n, sum(ifNull(l.amount, 0)) AS amount
    FROM (
        SELECT bucket, unit, toString(event_type) AS event_type, time, {_VALUE} AS amount FROM events FINAL
        WHERE {_OF_EXPERIMENT} AND {_IN_BUCKETS} AND quarantined = 0 AND {_IN_TIME}
    ) AS l
    INNER JOIN (
        SELECT bucket, unit, seen.1 AS since, arrayJoin(arrayMap(t -> toString(t.1), arrayFilter(t -> t.4 < seen.1, types))) AS event_type
        FROM ({_units(source)})
    ) AS s ON l.bucket = s.bucket AND l.unit = s.unit AND l.event_type = s.event_type
    WHERE l.time >= s.since
    GROUP BY bucket, unit, event_type
) AS r ON u.bucket = r.bucket AND u.unit = r.unit
GROUP BY bucket, unit
"""


def _variant() -> str:
    return "if(lowest != highest, '', seen.2)"


def _moments(units: str, bucket: str) -> str:
    return f"""
SELECT {bucket} AS bucket, {_variant()} AS variant, toString(type.1) AS event_type,
    count() AS units, sum(type.2) AS events, sum(type.2 * type.2) AS events_sq, sum(type.3) AS total, sum(type.3 * type.3) AS total_sq,
    countIf(type.4 < seen.1) AS early
FROM ({units})
ARRAY JOIN arrayPushBack(arrayMap(t -> (toString(t.1), t.2, t.3, t.4), types), ('', toUInt64(0), toFloat64(0), seen.1)) AS type
GROUP BY bucket, variant, event_type
"""


def _cross(units: str) -> str:
    return f"""
SELECT variant, count() AS units, sum(x) AS sx, sum(y) AS sy, sum(x * x) AS sxx, sum(y * y) AS syy, sum(x * y) AS sxy
FROM (
    SELECT {_variant()} AS variant,
        arraySum(t -> if({{count_x:UInt8}}, toFloat64(t.2), t.3), arrayFilter(t -> t.1 = {{type_x:String}}, types)) AS x,
        arraySum(t -> if({{count_y:UInt8}}, toFloat64(t.2), t.3), arrayFilter(t -> t.1 = {{type_y:String}}, types)) AS y
    FROM ({units})
)
GROUP BY variant
"""


@dataclass(frozen=True)
class Scope:
    """Which events a query is about."""

    tenant: str
    experiment: str
    sealed: Mapping[int, int] = field(default_factory=dict)
    """First offset behind the seal, by partition of the events topic."""
    buckets: Sequence[int] = ()
    """Shards of units; empty means all."""
    span: tuple[int, int] = (0, BUCKETS - 1)
    """First and last shard that is read at all; slices of a scope too large for one query."""
    window: tuple[int, int] | None = None
    """Only events of this range (microseconds, end exclusive), read from the rows; None is the whole experiment, from the totals."""
    path: str = "value"
    """Key of the metadata that is the value; any other than `value` is read from the rows."""
    exact: bool = False
    """Leave out what a unit did before its first exposure. Needed only where `early` is not 0, and costs a second pass."""

    @property
    def _source(self) -> str:
        return _ROWS if self.window or self.path != "value" else _SOURCES

    @property
    def units(self) -> str:
        """The subquery with one row per exposed unit."""
        return _exact_units(self._source) if self.exact else _units(self._source)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters every query about the scope takes."""
        start, end = self.window or (_BEGINNING, _END)
        named: dict[str, Any] = {"tenant": self.tenant, "experiment": self.experiment, "sealed": dict(self.sealed), "buckets": list(self.buckets)}
        named |= {"low": self.span[0], "high": self.span[1]}
        return {**named, "start": start, "end": end, "path": self.path}


async def moments(clickhouse: ClickHouse, scope: Scope, *, by_bucket: bool, timeout: float) -> pa.Table:
    """Sums over units: bucket, variant, event_type, units, events, events_sq, total, total_sq, early.

    The event type '' counts the units themselves, the variant '' those that saw several variants. `early` counts unit totals
    with events from before the unit's exposure. `by_bucket` False adds the buckets up, so that a row may come once per slice.
    """
    sql = _moments(scope.units, "bucket" if by_bucket else "toUInt16(0)")
    tables = [await clickhouse.query_arrow(sql, part.params, settings=_SETTINGS, timeout=timeout) for part in await _slices(clickhouse, scope)]
    return pa.concat_tables(tables)


async def _slices(clickhouse: ClickHouse, scope: Scope) -> list[Scope]:
    """The scope cut into spans of shards small enough for the memory limit of one query."""
    if scope.window or scope.buckets:
        return [scope]
    rows = await clickhouse.query(
        f"SELECT (SELECT count() FROM unit_totals WHERE {_OF_EXPERIMENT}) + (SELECT count() FROM events WHERE {_OF_EXPERIMENT} AND {_BEHIND_SEAL}) AS n",
        {"tenant": scope.tenant, "experiment": scope.experiment, "sealed": dict(scope.sealed)},
        settings=_SETTINGS,
    )
    count = min(64, 1 + int(rows[0]["n"]) // SLICE_ROWS)
    edges = [BUCKETS * index // count for index in range(count + 1)]
    return [replace(scope, span=(low, high - 1)) for low, high in zip(edges, edges[1:], strict=False)]


async def cross(clickhouse: ClickHouse, scope: Scope, type_x: str, count_x: bool, type_y: str, count_y: bool, *, timeout: float) -> list[dict[str, Any]]:
    """Sums for a ratio by variant: units, sx, sy, sxx, syy, sxy over per-unit totals (or counts) of two event types."""
    params = {**scope.params, "type_x": type_x, "count_x": int(count_x), "type_y": type_y, "count_y": int(count_y)}
    return await clickhouse.query(_cross(scope.units), params, settings=_SETTINGS, timeout=timeout)


async def exposures(clickhouse: ClickHouse, scope: Scope, *, by_bucket: bool, timeout: float) -> pa.Table:
    """Units by first exposure: bucket, variant ('' for units of several variants), minute since the epoch, sdk, source, units."""
    sql = f"""
SELECT {"bucket" if by_bucket else "toUInt16(0)"} AS bucket, {_variant()} AS variant,
    intDiv(toUnixTimestamp64Micro(seen.1), 60000000) AS minute, seen.3 AS sdk, seen.4 AS source, count() AS units
FROM (
    SELECT bucket, unit, min(exposure) AS seen, minIf(low, low != '') AS lowest, max(high) AS highest
    FROM ({_SOURCES}) GROUP BY bucket, unit HAVING highest != ''
)
GROUP BY bucket, variant, minute, sdk, source
"""
    tables = [await clickhouse.query_arrow(sql, part.params, settings=_SETTINGS, timeout=timeout) for part in await _slices(clickhouse, scope)]
    return pa.concat_tables(tables)


async def buckets_of(clickhouse: ClickHouse, units: Sequence[str]) -> list[int]:
    """The distinct buckets of units, ascending."""
    rows = await clickhouse.query(
        f"SELECT DISTINCT toUInt16(cityHash64(arrayJoin({{units:Array(String)}})) % {BUCKETS}) AS bucket ORDER BY bucket", {"units": list(units)}
    )
    return [int(row["bucket"]) for row in rows]


_KEYED = """
INSERT INTO unit_keyed_totals (tenant, experiment, bucket, unit, event_type, exposure, variant_low, variant_high, first_time, events, total, computed)
SELECT tenant, experiment, bucket, unit, event_type, {exposure}, {low}, max(toString(variant)), min(time), count(), sum(ifNull(value, 0)),
    {{computed:UInt64}}
FROM events FINAL
WHERE tenant = {{tenant:String}} AND experiment = {{experiment:String}} AND {units} AND keyed = 1 AND quarantined = 0
GROUP BY tenant, experiment, bucket, unit, event_type
"""
_SOME_UNITS = f"bucket IN (SELECT toUInt16(cityHash64(arrayJoin({{units:Array(String)}})) % {BUCKETS})) AND unit IN {{units:Array(String)}}"


async def total_keyed(clickhouse: ClickHouse, tenant: str, experiment: str, units: Sequence[str] | None, computed: int, *, timeout: float) -> None:
    """Total the events with a client's id again, of the given units or of all. Repeating is safe: the newest row of a unit counts."""
    sql = _KEYED.format(exposure=_EXPOSURE, low=_LOW, units="1" if units is None else _SOME_UNITS)
    params: dict[str, Any] = {"tenant": tenant, "experiment": experiment, "computed": computed, "units": list(units or ())}
    await clickhouse.command(sql, {**_SETTINGS, "async_insert": "0", "insert_deduplicate": "0"}, params=params, timeout=timeout)


_SEAL = f"""
INSERT INTO unit_totals (tenant, experiment, bucket, unit, event_type, exposure, variant_low, variant_high, first_time, events, total)
SELECT tenant, experiment, bucket, unit, event_type, {_EXPOSURE}, {_LOW}, max(toString(variant)), min(time), count(), sum(ifNull(value, 0))
FROM events
WHERE {_OF_EXPERIMENT} AND keyed = 0 AND quarantined = 0 AND {_BEHIND_SEAL} AND offset < {{until:Map(UInt16, UInt64)}}[part]
GROUP BY tenant, experiment, bucket, unit, event_type
ORDER BY bucket, unit, event_type
"""


async def seal(
    clickhouse: ClickHouse, tenant: str, experiment: str, sealed: Mapping[int, int], until: Mapping[int, int], token: str, *, timeout: float
) -> None:
    """Fold the events from the old seal up to the new one into `unit_totals`, once per token however often it is tried."""
    params = {"tenant": tenant, "experiment": experiment, "sealed": dict(sealed), "until": dict(until)}
    settings = {
        **_SETTINGS, "async_insert": "0", "insert_deduplicate": "1", "insert_deduplication_token": token, "max_insert_threads": 1, "max_block_size": 65_409,
        "min_insert_block_size_rows": 1_048_449, "min_insert_block_size_bytes": 1_073_741_824, "deduplicate_insert": "enable",
        "deduplicate_insert_select": "force_enable", "max_bytes_before_external_group_by": 500_000_000,
    }  # fmt: skip
    await clickhouse.command(_SEAL, settings, params=params, timeout=timeout)


async def seals(clickhouse: ClickHouse, tenant: str, experiment: str) -> list[tuple[int, bool, dict[int, int]]]:
    """All steps of the experiment's seal, oldest first: number, whether it is the completion, and the first offset behind it by partition."""
    rows = await clickhouse.query(
        f"SELECT sequence, done, positions FROM seals FINAL WHERE {_OF_EXPERIMENT} ORDER BY sequence, done", {"tenant": tenant, "experiment": experiment}
    )
    return [(int(r["sequence"]), bool(r["done"]), {int(part): int(offset) for part, offset in r["positions"].items()}) for r in rows]


async def tail_rows(clickhouse: ClickHouse, tenant: str, experiment: str, sealed: Mapping[int, int]) -> int:
    """Events behind the seal."""
    rows = await clickhouse.query(
        f"SELECT count() AS n FROM events WHERE {_OF_EXPERIMENT} AND keyed = 0 AND quarantined = 0 AND {_BEHIND_SEAL}",
        {"tenant": tenant, "experiment": experiment, "sealed": dict(sealed)},
        settings=_SETTINGS,
    )
    return int(rows[0]["n"])
