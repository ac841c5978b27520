"""What one rule's judge may do: so many calls together, per minute and per day, and so much money."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from infra.runtime.clock import Clock
from schemas.evaluators.judge import Budget
from schemas.evaluators.verdict import CannotJudge
from schemas.windows import Grain, window_start
from streams.readers.evaluation import SpentToday

MINUTE_S: Final = 60.0
Sleep = Callable[[float], Awaitable[None]]


class JudgeLimits:
    """The limits of one rule in one process. All tasks of a rule are in one partition, so one process has them all.

    What was spent today is read once, then counted here. Calls under way when a process dies are not among it.
    """

    def __init__(self, clock: Clock, spent_since: Callable[[int], Awaitable[SpentToday]], *, sleep: Sleep = asyncio.sleep) -> None:
        """`spent_since` says what was spent since a time in microseconds."""
        self._clock = clock
        self._spent_since = spent_since
        self._sleep = sleep
        self._recent: deque[float] = deque()
        self._day: int | None = None
        self._spent = SpentToday(0, 0.0)
        self._width = 0
        self._turns = asyncio.Semaphore()
        self._order = asyncio.Lock()

    def turns(self, width: int) -> asyncio.Semaphore:
        """What a call is made within, so that no more than `width` are under way. A changed width counts for calls from then on."""
        if width != self._width:
            self._width, self._turns = width, asyncio.Semaphore(width)
        return self._turns

    async def take(self, budget: Budget) -> None:
        """Wait until the minute has room for one more call, and count it. Raises CannotJudge when the day has none, and what `spent_since` raises."""
        async with self._order:
            await self._check_day(budget)
            while (wait := self._until_room(budget.calls_per_minute)) > 0:
                await self._sleep(wait)
            await self._check_day(budget)
            self._recent.append(self._clock.monotonic())
            self._spent = self._spent._replace(calls=self._spent.calls + 1)

    def paid(self, cost: float) -> None:
        """Count what a call cost."""
        self._spent = self._spent._replace(cost=self._spent.cost + cost)

    def _until_room(self, calls_per_minute: int) -> float:
        now = self._clock.monotonic()
        while self._recent and now - self._recent[0] >= MINUTE_S:
            self._recent.popleft()
        return 0.0 if len(self._recent) < calls_per_minute else self._recent[-calls_per_minute] + MINUTE_S - now

    async def _check_day(self, budget: Budget) -> None:
        day = window_start(self._clock.now_us(), Grain.DAY)
        if day != self._day:
            self._spent = await self._spent_since(day)
            self._day = day
        if self._spent.calls >= budget.calls_per_day:
            raise CannotJudge("budget", f"the {budget.calls_per_day} calls of {_date(day)} (UTC) are used up")
        if budget.cost_per_day is not None and self._spent.cost >= budget.cost_per_day:
            raise CannotJudge("budget", f"the {budget.cost_per_day:g} that calls may cost on {_date(day)} (UTC) are used up")


def _date(day_us: int) -> str:
    return datetime.fromtimestamp(day_us / 1_000_000, UTC).date().isoformat()
