"""Group commit: the next block fills while the last one is being acknowledged."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec

from infra.runtime.clock import Clock, uuid7
from infra.runtime.settings import IngestSettings
from ingest.publish import Publisher
from schemas.blocks import Block

MAX_FLIGHTS = 2
"""Blocks of one lane that may wait for their acknowledgement at once; more would only make blocks smaller."""
LARGE_ROWS = 1_000
"""Rows from which on a block may leave beside another one. Smaller ones wait for it and for those whom it answers: they would be half as large
otherwise, and a block costs all who handle it milliseconds however small it is."""


@dataclass(frozen=True)
class Pace:
    """After a block of `r` rows the next one leaves no sooner than `s_per_block + r * s_per_row` seconds later, `longest_s` at most.

    Nothing when idle, and under load blocks grow to what the sink stores at the least cost per row instead of leaving as fast as the
    broker acknowledges them (an INSERT costs some milliseconds however small). Beyond `s_per_block` the wait is for others to come, so it
    ends when all are there who wait for each answer before they send again.
    """

    s_per_block: float = 0.008
    s_per_row: float = 1e-4
    longest_s: float = 0.1
    enough_rows: int = 1_000_000
    enough_bytes: int = 1 << 30
    """More rows or bytes make a block no cheaper by the row, so that many wait no longer than `s_per_block`."""
    return_s: float = 0.02
    """Those who were just answered are waited for as long as their block took, and this long at most."""

    def after(self, rows: int) -> float:
        """Seconds."""
        return min(self.longest_s, self.s_per_block + self.s_per_row * rows)


class Part(Protocol):
    """What one request adds to a block."""

    @property
    def rows(self) -> int: ...

    @property
    def size(self) -> int:
        """Bytes, roughly, that it adds to the block."""
        ...


P = TypeVar("P", bound=Part)


class _Waiting(msgspec.Struct, Generic[P]):
    part: P
    batch_id: str | None
    done: "asyncio.Future[str]"


class GroupCommit(Generic[P]):
    """Collects parts of many requests into blocks of one topic and publishes them.

    A part that finds the lane idle leaves at once, so the latency of an idle system is one broker round trip, and under
    load a block holds whatever arrived while the blocks before it were under way. Clients that wait for each answer before they
    send again are soon all in one block, which leaves when the last of them is back; the others wait for them a moment at most.
    """

    def __init__(
        self, assemble: Callable[[Sequence[P], str], Block], publisher: Publisher, settings: IngestSettings, clock: Clock, pace: Pace = Pace()
    ) -> None:
        self._assemble = assemble
        self._publisher = publisher
        self._settings = settings
        self._clock = clock
        self._pace = pace
        self._waiting: list[_Waiting[P]] = []
        self._rows_waiting = 0
        self._bytes_waiting = 0
        self._flights = 0
        self._flying = 0
        self._crowd = 0
        self._soonest = 0.0
        self._next_departure = 0.0
        self._back_by = 0.0
        self._answered = -math.inf
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, part: P, batch_id: str | None = None) -> str:
        """Store the part and return its position once every in-sync replica has it.

        A part with a `batch_id` of its own travels in a block of its own, so that the id stands for exactly its bytes.
        Raises Unavailable when Kafka did not acknowledge; the part may or may not be stored then, and the client retries.
        """
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(part, batch_id, done))
        self._rows_waiting += part.rows
        self._bytes_waiting += part.size
        self._crowd = max(self._crowd, len(self._waiting) + self._flying)
        if self._alarm is None or self._due() < self._alarm_at:
            self._depart()
        return await done

    async def drain(self) -> None:
        """Wait until every part that was submitted has its answer."""
        while self._tasks or self._waiting:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._waiting:
                await asyncio.sleep(max(0.0, self._due() - asyncio.get_running_loop().time()))

    def _all_are_there(self) -> bool:
        """Whether as many parts wait as there were lately together with those under way, so that nobody is left to come.

        Only soon after an answer: those who wait for one are back then, and later parts come from others, of whom there may be any number.
        """
        return len(self._waiting) >= self._crowd and asyncio.get_running_loop().time() <= self._answered + self._pace.return_s

    def _is_enough(self) -> bool:
        return self._rows_waiting >= self._pace.enough_rows or self._bytes_waiting >= self._pace.enough_bytes

    def _gains_by_waiting(self) -> bool:
        """Whether the next block would cost less per row for being larger; that of a part with an id of its own stays what it is."""
        return self._rows_waiting < LARGE_ROWS and not self._is_enough() and self._waiting[0].batch_id is None

    def _may_fly(self) -> bool:
        return self._flights == 0 or (self._flights < MAX_FLIGHTS and not self._gains_by_waiting())

    def _due(self) -> float:
        if self._all_are_there() or self._is_enough():
            return self._soonest
        return max(self._next_departure, self._back_by) if self._gains_by_waiting() else self._next_departure

    def _depart(self) -> None:
        loop = asyncio.get_running_loop()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._waiting and self._may_fly():
            now = loop.time()
            due = self._due()
            if now < due:
                self._alarm, self._alarm_at = loop.call_at(due, self._depart), due
                return
            # Fewer with each block, so that clients that went away are not waited for much longer.
            self._crowd = max(self._crowd - 1 - self._crowd // 8, len(self._waiting) + self._flying)
            group = self._take()
            rows = sum(waiting.part.rows for waiting in group)
            self._rows_waiting -= rows
            self._bytes_waiting -= sum(waiting.part.size for waiting in group)
            self._soonest = _after(self._pace.s_per_block)
            self._next_departure = _after(self._pace.after(rows))
            self._flights += 1
            self._flying += len(group)
            task = loop.create_task(self._fly(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take(self) -> list[_Waiting[P]]:
        if self._waiting[0].batch_id is not None:
            return [self._waiting.pop(0)]
        rows = size = count = 0
        for waiting in self._waiting:
            if waiting.batch_id is not None:
                break
            rows += waiting.part.rows
            size += waiting.part.size
            if count and (rows > self._settings.block_max_rows or size > self._settings.block_max_bytes):
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _fly(self, group: list[_Waiting[P]]) -> None:
        started = self._clock.monotonic()
        try:
            batch_id = group[0].batch_id or str(uuid7(self._clock.now_us()))
            position = await self._publisher.publish(self._assemble([waiting.part for waiting in group], batch_id))
        except Exception as error:  # every waiting request must get its answer, whatever went wrong
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
        else:
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.set_result(position)
        finally:
            self._flights -= 1
            self._flying -= len(group)
            # Those who have their answer now get as long to come again as it took: where a block is slow to be acknowledged, they are slow too.
            took = min(self._clock.monotonic() - started, self._pace.return_s)
            self._back_by = _after(took)
            self._answered = asyncio.get_running_loop().time()
            self._depart()


def _after(seconds: float) -> float:
    """So long from now, on the event loop's clock; in whole milliseconds, since an alarm between two of them rings early, again and again until it is due."""
    now = asyncio.get_running_loop().time()
    return math.ceil((now + seconds) * 1_000) / 1_000 if seconds else now
