"""Kill -9 of the engine and of Kafka in mid-load, and ClickHouse away for longer."""

import asyncio
import os
import random

import httpx

from tests.faults.load import Load
from tests.faults.oracle import assert_exact
from tests.flow.stack import LiveStack
from tests.support import eventually

KILLS = 5
AWAY_S = 60.0 if os.environ.get("MILLSTREAM_LONG_TESTS") else 15.0


async def test_engine_and_kafka_killed_in_mid_load(stack: LiveStack) -> None:
    dice = random.Random(5)
    async with Load(stack, "store-kills", pause_s=0.1) as load:
        await load.more(5)
        for _ in range(KILLS):
            stack.parts.kill_engine()
            await load.more(dice.randint(1, 10))
            await asyncio.to_thread(stack.parts.start_engine)
            await load.more(dice.randint(1, 10))
            stack.parts.kill_kafka()
            await asyncio.to_thread(stack.parts.start_kafka)
            await load.more(dice.randint(1, 10))
    assert load.answers.keys() <= {0, 200, 503}
    await assert_exact(stack, load.experiment, load.acknowledged)


async def test_ingest_acknowledges_while_clickhouse_is_away(stack: LiveStack) -> None:
    async with Load(stack, "away", pause_s=0.1) as load:
        await load.more(5)
        await asyncio.to_thread(stack.parts.end_engine)
        before = load.batches
        # The time of the outage is what is tried out here; nothing is waited for.
        await asyncio.sleep(AWAY_S)
        during = load.batches - before
        memory = stack.rss_bytes(stack.workers[0])
        await asyncio.to_thread(stack.parts.start_engine)
    assert during > AWAY_S and load.answers.keys() == {200}
    assert memory < 512 * 1024 * 1024
    await assert_exact(stack, load.experiment, load.acknowledged)


async def test_kafka_down_is_503_with_retry_after_and_never_a_false_success(stack: LiveStack) -> None:
    event = {"user_id": "u", "event_type": "exposure", "experiment_id": "kafka-down", "variant": "a"}
    headers = {**stack.headers, "Idempotency-Key": "kafka-down"}
    async with httpx.AsyncClient(base_url=stack.main_url, headers=headers, timeout=30.0) as client:
        stack.parts.kill_kafka()
        for body, path in (({"events": [event]}, "/experimentation/api/v1/events/batch"), ({"resourceLogs": [_LOG]}, "/llm/v1/logs")):
            answer = await client.post(path, json=body)
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1, answer.text
            assert "x-millstream-position" not in answer.headers
            assert answer.elapsed.total_seconds() < 10
        await asyncio.to_thread(stack.parts.start_kafka)

        async def again() -> set[str]:
            answer = await client.post("/experimentation/api/v1/events/batch", json={"events": [event]})
            assert answer.status_code == 200, answer.text
            return set(answer.json()["data"]["event_ids"])

        acknowledged = await eventually(again, timeout=60)
    await assert_exact(stack, "kafka-down", acknowledged)


_LOG = {"scopeLogs": [{"logRecords": [{"timeUnixNano": "1790000000000000000", "body": {"stringValue": "x"}}]}]}
