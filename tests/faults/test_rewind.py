"""Offsets set back to the first record: the ledger skips what it vouches for, and without the ledger the insert tokens do."""

import asyncio

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import EVENTS, EXPERIMENT_MARKS
from tests.faults.load import Load
from tests.faults.oracle import assert_exact, commit, committed_to_zero, drained, ends
from tests.flow.stack import LiveStack
from tests.support import eventually


async def test_rewinding_to_zero_doubles_nothing(stack: LiveStack) -> None:
    async with Load(stack, "rewind", pause_s=0.02) as load:
        await load.more(60)
    await assert_exact(stack, load.experiment, load.acknowledged)
    before = await _rows(stack)
    for forget_ledger in (False, True):
        await asyncio.to_thread(stack.remove_worker, stack.workers[0])
        await committed_to_zero(stack, (EVENTS.name, EXPERIMENT_MARKS.name))
        if forget_ledger:
            clickhouse = stack.clickhouse()
            await clickhouse.command("DELETE FROM ledger WHERE topic = 'events'", {"mutations_sync": 1})
            await clickhouse.aclose()
        await asyncio.to_thread(stack.add_worker)
        await _reread(stack)
        assert await _rows(stack) == before
        await assert_exact(stack, load.experiment, load.acknowledged)


async def test_offsets_ahead_of_the_ledger_lose_nothing(stack: LiveStack) -> None:
    await asyncio.to_thread(stack.remove_worker, stack.workers[0])
    async with Load(stack, "ahead", pause_s=0.02) as load:
        await load.more(60)
    await commit(stack, {place: max(0, end - 1) for place, end in (await ends(stack, EVENTS.name)).items()})
    worker = await asyncio.to_thread(stack.add_worker)
    await assert_exact(stack, load.experiment, load.acknowledged)
    assert "going back to blocks that the ledger does not know" in stack.log(worker)


async def _reread(stack: LiveStack) -> None:
    """Wait until every block of events is on the ledger and its offset committed once more."""
    positions = await drained(stack, (EVENTS.name,))
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.settings.kafka.bootstrap)
    await admin.start()
    try:

        async def committed() -> bool:
            found = await admin.list_consumer_group_offsets(stack.settings.streams.app_id)
            return all(found[TopicPartition(*_place(place))].offset == last + 1 for place, last in positions.items())

        await eventually(committed, timeout=90, interval=0.2)
    finally:
        await admin.close()


def _place(text: str) -> tuple[str, int]:
    topic, _, partition = text.partition(":")
    return topic, int(partition)


async def _rows(stack: LiveStack) -> list[dict[str, int]]:
    """Rows that exist once by construction, merged or not."""
    clickhouse = stack.clickhouse()
    try:
        return await clickhouse.query(
            "SELECT experiment, count() AS n, uniqExact(event_id) AS ids FROM events WHERE keyed = 0 GROUP BY experiment ORDER BY experiment"
        )
    finally:
        await clickhouse.aclose()
