"""Rate limits of the crucible surface over real connections. Rows crucible.rate_limit.* and crucible.errors.rate_limited."""

import time
import uuid
from typing import Any

import httpx
import pytest

from tests.flow.limited_keys import key_of, passed_per_window, until_refused
from tests.flow.stack import LiveStack
from tests.support import eventually

_API = "/crucible/api/v1"
_EVENTS = f"{_API}/telemetry/events"
_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


def _client(live: LiveStack, key: dict[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=live.main_url, headers=key, timeout=60)


def _batch(count: int, name: str = "rate") -> dict[str, Any]:
    return {"events": [{"event_name": name}] * count}


def _state(answer: httpx.Response) -> tuple[int, int]:
    """The limit and what is left."""
    return int(answer.headers["x-ratelimit-limit"]), int(answer.headers["x-ratelimit-remaining"])


async def _early_in_a_minute(room_s: float = 25) -> None:
    """Wait for a minute that goes on for so long, for what has to happen within one."""
    await eventually(lambda: time.time() % 60 < 60 - room_s, timeout=room_s + 5)


@pytest.mark.parametrize(
    ("method", "path", "limit", "side_by_side"),
    [
        ("GET", f"{_API}/no-such-path", 1_000, 700),
        ("POST", f"{_API}/experiments/none/start", 100, 70),
        ("POST", f"{_API}/experiments/none/export", 10, 8),
    ],
    ids=["read", "write", "export"],
)
async def test_a_minute_holds_so_many_and_not_one_more(live: LiveStack, method: str, path: str, limit: int, side_by_side: int) -> None:
    """crucible.rate_limit.read, crucible.rate_limit.write, crucible.rate_limit.export, crucible.errors.rate_limited"""
    key = await key_of(live, "standard")
    await _early_in_a_minute()
    answers, refused = await until_refused(method, [live.main_url + path, live.url("crucible") + path.removeprefix("/crucible")], key, side_by_side)
    passed = passed_per_window(answers)
    assert max(passed.values()) == limit, "the documented port and the main port are one account, which is used up to the last"
    error = refused.json()["error"]
    assert set(error) == {"code", "message", "details"} and error["code"] == "rate_limited"
    assert f"{limit:,}" in error["message"] and error["details"] == {"limit": limit, "window_seconds": 60, "reset": int(refused.headers["x-ratelimit-reset"])}
    assert 1 <= int(refused.headers["retry-after"]) <= 60 and _state(refused) == (limit, 0)


async def test_every_answer_says_what_is_left_of_its_own_kind(live: LiveStack) -> None:
    """crucible.rate_limit.header.limit, crucible.rate_limit.header.remaining, crucible.rate_limit.header.reset: whatever the status, and kinds apart"""
    key = await key_of(live, "standard", role="viewer")
    await _early_in_a_minute()
    async with _client(live, key) as client:
        reads = [await client.get(f"{_API}/experiments"), await client.head(f"{_API}/experiments"), await client.get(f"{_API}/experiments/none")]
        writes = [await client.post(f"{_API}/experiments", json={}), await client.delete(f"{_API}/experiments/none")]
        export = await client.post(f"{_API}/experiments/none/export")
        sent = await client.post(_EVENTS, json=_batch(1))
    assert [_state(answer) for answer in reads] == [(1_000, 999), (1_000, 998), (1_000, 997)]
    assert [_state(answer) for answer in writes] == [(100, 99), (100, 98)]
    assert _state(export) == (10, 9)
    assert sent.status_code == 403 and _state(sent) == (10_000, 10_000)
    assert {answer.status_code for answer in (*reads, *writes)} >= {200, 403, 404}
    resets = {int(answer.headers["x-ratelimit-reset"]) for answer in (*reads, *writes, export, sent)}
    assert len(resets) == 1 and resets.pop() % 60 == 0


async def test_events_are_counted_and_not_the_requests_that_bring_them(live: LiveStack) -> None:
    """crucible.rate_limit.telemetry_ingest, crucible.errors.rate_limited: a refused batch stores nothing, and a smaller one still fits"""
    key, name = await key_of(live, "standard"), f"rate-{uuid.uuid4().hex[:10]}"
    once = {"Idempotency-Key": uuid.uuid4().hex}
    await _early_in_a_minute()
    async with _client(live, key) as client:
        whole = await client.post(_EVENTS, json=_batch(10_001, name))
        most = await client.post(_EVENTS, json=_batch(9_000, name))
        beyond = await client.post(_EVENTS, json=_batch(1_001, name), headers=once)
        fits = await client.post(_EVENTS, json=_batch(900, name), headers=once)
        again = await client.post(_EVENTS, json=_batch(900, name), headers=once)
        partly = await client.post(_EVENTS, json={"events": [{"event_name": name}, {"no": "name"}]})
        wrong = await client.post(_EVENTS, json={"no": "batch"})
        rest = await client.post(_EVENTS, json=_batch(99, name))
        none = await client.post(_EVENTS, json=_batch(1, name))
    error = whole.json()["error"]
    assert whole.status_code == 413 and error["code"] == "too_large" and "send smaller batches" in error["message"] and "10,001" in error["message"]
    assert (most.status_code, _state(most)) == (202, (10_000, 1_000))
    assert beyond.status_code == 429 and beyond.json()["error"]["code"] == "rate_limited" and "1,000 are left" in beyond.json()["error"]["message"]
    assert 1 <= int(beyond.headers["retry-after"]) <= 60 and _state(beyond) == (10_000, 1_000)
    assert [(answer.status_code, _state(answer)[1]) for answer in (fits, again)] == [(202, 100)] * 2, "the refused batch left its key free"
    assert (partly.json()["data"]["accepted"], _state(partly)[1]) == (1, 99)
    assert wrong.status_code == 422 and _state(wrong)[1] == 99
    assert (rest.status_code, _state(rest)[1], none.status_code) == (202, 0, 429)
    clickhouse = live.clickhouse()

    async def stored() -> bool:
        (row,) = await clickhouse.query(f"SELECT count() AS events FROM telemetry FINAL WHERE event_name = '{name}'")
        return int(row["events"]) == 10_000

    try:
        await eventually(stored)
    finally:
        await clickhouse.aclose()


async def test_a_higher_tier_has_ten_times_as_much_and_the_default_none(live: LiveStack) -> None:
    """crucible.rate_limit.read, crucible.rate_limit.write, crucible.rate_limit.export, crucible.rate_limit.telemetry_ingest"""
    async with _client(live, await key_of(live, "enterprise")) as client:
        answers = [
            await client.get(f"{_API}/experiments"),
            await client.post(f"{_API}/experiments/none/start"),
            await client.post(f"{_API}/experiments/none/export"),
            await client.post(_EVENTS, json=_batch(10_001)),
        ]
    assert [_state(answer)[0] for answer in answers] == [10_000, 1_000, 100, 100_000] and answers[-1].status_code == 202
    async with _client(live, live.headers) as client:
        answers = [await client.post(_EVENTS, json=_batch(6_000)), await client.post(_EVENTS, json=_batch(6_000)), await client.get(f"{_API}/experiments")]
        answers.append(await client.get(f"{_API}/experiments", headers={"Authorization": "Bearer wrong"}))
    assert [answer.status_code for answer in answers] == [202, 202, 200, 401]
    assert not [name for answer in answers for name in _HEADERS if name in answer.headers]
