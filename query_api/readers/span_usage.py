"""Reads of what the calls of one trace or session used, by minute and before prices."""

from typing import Any, Final, Literal

from query_api.readers.rows import Rows, integer
from query_api.readers.span_times import before, since
from query_api.readers.trace_ids import OF_TRACES
from schemas.cost import Usage
from schemas.token_usage_sql import TOKEN_SUMS, UNITS, USED_TOKENS
from schemas.windows import MICROSECONDS, Grain, window_start

Dimension = Literal["trace", "session"]
_DAY_US: Final = Grain.DAY.seconds * MICROSECONDS
_LATEST_NS: Final = 2**63 - 1

_USED: Final = """
SELECT minute_us, provider, model, unit.1 AS name, unit.2 AS used, unit.3 AS priced
FROM (
    SELECT toUnixTimestamp(toStartOfMinute(start_time)) * 1000000 AS minute_us, toString(llm_provider) AS provider, toString(llm_model) AS model, {sums}
    FROM spans FINAL
    WHERE tenant = {{tenant:String}} AND {of_value} AND {used} AND {within}
    GROUP BY minute_us, provider, model
)
ARRAY JOIN {units} AS unit
ORDER BY minute_us
"""
_OF_VALUE: Final[dict[Dimension, str]] = {"trace": OF_TRACES, "session": "session_id = {session:String}"}


class SpanUsageReader:
    """Adds up tokens from the spans that are stored. Those deleted by a user count too: what was spent stays spent."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def by_minute(self, tenant: str, dimension: Dimension, value: str, start_us: int | None, end_us: int | None) -> dict[int, list[Usage]]:
        """Usage by the start of its minute in microseconds, ascending, with whole days of every window that starts in [start_us, end_us), None meaning
        without an end. Windows over all time are not bounded."""
        params: dict[str, Any] = {"tenant": tenant, "traces": [value], "session": value}
        within = ["1"]
        if dimension == "session" and start_us is not None:
            within.append(since("from_ns"))
            params["from_ns"] = window_start(start_us, Grain.DAY) * 1_000
        if dimension == "session" and end_us is not None:
            within.append(before("until_ns"))
            params["until_ns"] = min((window_start(end_us, Grain.DAY) + _DAY_US) * 1_000, _LATEST_NS)
        sql = _USED.format(sums=TOKEN_SUMS, units=UNITS, of_value=_OF_VALUE[dimension], used=USED_TOKENS, within=" AND ".join(within))
        found: dict[int, list[Usage]] = {}
        for row in await self._rows.query(sql, params):
            usage = Usage(dimension, value, row["provider"], row["model"], row["name"], integer(row["used"]), integer(row["priced"]))
            found.setdefault(integer(row["minute_us"]), []).append(usage)
        return found
