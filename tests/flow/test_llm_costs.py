"""What a project costs: from spans at the door to priced windows over HTTP and over the live connection."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import websockets

from tests.flow.stack import LiveStack
from tests.support import eventually

DAY_S = 86_400
PROMPT_TOKENS, COMPLETION_TOKENS = 1_000_000, 200_000
_UNITS = ("completion_tokens", "prompt_tokens")


def _trace(number: int, at_s: float, **attributes: str) -> dict[str, Any]:
    values = {"openinference.span.kind": "LLM", "llm.provider": "openai", "llm.model_name": "gpt-4o-mini", **attributes}
    tokens = {"llm.token_count.prompt": PROMPT_TOKENS, "llm.token_count.completion": COMPLETION_TOKENS}
    listed = [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
    listed += [{"key": key, "value": {"intValue": str(value)}} for key, value in tokens.items()]
    start = int(at_s * 1e9)
    span = {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": "chat", "kind": 1, "attributes": listed}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [{**span, "startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 1)}]}]}]}


@pytest.fixture
async def client(live: LiveStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=live.url("llm") + "/v1", headers=live.headers, timeout=70) as client:
        yield client


async def _send(client: httpx.AsyncClient, project: str, *traces: dict[str, Any]) -> dict[str, str]:
    """Headers for a read that has them all."""
    # A service of its own: one that was refreshed a moment ago rests.
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": project}}]}
    together = {"resourceSpans": [{**spans, "resource": service} for trace in traces for spans in trace["resourceSpans"]]}
    answer = await client.post("/traces", json=together, headers={"x-project-name": project})
    assert answer.status_code == 200
    return {"x-millstream-wait-for": answer.headers["x-millstream-position"], "x-millstream-wait-timeout": "60"}


async def test_llm_costs_of_a_project_by_everything(client: httpx.AsyncClient) -> None:
    now = time.time()
    today, before = now - now % DAY_S + 60, now - now % DAY_S - DAY_S + 60
    await _send(client, "costs two", _trace(0xC057_0005, today, **{"user.id": "ann", "llm.prompt_template.version": "v1"}))
    seen = await _send(
        client,
        "costs one",
        _trace(0xC057_0001, today, **{"user.id": "ann", "session.id": "s1", "llm.prompt_template.version": "v1"}),
        _trace(0xC057_0002, today, **{"user.id": "ann", "session.id": "s2", "llm.prompt_template.version": "v2"}),
        _trace(0xC057_0003, before, **{"user.id": "bob", "session.id": "s2", "prompt.id": "UHJvbXB0OjE="}),
        _trace(0xC057_0004, before, **{"llm.model_name": "nobody-knows"}),
    )

    async def costs(**params: Any) -> list[dict[str, Any]]:
        answer = await client.get("/projects/costs one/costs", params=params, headers=seen)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    one = 0.15 + 0.2 * 0.6
    (total,) = await costs()
    assert (total["by"], total["value"], total["grain"], total["window_end"]) == ("project", "costs one", "all", None)
    assert total["tokens"] == 4 * (PROMPT_TOKENS + COMPLETION_TOKENS)
    assert (total["amount"], total["currency"], total["complete"]) == (pytest.approx(3 * one), "USD", False)
    assert "'nobody-knows'" in total["units"]["prompt_tokens"]["reason"]
    users = {each["value"]: each for each in await costs(by="user")}
    assert {name: each["amount"] for name, each in users.items()} == {"ann": pytest.approx(2 * one), "bob": pytest.approx(one)}
    assert {each["value"] for each in await costs(by="session")} == {"s1", "s2"}
    assert {each["value"]: each["tokens"] for each in await costs(by="prompt_version")} == dict.fromkeys(
        ("v1", "v2", "UHJvbXB0OjE="), PROMPT_TOKENS + COMPLETION_TOKENS
    )
    models = await costs(by="model", grain="1d")
    assert [(each["value"], each["amount"]) for each in models if each["value"] == "nobody-knows"] == [("nobody-knows", None)]
    assert [each["window_start"] for each in models] == sorted((each["window_start"] for each in models), reverse=True) and len(models) == 3
    yesterday = datetime.fromtimestamp(today, UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    late = await costs(by="user", grain="1d", end_time=(yesterday + timedelta(hours=1)).isoformat(), start_time=yesterday.isoformat())
    assert [each["value"] for each in late] == ["bob"]


async def test_llm_costs_come_in_pages(client: httpx.AsyncClient) -> None:
    seen = await _send(client, "costs paged", *(_trace(0xC057_1000 + number, time.time(), **{"user.id": f"u{number}"}) for number in range(3)))
    found: list[str] = []
    params: dict[str, str | int] = {"by": "user", "limit": 2}
    while True:
        answer = (await client.get("/projects/costs paged/costs", params=params, headers=seen)).json()
        found += [each["value"] for each in answer["data"]]
        if answer["next_cursor"] is None:
            break
        params["cursor"] = answer["next_cursor"]
    assert sorted(found) == ["u0", "u1", "u2"]


@pytest.mark.parametrize(
    ("path", "params", "status", "says"),
    [
        ("no such project", {}, 404, "not found"),
        ("default", {"cursor": "nonsense"}, 422, "cursor"),
        ("default", {"start_time": "2026-01-01T00:00:00Z"}, 422, "grain 1m, 5m, 1h or 1d"),
        ("default", {"by": "planet"}, 422, "by"),
    ],
)
async def test_llm_costs_refuse_with_a_reason(client: httpx.AsyncClient, path: str, params: dict[str, str], status: int, says: str) -> None:
    answer = await client.get(f"/projects/{path}/costs", params=params)
    assert answer.status_code == status and says in answer.text


async def test_llm_costs_of_a_project_are_live(live: LiveStack, client: httpx.AsyncClient) -> None:
    uri = live.main_url.replace("http", "ws", 1) + "/platform/v1/live"
    async with websockets.connect(uri, additional_headers=live.headers) as socket:
        subjects = ("project=costs live", "prompt_version=live-7")
        for subject in subjects:
            await socket.send(json.dumps({"type": "subscribe", "kind": "cost", "subject": subject, "grain": "all"}))
        snapshots = 0
        while snapshots < len(subjects):
            message = json.loads(await asyncio.wait_for(socket.recv(), 20))
            snapshots += message["type"] == "snapshot" and message["last"]
        await _send(client, "costs live", _trace(0xC057_2000, time.time(), **{"llm.prompt_template.version": "live-7"}))
        found: dict[str, float] = {}

        async def all_came() -> bool:
            message = json.loads(await asyncio.wait_for(socket.recv(), 20))
            if message["type"] == "update":
                found[message["window"]["subject"]] = message["window"]["items"]["prompt_tokens"]["amount"]
            return found.keys() == set(subjects)

        await eventually(all_came, timeout=60)
        assert set(found.values()) == {0.15}


async def test_llm_costs_of_a_trace_are_computed_when_they_are_read(live: LiveStack, client: httpx.AsyncClient) -> None:
    begun = time.time() // 60 * 60
    number = 0xC057_3000
    later, other = _trace(number, begun, **{"llm.model_name": "nobody-knows"}), _trace(number + 1, begun)
    later["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] = f"{1:016x}"
    seen = await _send(client, "costs of traces", _trace(number, begun - 60), later, other)
    windows = f"{live.main_url}/platform/v1/windows/cost"

    async def read(**params: Any) -> dict[str, Any]:
        answer = await client.get(windows, params={"subject": f"trace={number:032x}", **params}, headers=seen)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    page = await read()
    starts = [datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (begun - 60, begun)]
    assert [(each["grain"], each["window_start"], each["item"]) for each in page["data"]] == [
        (grain, start, unit) for grain, start in (*(("1m", start) for start in starts), ("all", "1970-01-01T00:00:00Z")) for unit in _UNITS
    ]
    assert any(place.startswith("spans:") for place in page["data"][0]["positions"])
    figures = {(each["grain"], each["window_start"], each["item"]): each["figures"] for each in page["data"]}
    assert [figures["1m", start, "prompt_tokens"]["amount"] for start in starts] == [0.15, None]
    whole = figures["all", "1970-01-01T00:00:00Z", "prompt_tokens"]
    assert (whole["quantity"], whole["amount"], whole["unpriced"]) == (2 * PROMPT_TOKENS, 0.15, PROMPT_TOKENS) and "'nobody-knows'" in whole["reason"]

    for order in ("asc", "desc"):
        found, cursor = [], None
        while True:
            part = await read(limit=4, order=order, **({"cursor": cursor} if cursor else {}))
            found += [(each["grain"], each["window_start"], each["item"]) for each in part["data"]]
            cursor = part["next_cursor"]
            if cursor is None:
                break
        assert found == sorted(figures, reverse=order == "desc")
    assert [each["item"] for each in (await read(grain="all", item="completion_tokens"))["data"]] == ["completion_tokens"]
    assert {each["window_start"] for each in (await read(start=starts[1]))["data"]} == {starts[1]}
    assert {each["window_start"] for each in (await read(end=starts[1], grain="1m"))["data"]} == {starts[0]}
    assert (await read(subject="trace=none"))["data"] == []
    everything = (await client.get(windows, params={"grain": "all", "limit": 1000}, headers=seen)).json()
    assert not [each["subject"] for each in everything["data"] if each["subject"].startswith("trace=")]


async def test_llm_costs_of_a_session_by_time_are_computed_when_they_are_read(live: LiveStack, client: httpx.AsyncClient) -> None:
    begun = time.time() // 300 * 300
    number, session = 0xC057_4000, f"session {os.urandom(4).hex()}"
    of_session = [_trace(number + step, begun - 60 * step, **{"session.id": session}) for step in range(3)]
    seen = await _send(client, "costs of sessions", *of_session, _trace(number + 9, begun, **{"session.id": "another"}))
    windows = f"{live.main_url}/platform/v1/windows/cost"

    async def quantities(**params: Any) -> dict[tuple[str, str], int]:
        answer = await client.get(windows, params={"subject": f"session={session}", "item": "prompt_tokens", **params}, headers=seen)
        assert answer.status_code == 200, answer.text
        return {(each["grain"], each["window_start"]): each["figures"]["quantity"] for each in answer.json()["data"]}

    def at(seconds: float) -> str:
        return datetime.fromtimestamp(begun - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    found = await quantities()
    assert {start: count for (grain, start), count in found.items() if grain == "1m"} == dict.fromkeys((at(0), at(60), at(120)), PROMPT_TOKENS)
    assert {start: count for (grain, start), count in found.items() if grain == "5m"} == {at(300): 2 * PROMPT_TOKENS, at(0): PROMPT_TOKENS}
    for grain in ("1h", "1d", "all"):
        assert sum(count for (each, _), count in found.items() if each == grain) == 3 * PROMPT_TOKENS, grain
    assert await quantities(grain="all") == {("all", "1970-01-01T00:00:00Z"): 3 * PROMPT_TOKENS}
    assert await quantities(grain="5m", start=at(0)) == {("5m", at(0)): PROMPT_TOKENS}


@pytest.mark.parametrize(
    ("subject", "grain", "refused"),
    [("trace=ab", None, True), ("trace=ab", "all", True), ("session=ab", "1m", True), ("session=ab", "all", False), ("session=ab", None, False)],
)
async def test_windows_that_are_computed_when_they_are_read_are_not_live(live: LiveStack, subject: str, grain: str | None, refused: bool) -> None:
    async with websockets.connect(live.main_url.replace("http", "ws", 1) + "/platform/v1/live", additional_headers=live.headers) as socket:
        await socket.send(json.dumps({"type": "subscribe", "kind": "cost", "subject": subject, "grain": grain}))
        message = {"type": "authenticated"}
        while message["type"] not in ("error", "snapshot"):
            message = json.loads(await asyncio.wait_for(socket.recv(), 20))
        assert (message["type"] == "error") == refused
        assert not refused or f"GET /platform/v1/windows/cost?subject={quote(subject)}" in json.dumps(message)
