"""Lanes keep the order of each partition and let partitions work at the same time."""

import asyncio

from streams.lanes import QUEUED, Lanes
from tests.support import eventually


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
    lanes = Lanes(handle, 2, lambda work: tasks.append(asyncio.ensure_future(work)), lambda _: None, lambda _: None)
    for event in gates:
        lanes.put(event[0], event)
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


async def test_what_waited_when_partitions_moved_is_left_alone() -> None:
    """One record is at work and three wait in the lane; after the move all come again in their order."""
    handled: list[str] = []
    gate = asyncio.Event()

    async def handle(event: str) -> None:
        handled.append(event)
        await gate.wait()

    tasks: list[asyncio.Future[None]] = []
    lanes = Lanes(handle, 1, lambda work: tasks.append(asyncio.ensure_future(work)), lambda _: None, lambda _: None)
    for event in ("a", "b", "c", "d"):
        lanes.put(0, event)
    await eventually(lambda: handled == ["a"], timeout=5)
    lanes.forget()
    gate.set()
    for event in ("a", "b", "c", "d", "e"):
        lanes.put(0, event)
    await eventually(lambda: len(handled) == 6, timeout=5)
    assert handled == ["a", "a", "b", "c", "d", "e"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_full_lane_says_so_for_its_partition_alone_and_takes_what_comes_nevertheless() -> None:
    said: list[tuple[str, int]] = []
    handled: list[int] = []
    turns = asyncio.Semaphore(0)

    async def handle(event: int) -> None:
        await turns.acquire()
        handled.append(event)

    tasks: list[asyncio.Future[None]] = []
    lanes = Lanes(
        handle,
        9,
        lambda work: tasks.append(asyncio.ensure_future(work)),
        lambda partition: said.append(("full", partition)),
        lambda partition: said.append(("free", partition)),
    )
    for event in range(QUEUED + 2):
        lanes.put(7, event)
    lanes.put(8, 100)
    assert ("full", 7) in said and ("full", 8) not in said
    said.clear()
    for _ in range(QUEUED + 3):
        turns.release()
    await eventually(lambda: len(handled) == QUEUED + 3, timeout=5)
    assert [event for event in handled if event != 100] == list(range(QUEUED + 2))
    assert ("free", 7) in said and ("full", 7) not in said
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
