"""Statements that add up what the telemetry of a service used in each minute, from the distinct rows, and store what differs from what is stored.

What a minute had and no longer has is set to nothing. A minute of which no rows are left at all keeps its usage: its rows have expired. Each
statement has the dimensions of `Touched` for its own; repeating it is safe.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from infra.runtime.clickhouse import ClickHouse
from schemas.cost import (
    ACTIVE_SERIES,
    BYTES,
    LOG_RECORDS,
    METRIC_POINTS,
    MODEL,
    PROJECT,
    PROMPT_VERSION,
    PROVIDER,
    SERVICE,
    SESSION,
    SPANS,
    USER,
)
from schemas.tables.cardinality_states import EMPTY_SKETCH
from schemas.token_usage_sql import TOKEN_SUMS, UNITS, USED_TOKENS
from schemas.windows import Grain
from streams.readers.cost import COLUMNS, OF_MINUTES, OF_SERVICE, SETTINGS, WRITE, Touched, window_of


def _minutes(name: str) -> str:
    return f"(SELECT toDateTime(intDiv(arrayJoin({{{name}:Array(Int64)}}), 1000000), 'UTC'))"


_KNOWN = _minutes("known")
_SPANS = f"{OF_SERVICE} AND toStartOfMinute(start_time) IN {_minutes('starts')}"
_LINES = "minute, dimension, value, provider, model, unit, project_name"
_BY = "toString(llm_provider) AS of_provider, toString(llm_model) AS of_model, toString(project) AS of_project"
_LINE = "entry.1 AS dimension, entry.2 AS value, entry.3 AS provider, entry.4 AS model, entry.5 AS unit, entry.6 AS project_name"
_OF_PLACES = (
    """arrayFlatten(arrayMap(p -> arrayMap(u -> (p.1, p.2, of_provider, of_model, u.1, of_project, u.2, u.3), units), arrayFilter(p -> p.2 != '', places)))"""
)
"""What a group of spans used, once for each of its places (dimension, value)."""

_OF_FEW = f"""
SELECT minute, {_LINE}, sum(entry.7) AS quantity, sum(entry.8) AS billed, {EMPTY_SKETCH} AS series
FROM (
    SELECT minute, of_provider, of_model, of_project, {UNITS} AS units, calls, size,
        [('{PROVIDER}', of_provider), ('{MODEL}', of_model), ('{PROJECT}', of_project), ('{PROMPT_VERSION}', version), ('{SERVICE}', {{service:String}})] AS places
    FROM (
        SELECT toStartOfMinute(start_time) AS minute, {_BY}, toString(prompt_version) AS version, {TOKEN_SUMS}, count() AS calls, sum(bytes) AS size
        FROM spans FINAL
        WHERE {_SPANS} AND quarantined = 0
        GROUP BY minute, of_provider, of_model, of_project, version
    )
)
ARRAY JOIN arrayConcat({_OF_PLACES}, [('{SERVICE}', {{service:String}}, '', '', '{SPANS}', '', calls, calls), ('{SERVICE}', {{service:String}}, '', '', '{BYTES}', '', size, size)]) AS entry
GROUP BY {_LINES}
"""


def _volume(table: str, unit: str) -> str:
    return f"""
SELECT toStartOfMinute(time) AS minute, '{SERVICE}' AS dimension, {{service:String}} AS value, '' AS provider, '' AS model, entry.1 AS unit, '' AS project_name,
    sum(entry.2) AS quantity, quantity AS billed, {EMPTY_SKETCH} AS series
FROM {table} FINAL ARRAY JOIN [('{unit}', toUInt64(1)), ('{BYTES}', toUInt64(bytes))] AS entry
WHERE {OF_SERVICE} AND toStartOfMinute(time) IN {_minutes("starts")} AND quarantined = 0
GROUP BY minute, unit
"""


_SERIES = f"""
SELECT toStartOfMinute(time) AS minute, '{SERVICE}' AS dimension, {{service:String}} AS value, '' AS provider, '' AS model, '{ACTIVE_SERIES}' AS unit,
    '' AS project_name, uniqCombined64(series) AS quantity, quantity AS billed, uniqCombined64State(series) AS sketch
FROM metric_points
WHERE {OF_SERVICE} AND toStartOfMinute(time) IN {_minutes("starts")} AND quarantined = 0
GROUP BY minute
"""


def _came(column: str) -> str:
    """What the blocks that came to the minutes known say in a column."""
    return f"(SELECT {column} FROM spans WHERE {_SPANS} AND (part, `offset`) IN {{blocks:Array(Tuple(UInt16, UInt64))}})"


# Of a minute that is known only those are added up that something came for; the rest goes under no name and is left out.
_OF_MANY = f"""
SELECT minute, {_LINE}, sum(entry.7) AS quantity, sum(entry.8) AS billed, {EMPTY_SKETCH} AS series
FROM (
    SELECT minute, of_provider, of_model, of_project, {UNITS} AS units, [('{USER}', of_user), ('{SESSION}', of_session)] AS places
    FROM (
        SELECT toStartOfMinute(start_time) AS minute, {_BY}, minute IN {_KNOWN} AS known,
            if(known AND user_id NOT IN {_came("user_id")}, '', user_id) AS of_user,
            if(known AND session_id NOT IN {_came("session_id")}, '', session_id) AS of_session,
            {TOKEN_SUMS}
        FROM spans FINAL
        WHERE {_SPANS} AND {USED_TOKENS}
        GROUP BY minute, of_provider, of_model, of_project, of_user, of_session
    )
)
ARRAY JOIN {_OF_PLACES} AS entry
GROUP BY {_LINES}
"""
_MANY_STORED = f"""(toDateTime(window_start, 'UTC') NOT IN {_KNOWN}
    OR dimension = '{USER}' AND value IN {_came("user_id")} OR dimension = '{SESSION}' AND value IN {_came("session_id")})"""


def _store(counted: str, stored: str, there: str) -> str:
    # Only what differs from what is stored is written, so that the rows behind a computation are what it changed. Sketches are not compared.
    return f"""
INSERT INTO cost_usage ({COLUMNS})
SELECT {{tenant:String}}, '{Grain.MINUTE}', {window_of("minute64", Grain.FIVE_MINUTES)}, toDateTime64(minute, 6, 'UTC') AS minute64, dimension, value,
    {{service:String}}, provider, model, unit, project_name, used, priced, sketch, {{computed:UInt64}}
FROM (
    SELECT {_LINES}, sumIf(quantity, counted) AS used, sumIf(billed, counted) AS priced,
        sumIf(quantity, NOT counted) AS was_used, sumIf(billed, NOT counted) AS was_priced, uniqCombined64MergeState(series) AS sketch,
        max(counted) AS is_there, max(max(counted)) OVER (PARTITION BY minute) AS has_rows
    FROM (
        SELECT *, true AS counted FROM ({counted})
        UNION ALL
        SELECT toDateTime(window_start, 'UTC'), toString(dimension), value, toString(provider), toString(model), toString(unit), toString(project), quantity, billed,
            {EMPTY_SKETCH}, false
        FROM cost_usage FINAL
        WHERE {OF_MINUTES} AND dimension IN {{dimensions:Array(String)}} AND quantity > 0 AND {stored}
    )
    GROUP BY {_LINES}
)
WHERE {there} AND (used != was_used OR priced != was_priced OR is_there AND unit = '{ACTIVE_SERIES}')
"""


_COUNT_FEW = _store(
    f"{_OF_FEW} UNION ALL {_volume('metric_points', METRIC_POINTS)} UNION ALL {_volume('logs', LOG_RECORDS)} UNION ALL {_SERIES}", "1", "has_rows"
)
_COUNT_MANY = _store(_OF_MANY, _MANY_STORED, "toInt64(toUnixTimestamp(minute)) * 1000000 IN {present:Array(Int64)}")
_BLOCKS = f"""
SELECT toInt64(toUnixTimestamp(toStartOfMinute(start_time))) * 1000000 AS start, part, `offset`, count() AS spans, countIf(quarantined = 0) AS counted
FROM spans FINAL WHERE {_SPANS}
GROUP BY start, part, `offset`
"""


class BlockSpans(NamedTuple):
    """Spans of one block in one minute that no other copy replaces."""

    spans: int
    counted: int
    """Without those in quarantine."""


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
        present = [start for start, blocks in self.found.items() if any(each.counted for each in blocks.values())]
        return {"known": list(self.known), "blocks": list(self.blocks), "present": present}


async def blocks(clickhouse: ClickHouse, tenant: str, service: str, starts: Sequence[int], *, timeout: float) -> Mapping[int, Blocks]:
    """The blocks of spans of each minute, by its start."""
    params = {"tenant": tenant, "service": service, "starts": list(starts)}
    found: dict[int, dict[tuple[int, int], BlockSpans]] = {start: {} for start in starts}
    for row in await clickhouse.query(_BLOCKS, params, settings=SETTINGS, timeout=timeout):
        found[int(row["start"])][int(row["part"]), int(row["offset"])] = BlockSpans(int(row["spans"]), int(row["counted"]))
    return found


async def count_few(clickhouse: ClickHouse, tenant: str, touched: Touched, computed: int, *, timeout: float) -> None:
    """Add up these minutes again by the dimensions `schemas.cost.FEW`, as of `computed`."""
    await clickhouse.command(_COUNT_FEW, WRITE, params={"tenant": tenant, "computed": computed, **touched.params}, timeout=timeout)


async def count_many(clickhouse: ClickHouse, tenant: str, touched: Touched, came: Came, computed: int, *, timeout: float) -> None:
    """Add up these minutes again by the dimensions `schemas.cost.MANY`, as of `computed`."""
    await clickhouse.command(_COUNT_MANY, WRITE, params={"tenant": tenant, "computed": computed, **touched.params, **came.params}, timeout=timeout)
