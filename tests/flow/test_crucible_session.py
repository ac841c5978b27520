"""Sessions of the crucible surface over real connections: the query service and ingest's own door take the cookie alike. Row crucible.auth.session_cookie."""

import asyncio
import time
import uuid

import httpx

from schemas.api_keys import hash_secret
from schemas.definition_kinds import Key
from schemas.session import open_session
from tests.flow.limited_keys import key_of
from tests.flow.stack import LiveStack
from tests.support import eventually

_COOKIE = "_crucible_ui_key"
_EVENTS = "/api/v1/telemetry/events"


def _batch(name: str = "page.opened") -> dict[str, list[dict[str, str]]]:
    return {"events": [{"event_name": name}]}


async def test_a_page_needs_its_key_once(live: LiveStack) -> None:
    """crucible.auth.session_cookie"""
    name = f"page-{uuid.uuid4().hex[:10]}"
    async with httpx.AsyncClient(base_url=live.url("crucible"), timeout=60) as browser:
        assert (await browser.get("/api/v1/experiments")).status_code == 401
        opened = await browser.post("/api/v1/session", headers=live.headers)
        assert opened.status_code == 201 and browser.cookies[_COOKIE] == opened.json()["data"]["token"]
        here = {"Origin": live.url("crucible")}
        made = await browser.post("/api/v1/experiments", json={"experiment": {"name": name}}, headers=here)
        assert made.status_code == 201, made.text
        assert (await browser.get(f"/api/v1/experiments/{made.json()['data']['id']}")).status_code == 200
        sent = await browser.post(_EVENTS, json=_batch(name), headers=here)
        assert sent.status_code == 202 and sent.headers["x-millstream-position"]
        for page in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": live.main_url}):
            for path, body in ((_EVENTS, _batch(name)), ("/api/v1/experiments", {"experiment": {"name": name}})):
                refused = await browser.post(path, json=body, headers=page)
                assert refused.status_code == 403 and refused.json()["error"]["code"] == "forbidden", (path, page)
        closed = await browser.delete("/api/v1/session", headers=here)
        assert closed.status_code == 204 and _COOKIE not in browser.cookies
        assert (await browser.post(_EVENTS, json=_batch(name))).status_code == 401


async def test_the_cookie_counts_on_its_surface_only(live: LiveStack) -> None:
    """crucible.auth.session_cookie: on the main port the browser sends it to every surface"""
    async with httpx.AsyncClient(base_url=live.main_url, timeout=60) as browser:
        await browser.post("/crucible/api/v1/session", json={"api_key": live.headers["Authorization"].removeprefix("Bearer ")})
        assert (await browser.get("/crucible/api/v1/experiments")).status_code == 200
        others = [
            await browser.post("/experimentation/api/v1/events", json={"user_id": "u", "event_type": "view"}),
            await browser.get("/experimentation/api/v1/experiments"),
            await browser.get("/platform/v1/definitions"),
        ]
        assert [answer.status_code for answer in others] == [401] * 3
        wrong = {"X-API-Key": "wrong"}
        tried = [await browser.get("/crucible/api/v1/experiments", headers=wrong), await browser.post(f"/crucible{_EVENTS}", json=_batch(), headers=wrong)]
        assert [answer.status_code for answer in tried] == [401] * 2, "a key wins, even a wrong one"


async def test_a_session_is_counted_as_its_key(live: LiveStack) -> None:
    """crucible.auth.session_cookie, crucible.rate_limit.read, crucible.rate_limit.telemetry_ingest"""
    key = await key_of(live, "standard")
    await eventually(lambda: time.time() % 60 < 45, timeout=30)
    async with httpx.AsyncClient(base_url=live.url("crucible"), timeout=60) as browser:
        by_key = await browser.get("/api/v1/experiments", headers=key)
        await browser.post("/api/v1/session", headers=key)
        by_cookie = [await browser.get("/api/v1/experiments"), await browser.post(_EVENTS, json=_batch())]
    left = [int(answer.headers["x-ratelimit-remaining"]) for answer in (by_key, *by_cookie)]
    assert left == [999, 998, 9_999]


async def test_a_session_uses_its_key(live: LiveStack) -> None:
    """crucible.auth.session_cookie: the list of keys shows it, though the key itself never came"""
    name = f"k-{uuid.uuid4().hex[:10]}"
    sha256 = hash_secret(f"paged-key-{uuid.uuid4().hex}")
    await asyncio.to_thread(live.define, {"kind": "key", "id": name, "name": "page", "sha256": sha256, "role": "viewer"})
    token, _ = open_session(Key(tenant="default", id=name, name="page", sha256=sha256), _COOKIE, time.time_ns() // 1_000)
    async with httpx.AsyncClient(base_url=live.main_url, timeout=60) as client:

        async def known() -> bool:
            return (await client.get("/crucible/api/v1/experiments", headers={"Cookie": f"{_COOKIE}={token}"})).status_code == 200

        async def used() -> bool:
            keys = (await client.get("/experimentation/api/v1/api-keys?limit=100", headers=live.headers)).json()["data"]
            return any(each["last_used_at"] for each in keys if each["id"] == name)

        await eventually(known)
        await eventually(used)
