"""The high-water mark of each partition, kept in ClickHouse beside the data it vouches for."""

import datetime as dt
from dataclasses import dataclass

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from schemas.blocks import Block
from streams.readers import ledger as reader
from streams.rows import insert_rows

_TIME = "%Y-%m-%d %H:%M:%S.%f"


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

    def __init__(self, clickhouse: ClickHouse, generation: str, clock: Clock) -> None:
        self._clickhouse = clickhouse
        self._generation = generation
        self._clock = clock

    async def high_water_mark(self, topic: str, partition: int) -> int:
        """Highest offset recorded for the partition's log, -1 when none. Raises ClickHouseError."""
        return await reader.high_water_mark(self._clickhouse, topic, partition, self._generation)

    async def record(self, entries: list[Entry]) -> None:
        """Write entries; once this returns, replays of their offsets are skipped. Raises ClickHouseError; repeating is safe."""
        now = sql_time(self._clock.now_us())
        rows = [
            {
                "topic": e.topic, "partition": e.partition, "generation": self._generation, "offset": e.offset, "batch_id": e.batch_id, "rows": e.rows,
                "outcome": e.outcome, "born": sql_time(e.born_us), "stored": now, "subjects": e.subjects,
            }
            for e in entries
        ]  # fmt: skip
        token = "-".join(f"{e.topic}:{e.partition}:{e.offset}" for e in entries[:1] + entries[-1:])
        await insert_rows(self._clickhouse, "ledger", rows, token=f"ledger/{self._generation}/{token}/{len(entries)}/{now}")
