"""Idempotency-Key: races, conflicts, failures and forgetting."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from infra.runtime.errors import Conflict, InvalidArgument, Unavailable
from ingest.exchange import DoorAnswer
from ingest.idempotency import IdempotencyKeys
from tests.clock import HandClock

PATH = "/api/v1/events"


class Store:
    """Answers when it is let, and counts."""

    def __init__(self, *outcomes: int | Exception) -> None:
        self.batch_ids: list[str | None] = []
        self.gate = asyncio.Event()
        self._outcomes = list(outcomes)

    async def __call__(self, batch_id: str | None) -> DoorAnswer:
        self.batch_ids.append(batch_id)
        await self.gate.wait()
        outcome = self._outcomes.pop(0) if self._outcomes else 200
        if isinstance(outcome, Exception):
            raise outcome
        return DoorAnswer(outcome, f"answer {len(self.batch_ids)}".encode(), "text/plain")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def keys(clock: HandClock) -> IdempotencyKeys:
    return IdempotencyKeys(clock, ttl_s=100)


def opened(*outcomes: int | Exception) -> Store:
    store = Store(*outcomes)
    store.gate.set()
    return store


async def test_parallel_requests_are_one(keys: IdempotencyKeys) -> None:
    store = Store()
    tasks = [asyncio.create_task(keys.once("t", PATH, "k", b"body", store)) for _ in range(10)]
    await asyncio.sleep(0)
    store.gate.set()
    answers = await asyncio.gather(*tasks)
    assert len(store.batch_ids) == 1 and {answer.body for answer in answers} == {b"answer 1"}


async def test_without_a_key_each_request_is_its_own(keys: IdempotencyKeys) -> None:
    store = opened()
    for _ in range(2):
        await keys.once("t", PATH, "", b"body", store)
    assert store.batch_ids == [None, None]


async def test_another_body_conflicts_also_while_the_first_is_under_way(keys: IdempotencyKeys) -> None:
    store = Store()
    first = asyncio.create_task(keys.once("t", PATH, "k", b"body", store))
    await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(Conflict):
            await keys.once("t", PATH, "k", b"other", store)
        store.gate.set()
        assert (await first).status == 200
    assert len(store.batch_ids) == 1


async def test_the_batch_id_is_made_of_tenant_path_key_and_body(clock: HandClock) -> None:
    store = opened()
    for place in (("t", PATH, "k", b"1"), ("u", PATH, "k", b"1"), ("t", "/other", "k", b"1"), ("t", PATH, "l", b"1"), ("t", PATH, "k", b"2")):
        # A process that knows nothing yet, as after a restart.
        await IdempotencyKeys(clock, 100).once(*place, store)
    await IdempotencyKeys(clock, 100).once("t", PATH, "k", b"1", store)
    assert len(set(store.batch_ids[:5])) == 5 and store.batch_ids[5] == store.batch_ids[0]


@pytest.mark.parametrize("outcome", [503, 422, Unavailable("away")])
async def test_a_failure_reaches_all_and_leaves_the_key_free(keys: IdempotencyKeys, outcome: int | Exception) -> None:
    store = Store(outcome)
    tasks = [asyncio.create_task(keys.once("t", PATH, "k", b"body", store)) for _ in range(3)]
    await asyncio.sleep(0)
    store.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(outcome, Exception):
        assert results == [outcome] * 3
    else:
        assert [result.status for result in results if isinstance(result, DoorAnswer)] == [outcome] * 3
    assert (await keys.once("t", PATH, "k", b"body", store)).status == 200
    assert len(set(store.batch_ids)) == 1 and len(store.batch_ids) == 2, "the second try is the same batch"
    assert (await keys.once("t", PATH, "k", b"body", store)).body == b"answer 2"


async def test_a_client_that_gives_up_does_not_take_the_others_along(keys: IdempotencyKeys) -> None:
    store = Store()
    first, second = (asyncio.create_task(keys.once("t", PATH, "k", b"body", store)) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    store.gate.set()
    assert (await first).status == 200


async def test_keys_are_forgotten_after_their_time(keys: IdempotencyKeys, clock: HandClock) -> None:
    store = opened()
    await keys.once("t", PATH, "k", b"body", store)
    clock.forward(99)
    await keys.once("t", PATH, "k", b"body", store)
    clock.forward(2)
    await keys.once("t", PATH, "k", b"other", store)
    assert len(store.batch_ids) == 2


async def test_an_endless_key_is_refused(keys: IdempotencyKeys) -> None:
    call: Callable[[str | None], Awaitable[DoorAnswer]] = opened()
    with pytest.raises(InvalidArgument):
        await keys.once("t", PATH, "k" * 256, b"", call)
