"""Window grains and their boundaries in event time. All instants are UTC microseconds since 1970; nothing here blocks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

MICROSECONDS = 1_000_000
MINUTE_US = 60 * MICROSECONDS
ALL_TIME = (0, 7_000_000_000_000_000)
"""A range (microseconds, end exclusive) that holds every event time."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_ZONE = _EPOCH.replace(tzinfo=None)


class Grain(StrEnum):
    """How long a window is; `ALL` is the cumulative window, which starts at 0 and never ends."""

    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    HOUR = "1h"
    DAY = "1d"
    ALL = "all"

    @property
    def seconds(self) -> int:
        """Length in seconds; 0 for the cumulative window, which has none."""
        return _SECONDS[self]


_SECONDS = {Grain.MINUTE: 60, Grain.FIVE_MINUTES: 300, Grain.HOUR: 3_600, Grain.DAY: 86_400, Grain.ALL: 0}


def window_start(time_us: int, grain: Grain) -> int:
    """Start of the window that holds the instant: the UTC boundary at or before it, also before 1970; 0 for `ALL`."""
    length = grain.seconds * MICROSECONDS
    return time_us - time_us % length if length else 0


def window_end(start_us: int, grain: Grain) -> int | None:
    """First instant after the window that starts at `start_us`; None for `ALL`."""
    return start_us + grain.seconds * MICROSECONDS if grain.seconds else None


def minute_of(time_us: int) -> int:
    """Number of the minute since 1970 that holds the instant: the form in which touched minutes travel."""
    return time_us // MINUTE_US


def windows_touched(minutes: Iterable[int], grain: Grain) -> tuple[int, ...]:
    """Starts (microseconds, ascending, each once) of the windows that hold any of the minutes (see `minute_of`)."""
    return tuple(sorted({window_start(minute * MINUTE_US, grain) for minute in minutes}))


def to_iso(time_us: int) -> str:
    """RFC 3339 in UTC with a `Z`, with six decimals only when needed; raises OverflowError outside the years 1 to 9999."""
    return (_EPOCH_WITHOUT_ZONE + timedelta(microseconds=time_us)).isoformat() + "Z"


def from_iso(text: str) -> int:
    """Microseconds of an ISO 8601 instant; without an offset it is UTC, digits past microseconds are cut. Raises ValueError."""
    instant = datetime.fromisoformat(text)
    aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
    return (aware - _EPOCH) // timedelta(microseconds=1)
