"""The sink: one block, one INSERT, the bytes unchanged."""

import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import structlog

from infra.runtime.clickhouse import ClickHouse, ClickHouseError
from infra.runtime.clock import Clock
from infra.runtime.errors import MillstreamError
from infra.runtime.producer import Producer
from infra.runtime.settings import Settings
from schemas.avro import Mark, encode_mark
from schemas.blocks import Block, MalformedBlock
from schemas.otlp_repair import repair
from schemas.tables.table import Table
from schemas.topics import Topic
from streams import metrics
from streams.dead_letters import DeadLetters
from streams.failpoints import passing
from streams.ledger import Entry, Ledger
from streams.pace import Pace
from streams.retrying import until_done

_log = structlog.get_logger()
_T = TypeVar("_T")

INSERT_SETTINGS = {
    "async_insert": "0",
    "insert_deduplicate": "1",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    "max_insert_block_size": "1048449",
    "min_insert_block_size_rows": "1048449",
    "min_insert_block_size_bytes": "1073741824",
    "input_format_parallel_parsing": "0",
    "max_threads": "1",
    "max_insert_threads": "1",
}
"""Sent with every INSERT, first try and retries alike: servers differ in their defaults, and equal blocks need equal settings."""


class Record(Protocol):
    """What the sink needs of a Kafka record."""

    topic: str
    partition: int
    offset: int
    headers: list[tuple[str, bytes]] | None
    value: bytes | None


class Reader(Protocol):
    """What the sink needs of whoever reads Kafka for it."""

    async def earliest(self, topic: str, partition: int) -> int:
        """The first offset that Kafka still holds of a partition."""
        ...

    async def go_back(self, topic: str, partition: int, offset: int) -> None:
        """Read a partition from this offset on."""
        ...


class Revoked(Exception):
    """The partition went to another worker; the record is its business now."""


class Sink:
    """Stores the blocks of one raw topic.

    For each block, in this order:
      1. INSERT, repeated with the same bytes and the same token until ClickHouse acknowledges it or calls it malformed;
      2. marks for the agents whose windows it touches, acknowledged by Kafka;
      3. the ledger entry, which is the high-water mark;
      4. the Kafka offset, by the caller's acknowledgement.
    A crash between any two repeats steps that are safe to repeat.
    """

    def __init__(
        self, topic: Topic, table: Table, marks: Topic | None, clickhouse: ClickHouse, producer: Producer, ledger: Ledger, dead: DeadLetters,
        settings: Settings, clock: Clock, pace: Pace, owned: Callable[[str, int], bool], reader: Reader,
    ) -> None:  # fmt: skip
        """`owned` says whether a partition is this worker's."""
        if table.feed is None:
            raise ValueError(f"{table.name} has no feed")
        self._feed = table.feed
        self._topic = topic
        self._table = table
        self._marks = marks
        self._clickhouse = clickhouse
        self._producer = producer
        self._ledger = ledger
        self._dead = dead
        self._settings = settings
        self._clock = clock
        self._pace = pace
        self._owned = owned
        self._reader = reader
        self._high: dict[int, int] = {}
        self._epoch = 0

    def forget(self) -> None:
        """Partitions were taken away or given: read the high-water marks again before the next block."""
        self._epoch += 1
        self._high.clear()

    async def store(self, record: Record, release: Callable[[], object]) -> None:
        """Bring one record to its end: stored, skipped because it was before, or buried. `release` is called when its offset may be committed.

        A record that comes before its turn is left alone, and reading goes on behind the high-water mark: it comes again after those that are missing.
        Blocks as long as ClickHouse or Kafka are away, but not for the ledger, which is written for several blocks at once. Raises
        Revoked when the partition is no longer this worker's.
        """
        epoch = self._epoch
        high = self._high.get(record.partition)
        if high is None:
            high = await self._persist(record, lambda: self._ledger.high_water_mark(record.topic, record.partition))
            self._passed(record, epoch, high)
        if record.offset <= high:
            metrics.BLOCKS.labels(self._topic.name, "skipped").inc()
            release()
            return
        if record.offset > high + 1 and await self._is_early(record, high):
            return
        try:
            block = Block.from_record(record.topic, record.headers, record.value)
        except MalformedBlock as error:
            await self._bury(record, str(error), "", 0, release)
            self._passed(record, epoch, record.offset)
            return
        with self._pace.storing(block.born_us):
            reason = await self._insert(record, block)
        if reason:
            await self._bury(record, reason, block.batch_id, block.rows, release)
            self._passed(record, epoch, record.offset)
            return
        passing("inserted")
        await self._persist(record, lambda: self._mark(record, block))
        self._ledger.record(Entry.stored(block, record.partition, record.offset), release)
        self._passed(record, epoch, record.offset)
        self._dead.stored()
        metrics.BLOCKS.labels(self._topic.name, "stored").inc()
        metrics.ROWS.labels(self._topic.name).inc(block.rows)
        metrics.FRESHNESS.labels(self._topic.name).observe(max(0.0, (self._clock.now_us() - block.born_us) / 1e6))

    def _passed(self, record: Record, epoch: int, high: int) -> None:
        """Remember the high-water mark, unless partitions moved meanwhile: what was begun before may end beside what is read again."""
        if epoch == self._epoch:
            self._high[record.partition] = high

    async def _is_early(self, record: Record, high: int) -> bool:
        """Whether Kafka holds records between the high-water mark and this one; reading then goes back to them. Otherwise it dropped them."""
        place, missing = {"topic": record.topic, "partition": record.partition}, record.offset - high - 1
        earliest = await self._persist(record, lambda: self._reader.earliest(record.topic, record.partition))
        if earliest >= record.offset:
            _log.error("Kafka dropped blocks before they were stored", **place, lost=missing)
            metrics.LOST.labels(self._topic.name).inc(missing)
            return False
        _log.warning("going back to blocks that the ledger does not know", **place, offset=record.offset, missing=missing)
        metrics.WENT_BACK.labels(self._topic.name).inc()
        await self._persist(record, lambda: self._reader.go_back(record.topic, record.partition, max(high + 1, earliest)))
        return True

    async def _insert(self, record: Record, block: Block) -> str:
        """Insert until acknowledged; the reason when the block is malformed instead."""
        statement = self._feed.insert(self._table.name, record.partition, record.offset)
        settings = {**INSERT_SETTINGS, **self._feed.settings, "insert_deduplication_token": block.batch_id}
        refusals: list[str] = []
        body, encoding = block.body, block.encoding

        async def attempt() -> None:
            nonlocal body, encoding
            started = time.perf_counter()
            passing("inserting")
            try:
                await self._clickhouse.insert_bytes(statement, body, settings, encoding=encoding, timeout=self._settings.clickhouse.insert_timeout_s)
            except ClickHouseError as error:
                if not error.poison:
                    raise
                refusals.append(str(error))
                if self._feed.format == "Protobuf" and len(refusals) == 1:
                    with contextlib.suppress(ValueError):
                        body, encoding = repair(block), ""
                if len(refusals) < self._settings.streams.poison_attempts:
                    raise
            else:
                refusals.clear()
                metrics.INSERT_SECONDS.labels(self._topic.name).observe(time.perf_counter() - started)

        await self._persist(record, attempt)
        return refusals[-1] if refusals else ""

    async def _mark(self, record: Record, block: Block) -> None:
        if self._marks is None:
            return
        for touched in block.touched:
            mark = Mark(
                tenant=touched.tenant, subject=touched.subject, topic=record.topic, partition=record.partition, offset=record.offset, batch_id=block.batch_id,
                minutes=touched.minutes, units=touched.units, rows=block.rows, keyed=touched.keyed, produced_at_us=block.born_us,
            )  # fmt: skip
            key = f"{mark.tenant}/{mark.subject}" if self._marks.key == "tenant/experiment" else mark.tenant
            await self._producer.send(self._marks.name, encode_mark(mark), key=key.encode())

    async def _bury(self, record: Record, reason: str, batch_id: str, rows: int, release: Callable[[], object]) -> None:
        _log.error("block buried", topic=record.topic, partition=record.partition, offset=record.offset, reason=reason[:300])
        await self._persist(record, lambda: self._dead.bury(record.partition, record.offset, list(record.headers or ()), record.value or b"", reason))
        self._ledger.record(Entry(record.topic, record.partition, record.offset, batch_id, rows, "dead", self._clock.now_us(), ()), release)
        metrics.BLOCKS.labels(self._topic.name, "dead").inc()

    async def _persist(self, record: Record, step: Callable[[], Awaitable[_T]]) -> _T:
        """Repeat a step until it succeeds. Raises Revoked when the partition is no longer this worker's."""

        async def while_owned() -> _T:
            if not self._owned(record.topic, record.partition):
                raise Revoked
            try:
                return await step()
            except (ClickHouseError, MillstreamError, OSError):
                metrics.RETRIES.labels(self._topic.name).inc()
                raise

        return await until_done(
            while_owned, self._settings.streams, "block not stored yet", topic=record.topic, partition=record.partition, offset=record.offset
        )
