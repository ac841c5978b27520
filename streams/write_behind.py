"""Writing beside the work: what is handed over while one write is under way goes together into the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class WriteBehind(Generic[T]):
    """Hands items to a write in the order they came, never two writes at once. Belongs to one event loop."""

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        """`write` goes on trying until the items are written. Items that it raises on stay in line for the next write."""
        self._write = write
        self._waiting: list[tuple[T, Callable[[], object]]] = []
        self._writing: asyncio.Task[None] | None = None

    def add(self, item: T, release: Callable[[], object]) -> None:
        """Write the item as soon as the write before it is done, together with what came meanwhile, and then call `release`. Returns at once."""
        self._waiting.append((item, release))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_waiting())

    def forget(self) -> None:
        """Leave out what is not under way yet; it is never released."""
        self._waiting = []

    async def drain(self) -> None:
        """Wait until everything handed over so far is written."""
        if self._writing is not None:
            await self._writing

    async def _write_waiting(self) -> None:
        while self._waiting:
            waiting = self._waiting
            batch = list(waiting)
            await self._write([item for item, _ in batch])
            del waiting[: len(batch)]
            for _, release in batch:
                release()
