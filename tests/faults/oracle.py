"""What must hold after every fault: nothing lost, nothing doubled, and windows that say what the rows say."""

import asyncio
import math
from collections.abc import Collection, Mapping
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from infra.runtime.clickhouse import ClickHouse
from schemas.position import encode
from schemas.tables.catalog import FED
from tests.flow.stack import LiveStack
from tests.support import eventually

METRICS = (
    {"kind": "metric", "id": "purchases", "event_type": "purchase", "type": "count"},
    {"kind": "metric", "id": "revenue", "event_type": "purchase", "type": "mean"},
)
"""Metrics beside the default proportion `purchase`, for a stack whose windows are checked."""
_DRAINED_S = 90.0
_OF = "FROM events FINAL WHERE tenant = 'default' AND experiment = {experiment:String}"

_SUMS = f"""
SELECT arm, count() AS units, countIf(n > 0) AS buyers, sum(n) AS purchases, sum(amount) AS revenue
FROM (
    SELECT u.unit AS unit, any(u.arm) AS arm, countIf(e.kind = 'purchase' AND e.at >= u.since) AS n, sumIf(e.paid, e.kind = 'purchase' AND e.at >= u.since) AS amount
    FROM (SELECT unit, min(time) AS since, argMin(variant, time) AS arm {_OF} AND variant != '' AND quarantined = 0 GROUP BY unit HAVING uniqExact(variant) = 1) AS u
    LEFT JOIN (SELECT unit, toString(event_type) AS kind, time AS at, ifNull(value, 0) AS paid {_OF} AND quarantined = 0) AS e ON e.unit = u.unit
    GROUP BY u.unit
)
GROUP BY arm
"""

# A block sent under an Idempotency-Key has a batch id of version 5, and nothing may ever take one of its rows away or add one.
# Rows of other blocks carry the client's ids, so a merge may keep the one of another block.
_WRONG_BLOCKS = """
SELECT l.batch_id AS batch, any(l.rows) AS expected, sum(e.n) AS found
FROM (SELECT DISTINCT batch_id, toUInt16(partition) AS part, toUInt64(offset) AS at, rows FROM ledger FINAL WHERE topic = 'events' AND outcome = 'stored') AS l
LEFT JOIN (SELECT part, offset AS at, count() AS n FROM events GROUP BY part, at) AS e ON e.part = l.part AND e.at = l.at
GROUP BY batch HAVING found > expected OR (substring(batch, 15, 1) = '5' AND found != expected)
"""
_UNRECORDED = "SELECT count() AS n FROM events WHERE (part, toInt64(offset)) NOT IN (SELECT toUInt16(partition), offset FROM ledger WHERE topic = 'events')"


async def assert_exact(stack: LiveStack, experiment: str, acknowledged: Collection[str]) -> None:
    """Wait until everything on the topics is stored, then hold the tables, the offsets and the windows to the promises."""
    clickhouse = stack.clickhouse()
    try:
        positions = await drained(stack)
        await _rows(clickhouse, experiment, acknowledged)
        await _offsets(stack, positions)
        await assert_windows(stack, clickhouse, experiment, positions)
    finally:
        await clickhouse.aclose()


async def drained(stack: LiveStack, topics: Collection[str] = tuple(FED), timeout: float = _DRAINED_S) -> dict[str, int]:
    """Wait until no block of the topics waits; the last offset by `topic:partition`."""
    async with httpx.AsyncClient(base_url=stack.main_url, headers=stack.headers, timeout=20.0) as client:

        async def empty() -> dict[str, int]:
            try:
                answer = await client.get("/platform/v1/topics")
            except httpx.TransportError as error:
                raise ConnectionError(str(error)) from error
            assert answer.status_code == 200, answer.text
            found = [state for state in answer.json()["data"] if state["topic"] in topics]
            assert all(state["lag"] == 0 for state in found), [(state["topic"], state["lag"]) for state in found]
            return {f"{state['topic']}:{part['partition']}": part["end"] - 1 for state in found for part in state["partitions"] if part["end"]}

        return await eventually(empty, timeout=timeout, interval=0.2)


async def _rows(clickhouse: ClickHouse, experiment: str, acknowledged: Collection[str]) -> None:
    named = {"experiment": experiment}
    stored = [str(row["event_id"]) for row in await clickhouse.query(f"SELECT event_id {_OF}", named, timeout=60)]
    lost, strange = set(acknowledged) - set(stored), set(stored) - set(acknowledged)
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged events are not stored, such as {sorted(lost)[:3]}"
    assert not strange, f"{len(strange)} stored events were never acknowledged, such as {sorted(strange)[:3]}"
    assert len(stored) == len(set(stored)), "an event id is read twice"
    (once,) = await clickhouse.query(
        "SELECT count() AS rows, uniqExact(event_id) AS ids FROM events WHERE experiment = {experiment:String} AND keyed = 0", named, timeout=60
    )
    assert once["rows"] == once["ids"], "a block without ids of the client's own was stored twice"
    assert not (wrong := await clickhouse.query(_WRONG_BLOCKS, timeout=60)), f"blocks whose rows differ from the ledger: {wrong[:3]}"
    (unrecorded,) = await clickhouse.query(_UNRECORDED, timeout=60)
    assert unrecorded["n"] == 0, "rows of blocks the ledger does not know"


async def _offsets(stack: LiveStack, positions: dict[str, int]) -> None:
    """No offset is committed beyond what the ledger vouches for."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.settings.kafka.bootstrap)
    await admin.start()
    try:
        committed: dict[TopicPartition, Any] = await admin.list_consumer_group_offsets(stack.settings.streams.app_id)
    finally:
        await admin.close()
    raw = {f"{place.topic}:{place.partition}": meta.offset for place, meta in committed.items() if place.topic in FED}
    assert all(offset <= positions.get(place, -1) + 1 for place, offset in raw.items()), (raw, positions)


async def assert_windows(stack: LiveStack, clickhouse: ClickHouse, experiment: str, positions: dict[str, int]) -> None:
    """The cumulative windows, read with the positions they must include, equal the sums over the raw rows."""
    raw = {row["arm"]: row for row in await clickhouse.query(_SUMS, {"experiment": experiment}, timeout=60)}
    if not raw:
        return
    waiting = {**stack.headers, "X-Millstream-Wait-For": encode(positions), "X-Millstream-Wait-Timeout": "40"}
    async with httpx.AsyncClient(base_url=stack.main_url, headers=waiting, timeout=90.0) as client:
        assignments = await window(client, "assignments", experiment, "all")
        significance = await window(client, "significance", experiment, "all")
        minutes = {grain: await pages(client, "assignments", experiment, grain) for grain in ("1m", "5m", "1h", "1d")}
    for arm, sums in raw.items():
        assert assignments[arm]["units"] == sums["units"], (arm, assignments[arm], sums)
        for grain, items in minutes.items():
            assert sum(item["figures"]["units"] for item in items if item["item"] == arm) == sums["units"], (grain, arm)
    if not any(sums["purchases"] for sums in raw.values()):
        return
    side = {"a": "control", "b": "treatment"}
    for metric, column in (("purchase", "buyers"), ("purchases", "purchases"), ("revenue", "revenue")):
        figures = significance[f"{metric}/b"]
        for arm, sums in raw.items():
            assert figures[f"{side[arm]}_units"] == sums["units"], (metric, arm, figures, sums)
            assert math.isclose(figures[f"{side[arm]}_value"] * sums["units"], sums[column], rel_tol=1e-9, abs_tol=1e-9), (metric, arm, figures, sums)


async def window(client: httpx.AsyncClient, kind: str, subject: str, grain: str) -> dict[str, dict[str, Any]]:
    """The figures of a subject's window by item."""
    return {item["item"]: item["figures"] for item in await pages(client, kind, subject, grain)}


async def pages(client: httpx.AsyncClient, kind: str, subject: str, grain: str) -> list[dict[str, Any]]:
    """Every item of a subject's windows of a grain, over all pages."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await client.get(f"/platform/v1/windows/{kind}", params={"subject": subject, "grain": grain, "limit": 500, **cursor})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += body["data"]
        if body["next_cursor"] is None:
            return found
        cursor = {"cursor": body["next_cursor"]}


async def committed_to_zero(stack: LiveStack, topics: Collection[str]) -> None:
    """Set the workers' offsets on the topics back to the first record. No worker may run."""
    await commit(stack, {TopicPartition(topic, part): 0 for topic in topics for part in range(stack.settings.kafka.partitions)})


async def ends(stack: LiveStack, topic: str) -> dict[TopicPartition, int]:
    """The offset behind the last record of every partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.settings.kafka.bootstrap)
    await consumer.start()
    try:
        found: dict[TopicPartition, int] = await consumer.end_offsets([TopicPartition(topic, part) for part in range(stack.settings.kafka.partitions)])
        return found
    finally:
        await consumer.stop()


async def commit(stack: LiveStack, offsets: Mapping[TopicPartition, int]) -> None:
    """Set the workers' offsets. No worker may run."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.settings.kafka.bootstrap, group_id=stack.settings.streams.app_id, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(offsets))
        async with asyncio.timeout(30):
            await consumer.commit(dict(offsets))
    finally:
        await consumer.stop()
