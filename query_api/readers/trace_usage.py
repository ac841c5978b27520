"""Reads of what the calls of one trace used, by minute and before prices."""

from typing import Final

from query_api.readers.rows import Rows, integer
from query_api.readers.trace_ids import OF_TRACES
from schemas.cost import TRACE, Usage
from schemas.token_usage_sql import TOKENS, USED_TOKENS

_USED: Final = f"""
SELECT minute_us, provider, model, unit.1 AS name, sum(unit.2) AS used, sum(unit.3) AS priced
FROM (
    SELECT toUnixTimestamp(toStartOfMinute(start_time)) * 1000000 AS minute_us, toString(llm_provider) AS provider, toString(llm_model) AS model, {TOKENS}
    FROM spans FINAL
    WHERE tenant = {{tenant:String}} AND {OF_TRACES} AND {USED_TOKENS}
)
ARRAY JOIN units AS unit
GROUP BY minute_us, provider, model, name
ORDER BY minute_us
"""


class TraceUsageReader:
    """Adds up the tokens of a trace from its spans. Those deleted by a user count too: what was spent stays spent."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def by_minute(self, tenant: str, trace_id: str) -> dict[int, list[Usage]]:
        """Usage by the start of its minute in microseconds, ascending."""
        found: dict[int, list[Usage]] = {}
        for row in await self._rows.query(_USED, {"tenant": tenant, "traces": [trace_id]}):
            usage = Usage(TRACE, trace_id, row["provider"], row["model"], row["name"], integer(row["used"]), integer(row["priced"]))
            found.setdefault(integer(row["minute_us"]), []).append(usage)
        return found
