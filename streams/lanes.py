"""Side by side where order does not matter: records of one partition in turn, records of different partitions at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

E = TypeVar("E")

QUEUED = 2
"""Records that wait in a lane before no more are fetched for it; a block can have megabytes."""


class Lanes(Generic[E]):
    """One lane for each partition of a topic, of which at most `width` work at the same time.

    The order within a partition is what the high-water mark relies on; an INSERT of one block leaves most of a machine idle, so
    another partition's may run beside it.
    """

    def __init__(
        self,
        handle: Callable[[E], Awaitable[None]],
        width: int,
        spawn: Callable[[Awaitable[None]], object],
        full: Callable[[int], object],
        free: Callable[[int], object],
    ) -> None:
        """`handle` must not raise. `spawn` starts a lane's endless task and ends it with the worker. `full` is told that a partition's lane has enough,
        again with each record that comes nevertheless, and `free` that it has room."""
        self._handle = handle
        self._spawn = spawn
        self._full = full
        self._free = free
        self._turns = asyncio.Semaphore(width)
        self._lanes: dict[int, asyncio.Queue[tuple[int, E]]] = {}
        self._epoch = 0

    def forget(self) -> None:
        """Partitions moved: what waits is left alone, since it comes again. Were one of these handled although one before it was left, the high-water
        mark would say that both are stored."""
        self._epoch += 1

    def put(self, partition: int, event: E) -> None:
        """Hand a record to its lane. Never waits: records of all topics come one after the other, so one that waited would hold up every other topic."""
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = asyncio.Queue()
            self._spawn(self._follow(partition, lane))
        lane.put_nowait((self._epoch, event))
        if lane.qsize() >= QUEUED:
            self._full(partition)

    async def _follow(self, partition: int, lane: "asyncio.Queue[tuple[int, E]]") -> None:
        while True:
            epoch, event = await lane.get()
            if lane.qsize() < QUEUED:
                self._free(partition)
            async with self._turns:
                if epoch == self._epoch:
                    await self._handle(event)
