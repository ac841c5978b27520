"""Workers killed where it hurts most: before an INSERT is sent, after it is acknowledged, after the ledger, and anywhere."""

import asyncio
import random

from tests.faults.load import Load
from tests.faults.oracle import assert_exact
from tests.flow.stack import LiveStack

ROUNDS = 5
POINTS = ("inserting", "inserted", "recorded")
"""With one worker killed from outside, four a round: a killed worker's partitions rest for the session timeout, so they die together."""


async def test_twenty_kills_lose_and_double_nothing(stack: LiveStack) -> None:
    dice = random.Random(3)
    await asyncio.to_thread(stack.remove_worker, stack.workers[0])
    async with Load(stack, "worker-kills", pause_s=0.2) as load:
        for number in range(ROUNDS):
            armed = [stack.add_worker({"MILLSTREAM_FAILPOINT": f"{point}:{dice.randint(1, 6)}"}, ready=False) for point in POINTS]
            victim = await asyncio.to_thread(stack.add_worker)
            await load.more(dice.randint(1, 12))
            stack.kill(victim)
            for name in armed:
                assert await asyncio.to_thread(stack.wait_end, name) == -9, f"round {number}: {stack.log(name)[-1000:]}"
        await asyncio.to_thread(stack.add_worker)
    assert load.answers.keys() == {200}
    await assert_exact(stack, load.experiment, load.acknowledged)
