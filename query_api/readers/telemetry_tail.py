"""Telemetry in the order in which it was stored: what came behind a place of each partition."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from query_api.readers.rows import Rows, integer
from query_api.readers.telemetry import TelemetryEvent, event_of
from schemas.run_sql import RUN_ID

_RANGE: Final = "part = {{part_{n}:UInt16}} AND offset > {{low_{n}:UInt64}} AND offset <= {{high_{n}:UInt64}}"
_FIRST: Final = "part = {{part_{n}:UInt16}} AND offset <= {{high_{n}:UInt64}}"
_EVENTS: Final = """
SELECT tenant, event_id, event_name, experiment, toUnixTimestamp64Micro(time) AS time_us, measurements, metadata, extra FROM telemetry
WHERE ({ranges}) AND tenant IN {{tenants:Array(String)}} AND {types}
ORDER BY received, part, offset, event_id LIMIT {{limit:UInt32}}
"""
_COUNT: Final = "SELECT tenant, count() AS events FROM telemetry WHERE ({ranges}) AND tenant IN {{tenants:Array(String)}} AND {types} GROUP BY tenant"
_OF_TYPES: Final = "arrayExists(wanted -> event_name = wanted OR endsWith(event_name, concat('.', wanted)), {types:Array(String)})"
_RUNS: Final = f"""
SELECT DISTINCT tenant, experiment, {RUN_ID} AS run_id FROM telemetry
WHERE ({{ranges}}) AND tenant IN {{{{tenants:Array(String)}}}} AND experiment != '' AND run_id != '' LIMIT {{{{limit:UInt32}}}}
"""

Range = tuple[int, int, int]
"""A partition, the offset of the last block that is known, -1 for none, and that of the last one wanted."""
Types = Sequence[str] | None
"""Types of events: names, or ends of names from a dot on; None for all."""


class TelemetryTailReader:
    """Reads blocks of telemetry as the ledger counts them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def events(self, ranges: Sequence[Range], tenants: Sequence[str], types: Types, limit: int) -> list[tuple[str, TelemetryEvent]]:
        """The first `limit` events of these tenants and types in the blocks, as they were received, each with its tenant."""
        sql, params = _sql(_EVENTS, ranges, tenants, types)
        return [(str(row["tenant"]), event_of(row)) for row in await self._rows.query(sql, {**params, "limit": limit})]

    async def counts(self, ranges: Sequence[Range], tenants: Sequence[str], types: Types) -> Mapping[str, int]:
        """How many events of the types each of these tenants has in the blocks; those without one are left out."""
        sql, params = _sql(_COUNT, ranges, tenants, types)
        return {row["tenant"]: integer(row["events"]) for row in await self._rows.query(sql, params)}

    async def runs(self, ranges: Sequence[Range], tenants: Sequence[str], limit: int) -> set[tuple[str, str, str]]:
        """Tenant, experiment and id of the runs that have events in the blocks, of more than `limit` some."""
        where, params = _where(ranges, tenants)
        rows = await self._rows.query(_RUNS.format(ranges=where), {**params, "limit": limit})
        return {(row["tenant"], row["experiment"], row["run_id"]) for row in rows}


def _sql(sql: str, ranges: Sequence[Range], tenants: Sequence[str], types: Types) -> tuple[str, dict[str, Any]]:
    where, params = _where(ranges, tenants)
    return sql.format(ranges=where, types="1" if types is None else _OF_TYPES), params | ({} if types is None else {"types": list(types)})


def _where(ranges: Sequence[Range], tenants: Sequence[str]) -> tuple[str, dict[str, Any]]:
    params: dict[str, Any] = {"tenants": list(tenants)}
    parts = []
    for n, (part, low, high) in enumerate(ranges):
        parts.append((_RANGE if low >= 0 else _FIRST).format(n=n))
        params |= {f"part_{n}": part, f"high_{n}": high} | ({f"low_{n}": low} if low >= 0 else {})
    return " OR ".join(f"({part})" for part in parts), params
