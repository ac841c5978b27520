"""How many requests a key may make, or events it may send: counted by key in fixed windows, whatever door or path they go to."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from infra.runtime.clock import Clock
from infra.runtime.errors import RateLimited, TooLarge
from ingest import metrics
from ingest.shared import Shared
from schemas.surfaces import DAY_S, MINUTE_S, Rate

_ADD = """
local before = tonumber(redis.call('get', KEYS[1]) or '0')
if tonumber(ARGV[1]) > 0 and before + tonumber(ARGV[1]) <= tonumber(ARGV[2]) then
  redis.call('incrby', KEYS[1], ARGV[1])
  redis.call('expire', KEYS[1], ARGV[3])
end
return before
"""
"""In one step, so that of two requests side by side neither is refused for what the other was refused."""


class Allowance(NamedTuple):
    """What is left of one window."""

    rate: Rate
    left: int
    """What may still come."""
    reset: int
    """When the window ends, seconds since the epoch."""
    granted: bool
    """Whether what was asked for fitted in; else it is not counted."""

    @property
    def headers(self) -> dict[str, str]:
        return {"X-RateLimit-Limit": str(self.rate.limit), "X-RateLimit-Remaining": str(self.left), "X-RateLimit-Reset": str(self.reset)}


class Counts(Protocol):
    """Where requests are counted."""

    async def add(self, surface: str, caller: str, rate: Rate, window: int, weight: int) -> int | None:
        """Count so many more of the caller in this window, unless that is beyond the rate; gives the sum before, None when it cannot be counted now."""
        ...


class OwnCounts:
    """In the memory of this process; what belongs to a window that is over goes all at once."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, Rate], tuple[int, Counter[str]]] = {}

    async def add(self, surface: str, caller: str, rate: Rate, window: int, weight: int) -> int:
        current, counts = self._windows.get((surface, rate), (-1, Counter()))
        if current != window:
            counts = Counter()
            self._windows[(surface, rate)] = (window, counts)
        before = counts[caller]
        if weight and before + weight <= rate.limit:
            counts[caller] = before + weight
        return before


class SharedCounts:
    """In a Redis, so over all processes that use it; its counters expire by themselves."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def add(self, surface: str, caller: str, rate: Rate, window: int, weight: int) -> int | None:
        # The window is part of the name, so that windows begin by our clock and not by the first request.
        name = f"millstream:rate:{surface}:{rate.of}:{rate.seconds}:{window}:{caller}"
        return await self._shared.ask("rate_limit", lambda: self._add(name, weight, rate))

    async def _add(self, name: str, weight: int, rate: Rate) -> int:
        return int(await self._shared.redis.eval(_ADD, 1, name, str(weight), str(rate.limit), str(rate.seconds)))


class Quota:
    """Holds keys to their rates, each process by itself or, with `shared`, all that use the same Redis together.

    While that Redis does not answer, requests pass uncounted: a lost counter must not become an outage.
    """

    def __init__(self, clock: Clock, shared: Shared | None = None) -> None:
        self._clock = clock
        self._counts: Counts = SharedCounts(shared) if shared else OwnCounts()

    async def take(self, surface: str, caller: str, rates: Sequence[Rate], headers: dict[str, str], weight: int = 1) -> None:
        """Count a request, or the `weight` events in it, and add to `headers` the state of the window with the least left; 0 adds the state alone.

        `caller` stands for the key. `rates` come shortest window first: what a short window refuses is not counted in the longer ones.
        All of it is counted or nothing. Raises RateLimited beyond a rate, and TooLarge for what does not fit into a whole window. Headers stay as
        they are when nothing could be counted.
        """
        now = self._clock.now_us() / 1_000_000
        tightest: Allowance | None = None
        for rate in rates:
            found = await self._count(surface, caller, rate, now, weight)
            if found is None:
                continue
            if tightest is None or not found.granted or found.left < tightest.left:
                tightest = found
            if not found.granted:
                break
        if tightest is None:
            return
        headers.update(tightest.headers)
        if not tightest.granted:
            metrics.RATE_LIMITED.labels(surface).inc()
            raise _refusal(tightest, now, weight)

    async def _count(self, surface: str, caller: str, rate: Rate, now: float, weight: int) -> Allowance | None:
        window = int(now // rate.seconds)
        before = await self._counts.add(surface, caller, rate, window, weight)
        if before is None:
            return None
        granted = weight == 0 or before + weight <= rate.limit
        return Allowance(rate, max(0, rate.limit - before - (weight if granted else 0)), (window + 1) * rate.seconds, granted)


def _refusal(allowance: Allowance, now: float, weight: int) -> RateLimited | TooLarge:
    rate, wait = allowance.rate, max(1, math.ceil(allowance.reset - now))
    window = {1: "second", MINUTE_S: "minute", DAY_S: "day (UTC)"}.get(rate.seconds, f"{rate.seconds} seconds")
    details = {"limit": rate.limit, "window_seconds": rate.seconds, "reset": allowance.reset}
    if rate.of != "events":
        fix = f"Try again in {wait} s, put more into each request, or use a key of a higher tier."
        return RateLimited(f"This API key may make {rate.limit:,} {rate.of} per {window}. {fix}", details=details, retry_after_s=wait)
    may = f"This API key may send {rate.limit:,} events per {window}"
    if weight > rate.limit:
        return TooLarge(f"{may}; the batch has {weight:,}. Nothing was stored; send smaller batches.", details=details)
    left = f"{may}; {allowance.left:,} are left and the batch has {weight:,}. Nothing was stored; "
    return RateLimited(f"{left}try again in {wait} s, or use a key of a higher tier.", details=details, retry_after_s=wait)
