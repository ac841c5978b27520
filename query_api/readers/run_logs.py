"""The log of a run: those of its telemetry events that carry a message."""

from typing import Any, Final, NamedTuple

from query_api.readers.rows import Rows, integer
from schemas.run_sql import IS_LOG

_LEVEL: Final = """multiIf(
    level IN ('warn', 'warning'), 'warning', level IN ('err', 'error', 'fatal', 'critical'), 'error', level IN ('debug', 'trace'), 'debug', 'info')"""
_LINES: Final = f"""
SELECT at_us, shown, message, event_name FROM (
    SELECT toUnixTimestamp64Micro(time) AS at_us, event_id, event_name, JSONExtractString(metadata, 'message') AS message,
           lower(JSONExtractString(metadata, 'level')) AS level, {_LEVEL} AS shown
    FROM run_events FINAL WHERE tenant = {{tenant:String}} AND run_id = {{run:String}} AND {IS_LOG}
) WHERE at_us >= {{since:Int64}} AND ({{wanted:String}} = '' OR shown = {{wanted:String}})
ORDER BY at_us DESC, event_id DESC LIMIT {{tail:UInt32}}
"""


class LogLine(NamedTuple):
    """One line."""

    at_us: int
    level: str
    """debug, info, warning or error: what the program called it, in these words; info where it said nothing known."""
    message: str
    event_name: str


class RunLogReader:
    """Reads the logs of runs."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def last(self, tenant: str, run_id: str, *, level: str | None, since_us: int | None, tail: int) -> list[LogLine]:
        """The most recent lines that fit, up to `tail`, the oldest of them first."""
        params: dict[str, Any] = {"tenant": tenant, "run": run_id, "wanted": level or "", "since": -(2**62) if since_us is None else since_us, "tail": tail}
        rows = await self._rows.query(_LINES, params)
        return [LogLine(integer(row["at_us"]), row["shown"], row["message"], row["event_name"]) for row in reversed(rows)]
