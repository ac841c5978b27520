"""How many requests a key may make: counted by key in fixed windows, whatever door or path they go to."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage

from infra.runtime.clock import Clock
from infra.runtime.errors import RateLimited
from ingest import metrics
from ingest.shared import Shared
from schemas.surfaces import Rate


class Allowance(NamedTuple):
    """What is left of one window."""

    rate: Rate
    left: int
    """Requests that may still come; -1 when the one just counted was too many."""
    reset: int
    """When the window ends, seconds since the epoch."""

    @property
    def headers(self) -> dict[str, str]:
        return {"X-RateLimit-Limit": str(self.rate.requests), "X-RateLimit-Remaining": str(max(0, self.left)), "X-RateLimit-Reset": str(self.reset)}


class Counts(Protocol):
    """Where requests are counted."""

    async def add(self, surface: str, caller: str, rate: Rate, window: int) -> int | None:
        """Count one more request of the caller in this window and give the sum; None when it cannot be counted now."""
        ...


class OwnCounts:
    """In the memory of this process; what belongs to a window that is over goes all at once.

    Not the memory storage of `limits`: that walks over all its counters at every request, 0.3 ms with a thousand active keys.
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[str, Rate], tuple[int, Counter[str]]] = {}

    async def add(self, surface: str, caller: str, rate: Rate, window: int) -> int:
        current, counts = self._windows.get((surface, rate), (-1, Counter()))
        if current != window:
            counts = Counter()
            self._windows[(surface, rate)] = (window, counts)
        counts[caller] += 1
        return counts[caller]


class SharedCounts:
    """In a Redis, so over all processes that use it; its counters expire by themselves."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._storage = RedisStorage(shared.url, implementation="redispy", key_prefix="millstream", connection_pool=shared.pool)  # type: ignore[arg-type]

    async def add(self, surface: str, caller: str, rate: Rate, window: int) -> int | None:
        item = RateLimitItemPerSecond(rate.requests, rate.seconds, namespace=surface)
        # The window is part of the name, so that windows begin by our clock and not by the first request.
        name = item.key_for(caller, str(window))
        return await self._shared.ask("rate_limit", lambda: self._storage.incr(name, item.get_expiry()))


class Quota:
    """Holds keys to their rates, each process by itself or, with `shared`, all that use the same Redis together.

    While that Redis does not answer, requests pass uncounted: a lost counter must not become an outage.
    """

    def __init__(self, clock: Clock, shared: Shared | None = None) -> None:
        self._clock = clock
        self._counts: Counts = SharedCounts(shared) if shared else OwnCounts()

    async def take(self, surface: str, caller: str, rates: Sequence[Rate], headers: dict[str, str]) -> None:
        """Count one request and add to `headers` the state of the window with the fewest requests left.

        `caller` stands for the key. `rates` come shortest window first: a request refused by a short window is not counted in the longer
        ones. Raises RateLimited beyond a rate. Headers stay as they are when nothing could be counted.
        """
        now = self._clock.now_us() / 1_000_000
        tightest: Allowance | None = None
        for rate in rates:
            found = await self._count(surface, caller, rate, now)
            if found is None:
                continue
            if tightest is None or found.left < tightest.left:
                tightest = found
            if found.left < 0:
                break
        if tightest is None:
            return
        headers.update(tightest.headers)
        if tightest.left < 0:
            metrics.RATE_LIMITED.labels(surface).inc()
            raise _refusal(tightest, now)

    async def _count(self, surface: str, caller: str, rate: Rate, now: float) -> Allowance | None:
        window = int(now // rate.seconds)
        count = await self._counts.add(surface, caller, rate, window)
        return None if count is None else Allowance(rate, max(-1, rate.requests - count), (window + 1) * rate.seconds)


def _refusal(allowance: Allowance, now: float) -> RateLimited:
    rate, wait = allowance.rate, max(1, math.ceil(allowance.reset - now))
    window = {1: "second", 86_400: "day (UTC)"}.get(rate.seconds, f"{rate.seconds} seconds")
    return RateLimited(
        f"This API key may make {rate.requests:,} requests per {window}. Try again in {wait} s, send events in batches, or use a key of a higher tier.",
        details={"limit": rate.requests, "window_seconds": rate.seconds, "reset": allowance.reset},
        retry_after_s=wait,
    )
