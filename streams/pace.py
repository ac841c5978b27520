"""Whether blocks are stored as fast as they come: what decides how much of the engine the windows may have."""

from collections.abc import Iterator
from contextlib import contextmanager

from infra.runtime.clock import Clock

SMOOTHING = 0.2
"""Weight of the newest block in the mean wait."""
FORGET_S = 1.0
"""After so long without a block, none waits."""


class Pace:
    """How long blocks wait for their INSERT, over all sinks of this worker."""

    def __init__(self, clock: Clock, keeping_up_s: float) -> None:
        """`keeping_up_s` is the wait, in seconds, up to which the sinks keep up."""
        self._clock = clock
        self._limit_s = keeping_up_s
        self._wait_s = 0.0
        self._newest = clock.monotonic()
        self._storing: dict[object, float] = {}

    @contextmanager
    def storing(self, born_us: int) -> Iterator[None]:
        """Around the INSERT of a block that ingest closed at `born_us`."""
        token, began = object(), self._clock.monotonic()
        waited = max(0.0, (self._clock.now_us() - born_us) / 1e6)
        self._wait_s = waited if began - self._newest > FORGET_S else self._wait_s + SMOOTHING * (waited - self._wait_s)
        self._newest = began
        self._storing[token] = began
        try:
            yield
        finally:
            del self._storing[token]

    def keeping_up(self) -> bool:
        """Whether blocks did not wait lately, and no INSERT under way takes longer than they may wait."""
        now = self._clock.monotonic()
        if any(now - began > self._limit_s for began in self._storing.values()):
            return False
        return self._wait_s <= self._limit_s or (not self._storing and now - self._newest > FORGET_S)
