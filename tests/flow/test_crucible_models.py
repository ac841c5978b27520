"""What a model's statistics say of telemetry that was sent through the door. Rows crucible.models.*."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.flow.stack import LiveStack


@pytest.fixture
async def client(live: LiveStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{live.main_url}/crucible/api/v1", headers=live.headers, timeout=70) as client:
        yield client


@pytest.fixture
async def model(client: httpx.AsyncClient) -> dict[str, Any]:
    """A model with a name of its own."""
    answer = await client.post("/models", json={"model": {"name": f"GPT-{uuid.uuid4().hex[:8]}", "provider": "openai"}})
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def _send(client: httpx.AsyncClient, *events: dict[str, Any]) -> dict[str, str]:
    """Headers for a read that has them all."""
    answer = await client.post("/telemetry/events", json={"events": events})
    assert answer.status_code == 202 and answer.json()["data"]["accepted"] == len(events), answer.text
    return {"x-millstream-wait-for": answer.headers["x-millstream-position"], "x-millstream-wait-timeout": "60"}


def _ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).isoformat()


async def test_statistics_of_a_model_from_its_telemetry(client: httpx.AsyncClient, model: dict[str, Any]) -> None:
    """crucible.models.statistics: everything that counts counts once, by the id or the name, in the period asked for."""
    path, named = f"/models/{model['id']}/statistics", {"model": model["name"].lower()}
    inference = ["crucible", "model", "inference"]
    empty = (await client.get(path)).json()["data"]
    assert {name: value for name, value in empty.items() if name not in ("from", "to")} == {
        "total_requests": 0, "success_rate": None, "avg_latency_ms": None, "p50_latency_ms": None, "p99_latency_ms": None, "total_tokens": 0,
        "error_breakdown": {}, "period": "24h",
    }  # fmt: skip
    first = {"id": f"first {model['id']}", "event_name": inference, "measurements": {"duration_ms": 100, "tokens": 10}, "metadata": named}
    await _send(
        client,
        first,
        {"event_name": [*inference, "start"], "measurements": {"duration_ms": 1}, "metadata": named},
        {
            "event_name": [*inference, "stop"],
            "measurements": {"duration_ms": 300, "prompt_tokens": 4, "completion_tokens": 1},
            "metadata": {"model": model["id"]},
        },
        {"event_name": [*inference, "exception"], "measurements": {"duration_ms": 500}, "metadata": {**named, "error_type": "rate_limit"}},
        {"event_name": inference, "metadata": {**named, "status": "timeout"}, "timestamp": _ago(minutes=50)},
        {"event_name": inference, "measurements": {"tokens": 1000}, "metadata": named, "timestamp": _ago(hours=2)},
        {"event_name": inference, "metadata": named, "timestamp": _ago(days=8)},
        {"event_name": inference, "metadata": named, "timestamp": _ago(days=-30)},
        {"event_name": inference, "metadata": {"model": "another"}},
    )
    seen = await _send(client, first)

    async def statistics(period: str) -> dict[str, Any]:
        answer = await client.get(path, params={"period": period}, headers=seen)
        assert answer.status_code == 200 and "x-millstream-watermark" in answer.headers, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    hour = await statistics("1h")
    assert (hour["total_requests"], hour["success_rate"], hour["total_tokens"]) == (4, 0.5, 15)
    assert (hour["avg_latency_ms"], hour["p50_latency_ms"], hour["p99_latency_ms"]) == (300, 300, pytest.approx(496))
    assert hour["error_breakdown"] == {"error": 1, "rate_limit": 1} and hour["period"] == "1h"
    assert datetime.fromisoformat(hour["to"]) - datetime.fromisoformat(hour["from"]) == timedelta(hours=1)
    assert [(await statistics(period))["total_requests"] for period in ("24h", "7d", "30d")] == [5, 5, 6]
    assert (await statistics("24h"))["total_tokens"] == 1015


async def test_a_model_with_another_name_has_other_telemetry(client: httpx.AsyncClient, model: dict[str, Any]) -> None:
    """crucible.models.list, crucible.models.get, crucible.models.create, crucible.models.update, crucible.models.delete"""
    path = f"/models/{model['id']}"
    renamed = f"{model['name']} turbo"
    event = {"event_name": "request.stop", "measurements": {"latency_ms": 5}}
    seen = await _send(client, {**event, "metadata": {"model": renamed}}, {**event, "metadata": {"model_id": model["id"]}})
    requests = [(await client.get(f"{path}/statistics", headers=seen)).json()["data"]["total_requests"]]
    assert (await client.patch(path, json={"model": {"name": renamed}})).json()["data"]["name"] == renamed
    requests.append((await client.get(f"{path}/statistics", headers=seen)).json()["data"]["total_requests"])
    assert requests == [1, 2]
    assert [each["id"] for each in (await client.get("/models", params={"filter[name]": renamed.upper()})).json()["data"]] == [model["id"]]
    assert (await client.delete(path)).status_code == 204
    for gone in (path, f"{path}/statistics"):
        assert (await client.get(gone, headers=seen)).status_code == 404
