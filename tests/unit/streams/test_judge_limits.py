"""A judge keeps its limits: together, per minute, per day, and in money."""

import asyncio
from typing import Any

import pytest

from schemas.evaluators.judge import Budget
from schemas.evaluators.verdict import CannotJudge
from streams.judge_limits import JudgeLimits
from streams.readers.evaluation import SpentToday
from tests.clock import HandClock

DAY_S = 86_400


class Limits:
    """Limits on a clock that sleeping moves."""

    def __init__(self, calls: int = 0, cost: float = 0.0) -> None:
        self.clock = HandClock()
        self.asked: list[int] = []
        self.spent = SpentToday(calls, cost)
        self.of = JudgeLimits(self.clock, self._spent_since, sleep=self._sleep)

    async def _spent_since(self, since_us: int) -> SpentToday:
        self.asked.append(since_us)
        return self.spent

    async def _sleep(self, seconds: float) -> None:
        self.clock.forward(seconds)

    async def taken(self, calls: int, **budget: Any) -> list[float]:
        """Take so many calls; when each was made, in seconds from the first."""
        began, times = self.clock.monotonic(), []
        for _ in range(calls):
            await self.of.take(Budget(**budget))
            times.append(round(self.clock.monotonic() - began, 3))
        return times


async def test_no_minute_has_more_calls_than_allowed() -> None:
    times = await Limits().taken(25, calls_per_minute=10)
    assert times[9] == 0.0 and times[10] == 60.0 and times[20] == 120.0
    assert all(sum(1 for each in times if start <= each < start + 60) <= 10 for start in times)


async def test_the_day_is_counted_from_what_is_stored_and_begins_anew() -> None:
    limits = Limits(calls=7)
    await limits.taken(3, calls_per_day=10)
    with pytest.raises(CannotJudge, match="the 10 calls of 2026-09-21 .UTC. are used up") as caught:
        await limits.of.take(Budget(calls_per_day=10))
    assert caught.value.reason == "budget"
    assert len(limits.asked) == 1 and limits.asked[0] % (DAY_S * 1_000_000) == 0
    limits.clock.forward(DAY_S)
    limits.spent = SpentToday(0, 0.0)
    await limits.taken(10, calls_per_day=10)
    assert len(limits.asked) == 2


async def test_money() -> None:
    limits = Limits(cost=0.9)
    await limits.taken(1, cost_per_day=1.0)
    limits.of.paid(0.2)
    with pytest.raises(CannotJudge, match="the 1 that calls may cost"):
        await limits.of.take(Budget(cost_per_day=1.0))
    await limits.taken(1)


async def test_what_cannot_be_read_is_asked_again() -> None:
    limits = Limits()
    fails = [OSError("away")]

    async def away(since_us: int) -> SpentToday:
        if fails:
            raise fails.pop()
        return SpentToday(0, 0.0)

    limits.of = JudgeLimits(limits.clock, away)
    with pytest.raises(OSError, match="away"):
        await limits.of.take(Budget())
    await limits.of.take(Budget())


async def test_so_many_together() -> None:
    limits, most, now = Limits().of, 0, 0

    async def call() -> None:
        nonlocal most, now
        async with limits.turns(3):
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

    await asyncio.gather(*(call() for _ in range(20)))
    assert most == 3
