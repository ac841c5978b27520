"""Lanes keep the order of each partition and let partitions work at the same time."""

import asyncio

from streams.lanes import Lanes


async def test_partitions_side_by_side_each_in_order() -> None:
    started: list[tuple[int, int]] = []
    gates = {event: asyncio.Event() for event in ((0, 1), (0, 2), (1, 1), (2, 1))}
    changed = asyncio.Condition()

    async def handle(event: tuple[int, int]) -> None:
        async with changed:
            started.append(event)
            changed.notify_all()
        await gates[event].wait()

    async def until(count: int) -> None:
        async with asyncio.timeout(5), changed:
            await changed.wait_for(lambda: len(started) == count)

    tasks: list[asyncio.Future[None]] = []
    lanes = Lanes(handle, 2, lambda work: tasks.append(asyncio.ensure_future(work)))
    for event in gates:
        await lanes.put(event[0], event)
    await until(2)
    assert started == [(0, 1), (1, 1)]
    gates[(1, 1)].set()
    await until(3)
    assert started[2] == (2, 1)
    gates[(0, 1)].set()
    await until(4)
    assert started[3] == (0, 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
