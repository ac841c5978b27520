"""The Kafka door: what the Collector's kafkaexporter writes (`otlp_proto`) becomes blocks like everything else."""

import asyncio
import uuid

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from infra.runtime.errors import InvalidArgument, MillstreamError, TooLarge
from infra.runtime.settings import Settings
from ingest.otlp import OtlpLanes
from ingest.otlp_read import METRICS, RECORDS, TRACES
from ingest.publish import Publisher
from schemas.topics import DEAD_LETTERS, OTLP_LOGS, OTLP_METRICS, OTLP_SPANS

_log = structlog.get_logger()
_SIGNALS = {OTLP_SPANS.name: TRACES, OTLP_METRICS.name: METRICS, OTLP_LOGS.name: RECORDS}
_NAMESPACE = uuid.UUID("b4c7a4a8-53a5-5d1b-9a5e-7a3f6a1c2d90")
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class KafkaBridge:
    """Reads the door topics in one consumer group and commits an offset only after its record is acknowledged on the raw topic.

    Every record goes to the default tenant, its project from the resource. A record that is taken twice, after a crash
    between acknowledgement and commit, has the same batch id both times and is stored once.
    """

    def __init__(self, settings: Settings, publisher: Publisher, lanes: OtlpLanes) -> None:
        self._settings = settings
        self._publisher = publisher
        self._lanes = lanes

    async def run(self) -> None:
        """Read until cancelled. Kafka or the topics being away is waited out."""
        attempt = 0
        while True:
            try:
                await self._consume()
            except KafkaError as error:
                _log.warning("Kafka door waits for Kafka", error=str(error))
            await asyncio.sleep(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])
            attempt += 1

    async def _consume(self) -> None:
        kafka = self._settings.kafka
        consumer = AIOKafkaConsumer(
            *_SIGNALS,
            bootstrap_servers=kafka.bootstrap.split(","),
            group_id=f"{self._settings.streams.app_id}-bridge",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=kafka.max_message_bytes,
            session_timeout_ms=int(kafka.session_timeout_s * 1000),
            heartbeat_interval_ms=int(kafka.session_timeout_s * 300),
            rebalance_timeout_ms=int(kafka.rebalance_timeout_s * 1000),
        )
        try:
            await consumer.start()
            while True:
                fetched = await consumer.getmany(timeout_ms=1_000, max_records=200)
                # Partitions are taken side by side and the records of one in order, so that an offset never passes an unfinished record.
                done = await asyncio.gather(*(self._partition(consumer, place, records) for place, records in fetched.items()))
                offsets = {place: offset for place, offset in done if place in consumer.assignment()}
                if offsets:
                    await consumer.commit(offsets)
        finally:
            await consumer.stop()

    async def _partition(self, consumer: AIOKafkaConsumer, place: TopicPartition, records: list["ConsumerRecord[bytes, bytes]"]) -> tuple[TopicPartition, int]:
        # Submitted together, records of one partition travel side by side; all are acknowledged before the offset moves.
        await asyncio.gather(*(self.take(record) for record in records))
        return place, records[-1].offset + 1

    async def take(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        """Store one record, or put it on the dead letters when it cannot be read; repeated without limit until Kafka acknowledges."""
        attempt = 0
        origin = f"{record.topic}:{record.partition}:{record.offset}"
        while True:
            try:
                await self._take_once(record, origin)
            except MillstreamError as error:
                pause = _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]
                _log.warning("Kafka door repeats a record", origin=origin, error=error.message, pause_s=pause)
                await asyncio.sleep(pause)
                attempt += 1
            else:
                return

    async def _take_once(self, record: "ConsumerRecord[bytes, bytes]", origin: str) -> None:
        signal = _SIGNALS[record.topic]
        body = record.value or b""
        batch_id = str(uuid.uuid5(_NAMESPACE, origin))
        try:
            reading, _ = await self._lanes.store(signal, body, self._settings.default_tenant, batch_id=batch_id)
        except (InvalidArgument, TooLarge) as error:
            await self._bury(record, origin, error.message)
            return
        if reading.refused:
            await self._bury(record, origin, f"partly: {reading.reason}")

    async def _bury(self, record: "ConsumerRecord[bytes, bytes]", origin: str, reason: str) -> None:
        headers = [
            *record.headers,
            ("ms-tenant", self._settings.default_tenant.encode()),
            ("ms-reason", reason[:2_000].encode()),
            ("ms-origin-topic", record.topic.encode()),
            ("ms-origin-partition", str(record.partition).encode()),
            ("ms-origin-offset", str(record.offset).encode()),
        ]
        await self._publisher.send(DEAD_LETTERS.name, record.value or b"", key=record.topic.encode(), headers=headers)
        _log.warning("Kafka door set a record aside", origin=origin, reason=reason)
