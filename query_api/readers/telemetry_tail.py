"""Telemetry in the order in which it was stored: what came behind a place of each partition."""

from collections import Counter
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
WHERE ({{ranges}}) AND tenant IN {{{{tenants:Array(String)}}}} AND experiment != '' AND run_id != ''
"""

Range = tuple[int, int, int]
"""A partition, the offset of the last block that is known, -1 for none, and that of the last one wanted."""


class TelemetryTailReader:
    """Reads blocks of telemetry as the ledger counts them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def events(
        self, ranges: Sequence[Range], tenants: Sequence[str], types: Sequence[str] | None, limit: int
    ) -> tuple[list[tuple[str, TelemetryEvent]], Mapping[str, int]]:
        """The first `limit` events of these tenants in the blocks, as they were received, each with its tenant, and how many each tenant has there. `types`
        are names or ends of names from a dot on; None takes all."""
        where, params = _where(ranges, tenants)
        condition = "1"
        if types is not None:
            condition, params["types"] = _OF_TYPES, list(types)
        rows = await self._rows.query(_EVENTS.format(ranges=where, types=condition), {**params, "limit": limit})
        found = [(str(row["tenant"]), event_of(row)) for row in rows]
        if len(found) < limit:
            return found, Counter(tenant for tenant, _ in found)
        counts = await self._rows.query(_COUNT.format(ranges=where, types=condition), params)
        return found, {row["tenant"]: integer(row["events"]) for row in counts}

    async def runs(self, ranges: Sequence[Range], tenants: Sequence[str]) -> set[tuple[str, str, str]]:
        """Tenant, experiment and id of the runs that have events in the blocks."""
        where, params = _where(ranges, tenants)
        return {(row["tenant"], row["experiment"], row["run_id"]) for row in await self._rows.query(_RUNS.format(ranges=where), params)}


def _where(ranges: Sequence[Range], tenants: Sequence[str]) -> tuple[str, dict[str, Any]]:
    params: dict[str, Any] = {"tenants": list(tenants)}
    parts = []
    for n, (part, low, high) in enumerate(ranges):
        parts.append((_RANGE if low >= 0 else _FIRST).format(n=n))
        params |= {f"part_{n}": part, f"high_{n}": high} | ({f"low_{n}": low} if low >= 0 else {})
    return " OR ".join(f"({part})" for part in parts), params
