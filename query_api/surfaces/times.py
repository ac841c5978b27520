"""Instants of requests as the tables count them."""

from datetime import UTC, datetime

from schemas.fields import to_us

_LATEST_US = 9_223_372_036_000_000
"""In 2262: the last instant that 64 bits of nanoseconds hold."""


def micros(instant: datetime | None) -> int | None:
    """Microseconds since the epoch; an instant without an offset is UTC. Kept within what a column can hold, where a
    comparison gives the same answer."""
    if instant is None:
        return None
    return min(max(to_us(instant if instant.tzinfo else instant.replace(tzinfo=UTC)), 0), _LATEST_US)


def nanos(instant: datetime | None) -> int | None:
    """The same in nanoseconds."""
    us = micros(instant)
    return None if us is None else us * 1_000
