"""Workers that come, go and sleep under load."""

import asyncio

from tests.faults.load import Load
from tests.faults.oracle import assert_exact
from tests.flow.stack import LiveStack
from tests.support import eventually

CYCLES = 4


async def test_workers_come_and_go_under_load(stack: LiveStack) -> None:
    async with Load(stack, "rebalance", pause_s=0.1) as load:
        for _ in range(CYCLES):
            oldest = stack.workers[0]
            await asyncio.to_thread(stack.add_worker)
            await load.more(10)
            assert await asyncio.to_thread(stack.remove_worker, oldest) == 0
            await load.more(10)
    assert load.answers.keys() == {200}
    await assert_exact(stack, load.experiment, load.acknowledged)


async def test_a_sleeping_worker_wakes_after_another_took_over(stack: LiveStack) -> None:
    (sleeper,) = stack.workers
    async with Load(stack, "zombie", pause_s=0.1) as load:
        await load.more(10)
        stack.pause(sleeper)
        successor = await asyncio.to_thread(stack.add_worker)
        stored = await _stored(stack, load)

        async def took_over() -> bool:
            return await _stored(stack, load) > stored

        # The successor stores only once the session of the sleeper has run out.
        await eventually(took_over, timeout=60)
        stack.resume(sleeper)
        await load.more(30)
        assert stack.alive(successor)
    await assert_exact(stack, load.experiment, load.acknowledged)


async def test_a_worker_that_is_told_to_stop_ends_also_without_kafka(stack: LiveStack) -> None:
    (worker,) = stack.workers
    await asyncio.to_thread(stack.parts.kill_kafka)

    async def noticed() -> bool:
        return "Unable connect to node" in stack.log(worker)

    await eventually(noticed, timeout=30)
    assert await asyncio.to_thread(stack.remove_worker, worker) == 0


async def _stored(stack: LiveStack, load: Load) -> int:
    clickhouse = stack.clickhouse()
    try:
        (row,) = await clickhouse.query("SELECT count() AS n FROM events FINAL WHERE experiment = {experiment:String}", {"experiment": load.experiment})
        return int(row["n"])
    finally:
        await clickhouse.aclose()
