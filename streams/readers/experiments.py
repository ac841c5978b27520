"""Queries on the events of an experiment, per unit first.

Three sources are added up for each unit: what is sealed in `unit_totals`, the events behind the seal, and the totals of events with a client's id in
`unit_keyed_totals`. One GROUP BY over all of them, with a column for each event type, is what makes a refresh cheap: grouping by (unit, event type) first
costs sixteen times as much, and a second key such as the bucket, which follows from the unit, a third more.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.query_priority import PATIENT
from schemas.exposure_counts import DIMENSIONS
from schemas.tables.events import BUCKETS
from schemas.tables.unit_totals import FIGURES, NEVER, NO_VARIANT
from schemas.windows import ALL_TIME

SETTINGS = {"max_threads": 1, "max_memory_usage": 1_500_000_000}
_PATIENT = {**SETTINGS, **PATIENT}
SLICE_ROWS = 4_000_000
"""Rows of totals and tail that one query adds up, so that its hash table stays below a few hundred megabytes."""
MAX_TYPES = 40
"""Event types that one query adds up side by side; more take several queries."""

OF_EXPERIMENT = "tenant = {tenant:String} AND experiment = {experiment:String}"
_IN_BUCKETS = "bucket BETWEEN {low:UInt16} AND {high:UInt16} AND (empty({buckets:Array(UInt16)}) OR bucket IN {buckets:Array(UInt16)})"
_IN_TIME = "time >= fromUnixTimestamp64Micro({start:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({end:Int64}, 'UTC')"
BEHIND_SEAL = "offset >= {oldest:UInt64} AND offset >= {sealed:Map(UInt16, UInt64)}[part]"
"""The seal maps every partition that has events of the experiment to the first offset behind it; it is empty where nothing is sealed."""

_VALUE = "if({path:String} = 'value', value, JSONExtract(metadata, {path:String}, 'Nullable(Float64)'))"


def _as_figures(value: str, p: str = "") -> str:
    """One event in the form of a row of totals; `p` stands before the names of its columns."""
    return (
        f"if({p}variant = '', {NEVER}, {p}time) AS exposed, if({p}variant = '', {NO_VARIANT}, toString({p}variant)) AS variant_low, "
        f"toString({p}variant) AS variant_high, toString({p}sdk) AS sdk, toString({p}source) AS source, {p}time AS first_time, "
        f"toUInt64(1) AS events, ifNull({value}, 0) AS total"
    )


AS_FIGURES = _as_figures("value")
"""An event in the form of a row of totals."""
_COLUMNS = "bucket, unit, event_type, " + ", ".join(FIGURES)
_MERGED = (
    "min(exposed) AS exposed, min(variant_low) AS variant_low, max(variant_high) AS variant_high, min(sdk) AS sdk, min(source) AS source, "
    "min(first_time) AS first_time, sum(events) AS events, sum(total) AS total"
)

_TOTALS = f"""
SELECT {_COLUMNS} FROM unit_totals WHERE {OF_EXPERIMENT} AND {_IN_BUCKETS}
UNION ALL
SELECT {_COLUMNS} FROM unit_keyed_totals FINAL WHERE {OF_EXPERIMENT} AND {_IN_BUCKETS}
UNION ALL
SELECT bucket, unit, event_type, {AS_FIGURES} FROM events
WHERE {OF_EXPERIMENT} AND {_IN_BUCKETS} AND keyed = 0 AND quarantined = 0 AND {BEHIND_SEAL}
"""

_DISTINCT, _ONCE = ("events FINAL", "1"), ("events", "keyed = 0")
"""Where rows are read from, and which of them: FINAL costs as much as everything else, and events without a client's id exist once without it."""


def _rows(events: tuple[str, str]) -> str:
    """Straight from the rows: of one window, or with a value that the totals do not keep. Costs what the rows in question cost."""
    table, counted = events
    return f"""
SELECT bucket, unit, event_type, {_as_figures(_VALUE)} FROM {table}
WHERE {OF_EXPERIMENT} AND {_IN_BUCKETS} AND {counted} AND quarantined = 0 AND {_IN_TIME}
"""


def _since_exposure(source: str, events: tuple[str, str]) -> str:
    """The rows of exposed units from their first exposure on."""
    table, counted = events
    return f"""
SELECT e.bucket AS bucket, e.unit AS unit, e.event_type AS event_type, {_as_figures("e.amount", "e.")}
FROM (
    SELECT bucket, unit, event_type, time, variant, sdk, source, {_VALUE} AS amount
    FROM {table} WHERE {OF_EXPERIMENT} AND {_IN_BUCKETS} AND {counted} AND quarantined = 0 AND {_IN_TIME}
) AS e
INNER JOIN (SELECT unit, min(exposed) AS since FROM ({source}) GROUP BY unit) AS s ON e.unit = s.unit
WHERE e.time >= s.since
"""


@dataclass(frozen=True)
class Scope:
    """Which events a query is about."""

    tenant: str
    experiment: str
    sealed: Mapping[int, int] = field(default_factory=dict)
    """First offset behind the seal, by partition of the events topic: all that have events of the experiment, or none."""
    buckets: Sequence[int] = ()
    """Shards of units; empty means all."""
    span: tuple[int, int] = (0, BUCKETS - 1)
    """First and last shard that is read at all; slices of a scope too large for one query."""
    window: tuple[int, int] | None = None
    """Only events of this range (microseconds, end exclusive), read from the rows; None is the whole experiment, from the totals."""
    path: str = "value"
    """Key of the metadata that is the value; any other than `value` is read from the rows."""
    exact: bool = False
    """Leave out what a unit did before its first exposure. Needed only where `early` is not 0, and read from the rows."""
    once: bool = False
    """Of rows, only those of events without a client's id, which need not be told from what came again."""

    @property
    def source(self) -> str:
        """The subquery with the rows to add up."""
        events = _ONCE if self.once else _DISTINCT
        source = _rows(events) if self.window or self.path != "value" else _TOTALS
        return _since_exposure(source, events) if self.exact else source

    @property
    def params(self) -> dict[str, Any]:
        """The parameters every query about the scope takes."""
        start, end = self.window or ALL_TIME
        named: dict[str, Any] = {"tenant": self.tenant, "experiment": self.experiment, "sealed": dict(self.sealed), "buckets": list(self.buckets)}
        named |= {"low": self.span[0], "high": self.span[1], "start": start, "end": end, "path": self.path}
        return {**named, "oldest": min(self.sealed.values(), default=0)}


_UNIT = "min(exposed) AS since, if(min(variant_low) = max(variant_high), max(variant_high), '') AS variant"
_EXPOSED = "max(variant_high) != ''"


async def moments(clickhouse: ClickHouse, scope: Scope, rows: int, known: Sequence[str], *, by_bucket: bool, timeout: float) -> pa.Table:
    """Sums over units: bucket, variant, event_type, units, events, events_sq, total, total_sq, early.

    `rows` is about how many rows the scope has, for cutting it into slices. `known` are event types to expect; only when there
    are others too are all of them looked up first, which reads the scope once more.

    The event type '' counts the units themselves, the variant '' those that saw several variants. `early` counts unit totals
    with events from before the unit's exposure. `by_bucket` False adds the buckets up, so that a row may come once per slice.
    """
    sums, _ = await _read(clickhouse, slices(scope, rows), known, _keys(by_bucket), timeout)
    return sums


async def moments_and_exposures(
    clickhouse: ClickHouse, scope: Scope, rows: int, known: Sequence[str], *, by_bucket: bool, timeout: float
) -> tuple[pa.Table, pa.Table]:
    """`moments`, and from the same reading the units by first exposure: bucket, variant ('' for units of several), minute since the epoch, sdk, source,
    units. Of the exposures too a row may come once per slice."""
    # Apart by bucket there is nearly a row for each unit, wide as it is; smaller slices keep what is in memory at a time small.
    parts = slices(scope, rows * WIDTH if by_bucket else rows)
    return await _read(clickhouse, parts, known, (*_keys(by_bucket), *_EXPOSURE), timeout)


_EXPOSURE = ("intDiv(toUnixTimestamp64Micro(since), 60000000) AS minute", "sdk", "source")
WIDTH = 4
"""How many times smaller the slices are of a reading that gives a wide row for each unit, or nearly."""


def _keys(by_bucket: bool) -> tuple[str, ...]:
    return ("bucket" if by_bucket else "toUInt16(0) AS bucket", "variant")


async def _read(clickhouse: ClickHouse, parts: Sequence[Scope], known: Sequence[str], keys: Sequence[str], timeout: float) -> tuple[pa.Table, pa.Table]:
    sums, exposures = [], []
    for part in parts:
        types = list(known[:MAX_TYPES])
        wide = await _wide(clickhouse, part, types, keys, timeout)
        exposures.append(wide.select([name for name in ("bucket", *DIMENSIONS, "units") if name in wide.column_names]))
        if not any(wide["others"].to_pylist()):
            sums.append(_long(_by_variant(wide), types, with_units=True))
            continue
        types = await _event_types(clickhouse, part, timeout)
        for first in range(0, len(types), MAX_TYPES):
            some = types[first : first + MAX_TYPES]
            sums.append(_long(_by_variant(await _wide(clickhouse, part, some, keys[:2], timeout)), some, with_units=first == 0))
    return pa.concat_tables(sums), pa.concat_tables(exposures)


async def _wide(clickhouse: ClickHouse, scope: Scope, types: Sequence[str], keys: Sequence[str], timeout: float) -> pa.Table:
    params = {**scope.params, **named(types), "types": list(types)}
    return await clickhouse.query_arrow(_moments(scope.source, len(types), keys), params, settings=_PATIENT if scope.window else SETTINGS, timeout=timeout)


def named(types: Sequence[str]) -> dict[str, str]:
    """Event types as parameters type0, type1 and so on."""
    return {f"type{index}": name for index, name in enumerate(types)}


def _moments(source: str, types: int, keys: Sequence[str]) -> str:
    inner = "".join(
        f", sumIf(events, event_type = {{type{i}:String}}) AS n{i}, sumIf(total, event_type = {{type{i}:String}}) AS x{i}"
        f", minIf(first_time, event_type = {{type{i}:String}}) AS first{i}"
        for i in range(types)
    )
    outer = "".join(
        f", countIf(n{i} > 0) AS units{i}, sum(n{i}) AS events{i}, sum(toFloat64(n{i}) * n{i}) AS events_sq{i}, sum(x{i}) AS total{i}"
        f", sum(x{i} * x{i}) AS total_sq{i}, countIf(n{i} > 0 AND first{i} < since) AS early{i}"
        for i in range(types)
    )
    origin = ", min(sdk) AS sdk, min(source) AS source" if "sdk" in keys else ""
    names = ", ".join(key.rpartition(" AS ")[2] for key in keys)
    return f"""
SELECT {", ".join(keys)}, count() AS units, sum(others) AS others{outer}
FROM (
    SELECT any(bucket) AS bucket, unit, {_UNIT}{origin}, countIf(event_type NOT IN {{types:Array(String)}}) AS others{inner}
    FROM ({source}) GROUP BY unit HAVING {_EXPOSED}
)
GROUP BY {names}
"""


def _by_variant(wide: pa.Table) -> pa.Table:
    """The rows of one bucket and variant added up."""
    if "minute" not in wide.column_names:
        return wide
    keys = ["bucket", "variant"]
    names = [name for name in wide.column_names if name not in (*keys, *DIMENSIONS)]
    added = wide.group_by(keys, use_threads=False).aggregate([(name, "sum") for name in names])
    return added.select([*keys, *(f"{name}_sum" for name in names)]).rename_columns([*keys, *names])


def _long(wide: pa.Table, types: Sequence[str], *, with_units: bool) -> pa.Table:
    """One row per event type instead of one column."""
    count = wide.num_rows
    zeros = pa.nulls(count, pa.float64()).fill_null(0.0)
    parts = []
    if with_units:
        parts.append(("", {"units": wide["units"], "events": zeros, "events_sq": zeros, "total": zeros, "total_sq": zeros, "early": zeros}))
    names = ("units", "events", "events_sq", "total", "total_sq", "early")
    parts += [(event_type, {name: wide[f"{name}{index}"] for name in names}) for index, event_type in enumerate(types)]
    tables = [
        pa.table(
            {
                "bucket": wide["bucket"],
                "variant": wide["variant"].cast(pa.string()),
                "event_type": pa.repeat(event_type, count),
                **{name: columns[name].cast(pa.float64()) for name in names},
            }
        )
        for event_type, columns in parts
    ]
    return pa.concat_tables(tables) if tables else pa.table({})


async def _event_types(clickhouse: ClickHouse, scope: Scope, timeout: float) -> list[str]:
    sql = f"SELECT DISTINCT toString(event_type) AS event_type FROM ({scope.source}) ORDER BY event_type"
    return [row["event_type"] for row in await clickhouse.query(sql, scope.params, settings=SETTINGS, timeout=timeout)]


async def cross(clickhouse: ClickHouse, scope: Scope, type_x: str, count_x: bool, type_y: str, count_y: bool, *, timeout: float) -> list[dict[str, Any]]:
    """Sums for a ratio by variant: units, sx, sy, sxx, syy, sxy over per-unit totals (or counts) of two event types."""
    params = {**scope.params, "type_x": type_x, "type_y": type_y}
    x, y = "events" if count_x else "total", "events" if count_y else "total"
    sql = f"""
SELECT variant, count() AS units, sum(x) AS sx, sum(y) AS sy, sum(x * x) AS sxx, sum(y * y) AS syy, sum(x * y) AS sxy
FROM (
    SELECT unit, {_UNIT}, toFloat64(sumIf({x}, event_type = {{type_x:String}})) AS x, toFloat64(sumIf({y}, event_type = {{type_y:String}})) AS y
    FROM ({scope.source}) GROUP BY unit HAVING {_EXPOSED}
)
GROUP BY variant
"""
    return await clickhouse.query(sql, params, settings=SETTINGS, timeout=timeout)


def slices(scope: Scope, rows: int) -> list[Scope]:
    """A scope of about so many rows, cut into spans of shards small enough for the memory limit of one query."""
    if scope.window or scope.buckets:
        return [scope]
    count = min(64, 1 + rows // SLICE_ROWS)
    edges = [BUCKETS * index // count for index in range(count + 1)]
    return [replace(scope, span=(low, high - 1)) for low, high in zip(edges, edges[1:], strict=False)]


MAX_NAMES_BYTES = 24_000
"""Names of units in one statement, encoded: parameters travel in the request's address."""


def name_groups(units: Sequence[str]) -> Iterator[list[str]]:
    """Units in groups whose names fit into the address of a request."""
    group: list[str] = []
    size = 0
    for unit in units:
        needed = len(quote(unit)) + 12
        if group and size + needed > MAX_NAMES_BYTES:
            yield group
            group, size = [], 0
        group.append(unit)
        size += needed
    if group:
        yield group


async def buckets_of(clickhouse: ClickHouse, units: Sequence[str]) -> list[int]:
    """The distinct buckets of units, ascending."""
    sql = f"SELECT DISTINCT toUInt16(cityHash64(arrayJoin({{units:Array(String)}})) % {BUCKETS}) AS bucket"
    found = [await clickhouse.query(sql, {"units": group}) for group in name_groups(units)]
    return sorted({int(row["bucket"]) for rows in found for row in rows})


_SOME_UNITS = f"bucket IN (SELECT toUInt16(cityHash64(arrayJoin({{units:Array(String)}})) % {BUCKETS})) AND unit IN {{units:Array(String)}}"


async def total_keyed(clickhouse: ClickHouse, tenant: str, experiment: str, units: Sequence[str] | None, computed: int, *, timeout: float) -> None:
    """Total the events with a client's id again, of the given units or of all. Repeating is safe: the newest row of a unit counts."""
    chosen = "1" if units is None else _SOME_UNITS
    sql = f"""
INSERT INTO unit_keyed_totals (tenant, experiment, {_COLUMNS}, computed)
SELECT {{tenant:String}}, {{experiment:String}}, bucket, unit, event_type, {_MERGED}, {{computed:UInt64}}
FROM (
    SELECT bucket, unit, event_type, {AS_FIGURES} FROM events FINAL
    WHERE {OF_EXPERIMENT} AND {chosen} AND keyed = 1 AND quarantined = 0
)
GROUP BY bucket, unit, event_type
"""
    settings = {**SETTINGS, "async_insert": "0", "deduplicate_insert": "disable", "deduplicate_insert_select": "disable"}
    groups: Iterable[list[str]] = [[]] if units is None else name_groups(units)
    for group in groups:
        params: dict[str, Any] = {"tenant": tenant, "experiment": experiment, "computed": computed, "units": group}
        await clickhouse.command(sql, settings, params=params, timeout=timeout)


_SEAL = f"""
INSERT INTO unit_totals (tenant, experiment, {_COLUMNS})
SELECT {{tenant:String}}, {{experiment:String}}, bucket, unit, event_type, {_MERGED}
FROM (
    SELECT bucket, unit, event_type, {AS_FIGURES} FROM events
    WHERE {OF_EXPERIMENT} AND keyed = 0 AND quarantined = 0 AND {BEHIND_SEAL} AND offset < {{until:Map(UInt16, UInt64)}}[part]
)
GROUP BY bucket, unit, event_type
ORDER BY bucket, unit, event_type
"""


async def seal(
    clickhouse: ClickHouse, tenant: str, experiment: str, sealed: Mapping[int, int], until: Mapping[int, int], token: str, *, timeout: float
) -> None:
    """Fold the events from the old seal up to the new one into `unit_totals`, once per token however often it is tried."""
    params = {**Scope(tenant, experiment, sealed).params, "until": dict(until)}
    settings = {
        **_PATIENT,
        "async_insert": "0",
        "insert_deduplication_token": token,
        "deduplicate_insert": "enable",
        "deduplicate_insert_select": "force_enable",
        "max_insert_threads": 1,
        "max_block_size": 65_409,
        "min_insert_block_size_rows": 1_048_449,
        "min_insert_block_size_bytes": 1_073_741_824,
        "max_bytes_before_external_group_by": 500_000_000,
        "max_bytes_before_external_sort": 500_000_000,
    }
    await clickhouse.command(_SEAL, settings, params=params, timeout=timeout)


async def seals(clickhouse: ClickHouse, tenant: str, experiment: str) -> list[tuple[int, bool, dict[int, int]]]:
    """All steps of the experiment's seal, oldest first: number, whether it is the completion, and the first offset behind it by partition."""
    sql = f"SELECT sequence, done, positions FROM seals FINAL WHERE {OF_EXPERIMENT} ORDER BY sequence, done"
    rows = await clickhouse.query(sql, {"tenant": tenant, "experiment": experiment})
    return [(int(r["sequence"]), bool(r["done"]), {int(part): int(offset) for part, offset in r["positions"].items()}) for r in rows]


async def partitions(clickhouse: ClickHouse, tenant: str, experiment: str) -> list[int]:
    """The partitions of the events topic that stored events of the experiment came from."""
    rows = await clickhouse.query(f"SELECT DISTINCT part FROM events WHERE {OF_EXPERIMENT}", {"tenant": tenant, "experiment": experiment}, settings=SETTINGS)
    return [int(row["part"]) for row in rows]


async def any_stored(clickhouse: ClickHouse, tenant: str, experiment: str) -> bool:
    """Whether there is an event of the experiment, or were some whose totals are kept. One look into the primary keys."""
    tables = " UNION ALL ".join(f"(SELECT 1 AS found FROM {table} WHERE {OF_EXPERIMENT} LIMIT 1)" for table in ("events", "unit_totals", "unit_keyed_totals"))
    return bool(await clickhouse.query(f"SELECT found FROM ({tables}) LIMIT 1", {"tenant": tenant, "experiment": experiment}, settings=SETTINGS))


async def any_outside(clickhouse: ClickHouse, tenant: str, experiment: str, span: tuple[int, int], checked: Mapping[int, int]) -> bool:
    """Whether an event of the experiment lies outside a range of event times. `checked` are, by partition, the first offsets that are not known to have none."""
    sql = f"SELECT 1 AS found FROM events WHERE {OF_EXPERIMENT} AND quarantined = 0 AND {BEHIND_SEAL} AND NOT ({_IN_TIME}) LIMIT 1"
    return bool(await clickhouse.query(sql, Scope(tenant, experiment, checked, window=span).params, settings=SETTINGS))


async def any_keyed_within(clickhouse: ClickHouse, scope: Scope) -> bool:
    """Whether there is an event with a client's id in the scope's window. Reads one byte of each of its rows, and the times where there is one."""
    sql = f"SELECT 1 AS found FROM events PREWHERE keyed = 1 WHERE {OF_EXPERIMENT} AND quarantined = 0 AND {_IN_TIME} LIMIT 1"
    return bool(await clickhouse.query(sql, scope.params, settings=_PATIENT))


async def minutes(clickhouse: ClickHouse, tenant: str, experiment: str) -> tuple[int, ...]:
    """The minutes since the epoch in which the experiment has events, ascending. Reads the times of all of them."""
    sql = f"SELECT DISTINCT intDiv(toUnixTimestamp64Micro(time), 60000000) AS minute FROM events WHERE {OF_EXPERIMENT} AND quarantined = 0 ORDER BY minute"
    return tuple(int(row["minute"]) for row in await clickhouse.query(sql, {"tenant": tenant, "experiment": experiment}, settings=SETTINGS))


async def sizes(clickhouse: ClickHouse, tenant: str, experiment: str, sealed: Mapping[int, int]) -> tuple[int, int]:
    """Rows of sealed totals, and events behind the seal."""
    sql = f"""
SELECT (SELECT count() FROM unit_totals WHERE {OF_EXPERIMENT}) AS totals,
    (SELECT count() FROM events WHERE {OF_EXPERIMENT} AND keyed = 0 AND {BEHIND_SEAL}) AS tail
"""
    rows = await clickhouse.query(sql, Scope(tenant, experiment, sealed).params, settings=SETTINGS)
    return int(rows[0]["totals"]), int(rows[0]["tail"])
