"""Idempotency-Key through the doors: ten times in parallel is once, and a key stands for one body."""

import asyncio
import itertools
import uuid
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.flow.stack import LiveStack

_numbers = itertools.count()


def events(count: int, experiment: str) -> dict[str, Any]:
    """Events without ids of their own, so that only the key keeps them apart."""
    return {"events": [{"user_id": f"u{n}", "event_type": "exposure", "experiment_id": experiment, "variant": "a"} for n in range(count)]}


@pytest.fixture
def name() -> str:
    """An experiment of the test's own."""
    return f"idempotency-{next(_numbers)}-{uuid.uuid4().hex[:8]}"


async def visible(live: LiveStack, position: str) -> None:
    headers = {**live.headers, "X-Millstream-Wait-For": position, "X-Millstream-Wait-Timeout": "30"}
    async with httpx.AsyncClient(base_url=live.main_url, headers=headers, timeout=60) as client:
        answer = await client.get("/llm/v1/projects/default/spans", params={"limit": 1})
        assert answer.status_code == 200, answer.text


async def stored(live: LiveStack, table: str, where: str, value: str) -> tuple[int, int]:
    """Rows as they lie there, merged or not, and the blocks they came in."""
    clickhouse = live.clickhouse()
    try:
        (row,) = await clickhouse.query(
            f"SELECT count() AS n, uniqExact((part, offset)) AS blocks FROM {table} WHERE {where} = {{value:String}}", {"value": value}
        )
        return int(row["n"]), int(row["blocks"])
    finally:
        await clickhouse.aclose()


async def test_ten_in_parallel_are_stored_once_with_one_answer(live: LiveStack, name: str) -> None:
    async with httpx.AsyncClient(base_url=live.main_url, headers={**live.headers, "Idempotency-Key": name}) as client:
        answers = await asyncio.gather(*(client.post("/experimentation/api/v1/events/batch", json=events(50, name)) for _ in range(10)))
        later = await client.post("/experimentation/api/v1/events/batch", json=events(50, name))
    assert {answer.status_code for answer in (*answers, later)} == {200}
    assert len({(answer.content, answer.headers["x-millstream-position"]) for answer in (*answers, later)}) == 1
    await visible(live, later.headers["x-millstream-position"])
    assert await stored(live, "events", "experiment", name) == (50, 1)


async def test_a_key_with_another_body_is_409_and_changes_nothing(live: LiveStack, name: str) -> None:
    async with httpx.AsyncClient(base_url=live.main_url, headers={**live.headers, "Idempotency-Key": name}) as client:
        first = await client.post("/experimentation/api/v1/events/batch", json=events(3, name))
        other = await client.post("/experimentation/api/v1/events/batch", json=events(4, name))
        again = await client.post("/experimentation/api/v1/events/batch", json=events(3, name))
        elsewhere = await client.post("/experimentation/api/v1/events", json=events(1, name)["events"][0])
    assert first.status_code == 200 and again.content == first.content
    assert other.status_code == 409 and other.json()["error"]["code"] == "CONFLICT"
    assert elsewhere.status_code == 200, "a key belongs to a path"
    await visible(live, f"{first.headers['x-millstream-position']},{elsewhere.headers['x-millstream-position']}")
    assert await stored(live, "events", "experiment", name) == (4, 2)


async def test_a_refused_request_leaves_its_key_free(live: LiveStack, name: str) -> None:
    async with httpx.AsyncClient(base_url=live.main_url, headers={**live.headers, "Idempotency-Key": name}) as client:
        refused = await client.post("/experimentation/api/v1/events/batch", content=b'{"events": 1}', headers={"Content-Type": "application/json"})
        taken = await client.post("/experimentation/api/v1/events/batch", json=events(2, name))
    assert (refused.status_code, taken.status_code) == (422, 200)


async def test_telemetry_and_otlp_keep_the_promise_too(live: LiveStack, name: str) -> None:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name=name, trace_id=uuid.uuid4().bytes, span_id=uuid.uuid4().bytes[:8])
    span.start_time_unix_nano = span.end_time_unix_nano = 1_780_000_000_000_000_000
    async with httpx.AsyncClient(base_url=live.main_url, headers={**live.headers, "Idempotency-Key": name}) as client:
        telemetry = await asyncio.gather(*(client.post("/crucible/api/v1/telemetry/events", json={"events": [{"event_name": name}]}) for _ in range(10)))
        protobuf = {"Content-Type": "application/x-protobuf"}
        traces = await asyncio.gather(*(client.post("/llm/v1/traces", content=request.SerializeToString(), headers=protobuf) for _ in range(10)))
    assert {answer.status_code for answer in telemetry} == {202} and {answer.status_code for answer in traces} == {200}
    for answers in (telemetry, traces):
        assert len({answer.headers["x-millstream-position"] for answer in answers}) == 1
        await visible(live, answers[0].headers["x-millstream-position"])
    assert await stored(live, "telemetry", "event_name", name) == (1, 1)
    assert await stored(live, "spans", "name", name) == (1, 1)
