"""Which minutes of a range there is anything to compute for."""

from collections.abc import Mapping
from typing import Final

from query_api.readers.rows import Rows
from schemas.tables.windows import WINDOWS

_RANGE: Final = "fromUnixTimestamp64Micro({start:Int64}, 'UTC') AND {column} < fromUnixTimestamp64Micro({end:Int64}, 'UTC')"


def _minutes(table: str, subject: str, column: str) -> str:
    within = f"{column} >= " + _RANGE.replace("{column}", column)
    return (
        f"SELECT intDiv(toUnixTimestamp64Milli({column}), 60000) AS minute FROM {table} "
        f"WHERE tenant = {{tenant:String}} AND {subject} = {{subject:String}} AND {within}"
    )


_EVENTS: Final = _minutes("events", "experiment", "time")
_TELEMETRY: Final = f"{_minutes('spans', 'service', 'start_time')} UNION ALL {_minutes('metric_points', 'service', 'time')}"
_EVALUATIONS: Final = _minutes("evaluations", "rule", "time")
_SOURCES: Final[Mapping[str, str]] = {
    "assignments": _EVENTS,
    "significance": _EVENTS,
    "cardinality": _TELEMETRY,
    "cost": _TELEMETRY,
    "evaluation": _EVALUATIONS,
}
_WITH_WINDOWS: Final[Mapping[str, str]] = {
    kind: f"SELECT DISTINCT minute FROM ({source} UNION ALL {_minutes(WINDOWS[kind].name, 'subject', 'window_start')} AND grain != 'all') ORDER BY minute"
    for kind, source in _SOURCES.items()
}


async def minutes_to_compute(rows: Rows, kind: str, tenant: str, subject: str, start_us: int, end_us: int) -> tuple[int, ...]:
    """The minutes since the epoch within [start, end) that hold rows the kind is computed from, or in which a stored window of it begins.

    Raises Unavailable and QueryLimit like every read.
    """
    found = await rows.query(_WITH_WINDOWS[kind], {"tenant": tenant, "subject": subject, "start": start_us, "end": end_us})
    return tuple(int(row["minute"]) for row in found)
