"""The only place that asks the system for the time."""

import time
import uuid
from typing import Protocol


class Clock(Protocol):
    """A source of wall-clock and monotonic time."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.monotonic()


def uuid7(now_us: int) -> uuid.UUID:
    """A version 7 UUID (RFC 9562 section 5.7) for the given time: sortable by creation, 74 random bits."""
    random = uuid.uuid4().int & ((1 << 74) - 1)
    value = (now_us // 1_000) << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & ((1 << 62) - 1)
    return uuid.UUID(int=value)
