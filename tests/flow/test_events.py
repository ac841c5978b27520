"""Events and telemetry from the HTTP doors to the tables: what is answered is what is stored."""

import datetime as dt
import json
import uuid
from typing import Any

import httpx
import pytest

from tests.flow.stack import LiveStack


@pytest.fixture
def name() -> str:
    """An experiment of the test's own."""
    return f"events-{uuid.uuid4().hex[:10]}"


async def rows(live: LiveStack, position: str, table: str, column: str, value: str) -> list[dict[str, Any]]:
    """The stored rows, read once the position is visible."""
    headers = {**live.headers, "X-Millstream-Wait-For": position, "X-Millstream-Wait-Timeout": "30"}
    async with httpx.AsyncClient(base_url=live.main_url, headers=headers, timeout=60) as client:
        answer = await client.get("/llm/v1/projects/default/spans", params={"limit": 1})
        assert answer.status_code == 200, answer.text
    clickhouse = live.clickhouse()
    try:
        return await clickhouse.query(f"SELECT * FROM {table} FINAL WHERE {column} = {{value:String}} ORDER BY event_id", {"value": value})
    finally:
        await clickhouse.aclose()


async def test_a_single_event_is_answered_with_what_is_stored(live: LiveStack, name: str) -> None:
    event = {
        "user_id": "ünit 1", "event_type": "purchase", "experiment_id": name, "variant": "b", "timestamp": "2026-05-01T12:00:00.123456+02:00",
        "metadata": {"value": 12.5, "deep": {"list": [1, "two", None]}}, "id": "my-id", "campaign": "spring",
    }  # fmt: skip
    async with httpx.AsyncClient(base_url=live.url("experimentation"), headers=live.headers) as client:
        answer = await client.post("/api/v1/events", json=event, headers={"X-Millstream-SDK": "tests/1"})
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert {key: data[key] for key in ("id", "user_id", "event_type", "experiment_id", "variant")} == {
        "id": "my-id", "user_id": "ünit 1", "event_type": "purchase", "experiment_id": name, "variant": "b",
    }  # fmt: skip
    (row,) = await rows(live, answer.headers["x-millstream-position"], "events", "experiment", name)
    assert (row["unit"], row["event_type"], row["variant"], row["event_id"], row["keyed"]) == ("ünit 1", "purchase", "b", "my-id", 1)
    assert row["time"].startswith("2026-05-01 10:00:00.123456") and row["value"] == 12.5 and row["quarantined"] == 0
    assert json.loads(row["metadata"]) == event["metadata"] and json.loads(row["extra"]) == {"campaign": "spring"}
    assert (row["tenant"], row["sdk"], row["source"]) == ("default", "tests/1", "http")


async def test_a_batch_stores_the_good_and_names_the_bad(live: LiveStack, name: str) -> None:
    good = {"user_id": "u", "event_type": "exposure", "experiment_id": name, "variant": "a"}
    items = [good, {"event_type": "exposure"}, good, {**good, "user_id": 7}, {**good, "timestamp": "yesterday"}, {**good, "metadata": [1]}, "text", good]
    async with httpx.AsyncClient(base_url=live.main_url, headers=live.headers) as client:
        answer = await client.post("/experimentation/api/v1/events/batch", json={"events": items})
    data = answer.json()["data"]
    assert (answer.status_code, data["processed"], data["failed"]) == (200, 3, 5)
    assert [(error["index"], error["field"]) for error in data["errors"]] == [(1, "user_id"), (3, "user_id"), (4, "timestamp"), (5, "metadata"), (6, "")]
    stored = await rows(live, answer.headers["x-millstream-position"], "events", "experiment", name)
    assert sorted(row["event_id"] for row in stored) == sorted(data["event_ids"]) and {row["keyed"] for row in stored} == {0}


async def test_times_far_off_are_kept_in_quarantine(live: LiveStack, name: str) -> None:
    times = {"past": "1970-01-01T00:00:00Z", "future": "2100-01-01T00:00:00Z", "now": dt.datetime.now(dt.UTC).isoformat()}
    items = [{"user_id": "u", "event_type": "view", "experiment_id": name, "id": f"{name}-{key}", "timestamp": time} for key, time in times.items()]
    async with httpx.AsyncClient(base_url=live.main_url, headers=live.headers) as client:
        answer = await client.post("/experimentation/api/v1/events/batch", json={"events": items})
    assert answer.json()["data"]["processed"] == 3
    stored = await rows(live, answer.headers["x-millstream-position"], "events", "experiment", name)
    assert {row["event_id"].removeprefix(f"{name}-"): row["quarantined"] for row in stored} == {"past": 1, "future": 1, "now": 0}


async def test_an_event_sent_in_two_batches_is_read_once(live: LiveStack, name: str) -> None:
    event = {"user_id": "u", "event_type": "view", "experiment_id": name, "id": f"{name}-once"}
    positions = []
    async with httpx.AsyncClient(base_url=live.main_url, headers=live.headers) as client:
        for _ in range(2):
            answer = await client.post("/experimentation/api/v1/events/batch", json={"events": [event, event]})
            assert answer.json()["data"]["processed"] == 2
            positions.append(answer.headers["x-millstream-position"])
    assert len(await rows(live, ",".join(positions), "events", "experiment", name)) == 1


async def test_telemetry_is_accepted_stored_and_explained(live: LiveStack, name: str) -> None:
    items = [
        {"event_name": [name, "done"], "measurements": {"ms": 1.5}, "metadata": {"experiment_id": "exp-1"}, "kind": "extra"},
        {"event_name": f"{name}.done", "id": "own"},
        {"event_name": 5},
        {"measurements": {}},
    ]
    async with httpx.AsyncClient(base_url=live.url("crucible"), headers=live.headers) as client:
        answer = await client.post("/api/v1/telemetry/events", json={"events": items})
    data = answer.json()["data"]
    assert (answer.status_code, data["accepted"], data["rejected"]) == (202, 2, 2)
    assert [error["index"] for error in data["errors"]] == [2, 3] and all(error["message"] for error in data["errors"])
    stored = await rows(live, answer.headers["x-millstream-position"], "telemetry", "event_name", f"{name}.done")
    assert len(stored) == 2
    (made,) = [row for row in stored if row["event_id"] != "own"]
    assert json.loads(made["measurements"]) == {"ms": 1.5} and made["experiment"] == "exp-1" and json.loads(made["extra"]) == {"kind": "extra"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "wrong"}, {"api-key": ""}])
async def test_without_a_valid_key_nothing_comes_in(live: LiveStack, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=live.main_url, headers=headers) as client:
        for path, code in (("/experimentation/api/v1/events", "UNAUTHORIZED"), ("/crucible/api/v1/telemetry/events", "unauthorized")):
            answer = await client.post(path, json={"user_id": "u", "event_type": "x"})
            assert answer.status_code == 401 and answer.json()["error"]["code"] == code


@pytest.mark.parametrize("header", ["api-key", "x-api-key"])
async def test_the_key_may_come_in_other_headers(live: LiveStack, name: str, header: str) -> None:
    headers = {header: live.headers["Authorization"].removeprefix("Bearer ")}
    async with httpx.AsyncClient(base_url=live.main_url, headers=headers) as client:
        answer = await client.post("/experimentation/api/v1/events", json={"user_id": "u", "event_type": "x", "experiment_id": name})
    assert answer.status_code == 200


async def test_a_wait_that_is_too_short_says_how_far_it_got(live: LiveStack) -> None:
    headers = {**live.headers, "X-Millstream-Wait-For": "events:0:999999999", "X-Millstream-Wait-Timeout": "0.2"}
    async with httpx.AsyncClient(base_url=live.main_url, headers=headers) as client:
        answer = await client.get("/platform/v1/windows/significance")
    assert answer.status_code == 504 and answer.json()["error"]["code"] == "not_visible_yet"
    assert "x-millstream-watermark" in answer.headers


async def test_many_units_with_long_names_reach_the_windows(live: LiveStack, name: str) -> None:
    """Units are named in queries, and the address of a request holds only so much."""
    units = [f"пользователь-№-{number:04}-\U0001f600" for number in range(1_500)]
    items = [
        {"id": f"{name}/{unit}", "user_id": unit, "event_type": "exposure", "experiment_id": name, "variant": "ab"[place % 2]}
        for place, unit in enumerate(units)
    ]
    positions = []
    async with httpx.AsyncClient(base_url=live.main_url, headers=live.headers, timeout=60) as client:
        for batch in (items[:750], items[750:], items[:100]):
            answer = await client.post("/experimentation/api/v1/events/batch", json={"events": batch})
            positions.append(answer.headers["x-millstream-position"])
        waiting = {"X-Millstream-Wait-For": ",".join(positions), "X-Millstream-Wait-Timeout": "40"}
        answer = await client.get("/platform/v1/windows/assignments", params={"subject": name, "grain": "all"}, headers=waiting)
    assert answer.status_code == 200, answer.text
    assert {item["item"]: item["figures"]["units"] for item in answer.json()["data"]} == {"*": 1_500, "a": 750, "b": 750}
