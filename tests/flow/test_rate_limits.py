"""Rate limits of the experimentation surface over real connections. Rows exp.rate_limit.* and exp.errors.rate_limit_exceeded."""

import time
import uuid

import httpx
import pytest

from tests.flow.limited_keys import key_of, passed_per_window, until_refused
from tests.flow.stack import LiveStack

_EVENT = {"user_id": "u", "event_type": "view"}
_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@pytest.mark.parametrize(("tier", "limit", "burst"), [("standard", 10, 40), ("enterprise", 100, 250)])
async def test_events_beyond_the_rate_are_refused(live: LiveStack, tier: str, limit: int, burst: int) -> None:
    """exp.rate_limit.standard, exp.rate_limit.enterprise, exp.rate_limit.exceeded, exp.errors.rate_limit_exceeded"""
    key = await key_of(live, tier)
    name = f"rate-{uuid.uuid4().hex[:10]}"
    url = f"{live.url('experimentation')}/api/v1/events"
    answers, refused = await until_refused("POST", [url], key, burst, {**_EVENT, "experiment_id": name})
    assert max(passed_per_window(answers).values()) <= limit and {answer.status_code for answer in answers} == {200, 429}
    error = refused.json()["error"]
    assert error["code"] == "RATE_LIMIT_EXCEEDED" and str(limit) in error["message"] and error["details"]["limit"] == limit
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["x-ratelimit-limit"] == str(limit) and refused.headers["x-ratelimit-remaining"] == "0"


async def test_doors_and_forwarded_paths_are_one_account(live: LiveStack) -> None:
    """exp.rate_limit.header.limit, exp.rate_limit.header.remaining, exp.rate_limit.header.reset: on every answer, whatever its status"""
    key = await key_of(live, "standard")
    requests = [
        ("GET", "/api/v1/no-such-path"),
        ("POST", "/api/v1/events"),
        ("POST", "/api/v1/events/batch"),
        ("GET", "/api/v1/feature-flags/evaluate?key=no-such-flag&user_id=u"),
        ("GET", "/api/v1/assignments?experiment_id=no-such-experiment&user_id=u"),
        ("POST", "/ofrep/v1/evaluate/flags/no-such-flag"),
        ("POST", "/ofrep/v1/evaluate/flags"),
    ]
    async with httpx.AsyncClient(base_url=f"{live.main_url}/experimentation", headers=key, timeout=30) as client:
        answers = [await client.request(method, path, json={} if method == "POST" else None) for method, path in requests]
    assert {answer.status_code for answer in answers} <= {200, 400, 404, 422}
    now = time.time()
    by_window: dict[str, list[int]] = {}
    for answer in answers:
        limit, remaining, reset = (int(answer.headers[name]) for name in _HEADERS)
        assert limit == 10 and now - 30 < reset < now + 30
        by_window.setdefault(str(reset), []).append(remaining)
    for remaining_seen in by_window.values():
        assert remaining_seen == list(range(9, 9 - len(remaining_seen), -1))


async def test_a_refused_forwarded_request_does_not_reach_the_query_service(live: LiveStack) -> None:
    key = await key_of(live, "standard")
    answers, refused = await until_refused("GET", [f"{live.url('experimentation')}/api/v1/no-such-path"], key, 40)
    assert refused.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED" and max(passed_per_window(answers).values()) <= 10


async def test_a_key_that_may_not_send_is_counted_too(live: LiveStack) -> None:
    key = await key_of(live, "standard", role="viewer")
    answer = httpx.post(f"{live.url('experimentation')}/api/v1/events", headers=key, json=_EVENT)
    assert answer.status_code == 403 and answer.headers["x-ratelimit-limit"] == "10"


async def test_others_are_not_counted(live: LiveStack) -> None:
    """Unlimited keys, wrong keys and other surfaces."""
    standard = await key_of(live, "standard")
    async with httpx.AsyncClient(base_url=live.main_url, timeout=30) as client:
        answers = [await client.post("/experimentation/api/v1/events", json=_EVENT, headers=live.headers) for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}
        answers.append(await client.post("/experimentation/api/v1/events", json=_EVENT, headers={"Authorization": "Bearer wrong"}))
        answers += [await client.post("/llm/v1/traces", json={"resourceSpans": []}, headers=standard) for _ in range(30)]
        answers += [await client.get("/platform/v1/windows/significance", headers=standard) for _ in range(15)]
    assert {answer.status_code for answer in answers} == {200, 401}
    assert not [name for answer in answers for name in _HEADERS if name in answer.headers]
