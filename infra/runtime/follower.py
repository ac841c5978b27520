"""Follows a compacted topic from its first record on, for ever."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from infra.runtime.partitions import partitions_of

log = structlog.get_logger()

OnRecord = Callable[[bytes, bytes], None]
"""Gets key and value; the value of a Kafka tombstone is empty. Called in offset order per partition."""

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0
POLL_MS = 1_000
CHECK_S = 5.0
"""How often a quiet follower asks whether it is really at the end."""
REQUEST_TIMEOUT_MS = 10_000


class CompactedFollower:
    """Reads a whole compacted topic without a consumer group, then every new record within milliseconds.

    Reconnects by itself and goes on where it was; nothing is skipped and, within one life, nothing is repeated unless
    the topic was replaced. Knows nothing of what the records mean.
    """

    def __init__(self, bootstrap: str, topic: str, on_record: OnRecord) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._on_record = on_record
        self._positions: dict[TopicPartition, int] = {}
        self._wanted: dict[TopicPartition, int] | None = None
        self._caught_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.records = 0
        """Records handed on."""
        self.refused = 0
        """Records that `on_record` raised for; each was logged and left."""
        self.problem: str | None = None
        """Why nothing is being read at the moment; None when all is well."""

    async def start(self) -> None:
        """Begins to follow in a task of this loop. Returns at once; waits for no broker."""
        if self._task is None:
            self._task = asyncio.create_task(self.run(), name=f"follow {self._topic}")

    async def stop(self) -> None:
        """Stops following; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def caught_up(self, at_most_s: float | None = None) -> None:
        """Returns when every record that stood on the topic at the first connection was handed on, or when so many seconds have passed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._caught_up.wait(), at_most_s)

    @property
    def is_caught_up(self) -> bool:
        return self._caught_up.is_set()

    async def run(self) -> None:
        """Follows until cancelled. `start` runs this in a task; call one of the two."""
        pause = RETRY_FIRST_S
        while True:
            before = self.records
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001
                # A consumer that failed in an unknown way is replaced; the positions are ours.
                problem = f"{type(error).__name__}: {error}"
                if problem != self.problem:
                    log.warning("topic cannot be followed at the moment", topic=self._topic, problem=problem)
                self.problem = problem
            pause = RETRY_FIRST_S if self.records > before else min(pause * 2, RETRY_MAX_S)
            await asyncio.sleep(pause)

    async def _follow(self) -> None:
        partitions = await partitions_of(self._bootstrap, self._topic, REQUEST_TIMEOUT_MS)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            client_id="millstream-follower",
        )
        try:
            await consumer.start()
            await self._assign(consumer, partitions)
            self.problem = None
            await self._read(consumer, partitions)
        finally:
            await consumer.stop()

    async def _assign(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        if any(position > ends[partition] for partition, position in self._positions.items() if partition in ends):
            log.warning("topic was replaced, reading it from the beginning", topic=self._topic)
            self._positions.clear()
        if self._wanted is None:
            self._wanted = dict(ends)
        fresh = [partition for partition in partitions if partition not in self._positions]
        if fresh:
            await consumer.seek_to_beginning(*fresh)
        for partition, position in self._positions.items():
            consumer.seek(partition, position)

    async def _read(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        loop = asyncio.get_running_loop()
        checked, behind = loop.time(), False
        while True:
            if not self.is_caught_up:
                await self._judge(consumer, partitions)
            batches = await consumer.getmany(timeout_ms=POLL_MS)
            for partition, records in batches.items():
                for record in records:
                    self._hand_on(record)
                    self._positions[partition] = record.offset + 1
            if batches:
                checked, behind = loop.time(), False
            elif loop.time() - checked >= CHECK_S:
                ends = await consumer.end_offsets(partitions)
                short = any([await consumer.position(partition) != ends[partition] for partition in partitions])
                if short and behind:
                    raise ConnectionError("records are waiting but none arrive")
                checked, behind = loop.time(), short

    async def _judge(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        # The consumer's position, not the last record's offset: compaction may have removed what stood before the end.
        for partition in partitions:
            if await consumer.position(partition) < (self._wanted or {}).get(partition, 0):
                return
        self._caught_up.set()

    def _hand_on(self, record: ConsumerRecord) -> None:
        try:
            self._on_record(record.key or b"", record.value or b"")
        except Exception as error:  # noqa: BLE001
            self.refused += 1
            # Without a traceback: its local variables would put the record, which may be confidential, into the log.
            log.error("record refused", topic=self._topic, partition=record.partition, offset=record.offset, problem=f"{type(error).__name__}: {error}")
        self.records += 1
