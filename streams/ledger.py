"""The high-water mark of each partition, kept in ClickHouse beside the data it vouches for."""

import datetime as dt
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from infra.runtime.settings import StreamSettings
from schemas.blocks import Block
from streams.failpoints import passing
from streams.readers import ledger as reader
from streams.retrying import until_done
from streams.rows import insert_rows
from streams.write_behind import WriteBehind

_TIME = "%Y-%m-%d %H:%M:%S.%f"


@functools.lru_cache(maxsize=1_024)
def sql_time(micros: int) -> str:
    """Microseconds since the epoch as ClickHouse reads them in JSON."""
    return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=micros)).strftime(_TIME)


@dataclass(frozen=True)
class Entry:
    """What became of one block."""

    topic: str
    partition: int
    offset: int
    batch_id: str
    rows: int
    outcome: str
    born_us: int
    subjects: tuple[str, ...]

    @classmethod
    def stored(cls, block: Block, partition: int, offset: int) -> "Entry":
        subjects = tuple(f"{touched.tenant}/{touched.subject}" for touched in block.touched)
        return cls(block.topic.name, partition, offset, block.batch_id, block.rows, "stored", block.born_us, subjects)


class Ledger:
    """Reads high-water marks when a partition is taken over, and records every block that left its topic."""

    def __init__(self, clickhouse: ClickHouse, generation: str, settings: StreamSettings, clock: Clock) -> None:
        self._clickhouse = clickhouse
        self._generation = generation
        self._settings = settings
        self._clock = clock
        self._behind = WriteBehind(self._write_all)

    async def high_water_mark(self, topic: str, partition: int) -> int:
        """Highest offset recorded for the partition's log, -1 when none. Raises ClickHouseError."""
        return await reader.high_water_mark(self._clickhouse, topic, partition, self._generation)

    def record(self, entry: Entry, release: Callable[[], object]) -> None:
        """Write the entry as soon as the write before it is done, together with what came meanwhile, and then call `release`.

        Returns at once. Entries are written in the order they came, so a partition's mark never passes one that is missing.
        Goes on trying while ClickHouse is away.
        """
        self._behind.add(entry, release)

    async def drain(self) -> None:
        """Wait until everything recorded so far is written."""
        await self._behind.drain()

    async def _write_all(self, entries: Sequence[Entry]) -> None:
        await until_done(functools.partial(self._write, entries), self._settings, "ledger not written yet", blocks=len(entries))
        passing("recorded")

    async def _write(self, entries: Sequence[Entry]) -> None:
        now = sql_time(self._clock.now_us())
        rows = [
            {
                "topic": e.topic, "partition": e.partition, "generation": self._generation, "offset": e.offset, "batch_id": e.batch_id, "rows": e.rows,
                "outcome": e.outcome, "born": sql_time(e.born_us), "stored": now, "subjects": e.subjects,
            }
            for e in entries
        ]  # fmt: skip
        token = "-".join(f"{e.topic}:{e.partition}:{e.offset}" for e in (entries[0], entries[-1]))
        await insert_rows(self._clickhouse, "ledger", rows, token=f"ledger/{self._generation}/{token}/{len(entries)}/{now}")
