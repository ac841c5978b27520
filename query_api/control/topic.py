"""The control topic as the outbox writes it."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from infra.runtime.partitions import partitions_of
from schemas.avro import encode_control
from schemas.definition_kinds import ControlRecord


class ControlTopic(Protocol):
    """Where control records go."""

    async def open(self) -> None:
        """Connects. Raises when that is not possible; may be called again after `close`."""
        ...

    async def empty(self) -> bool:
        """Whether the topic never held a record."""
        ...

    async def send(self, records: Sequence[ControlRecord]) -> None:
        """Writes the records in order; returns when all are acknowledged by every in-sync replica. When it raises, any of
        them may have been written."""
        ...

    async def close(self) -> None:
        """Disconnects; idempotent, never raises."""
        ...


class KafkaControlTopic:
    """The compacted topic on Kafka: key `kind/tenant/id`, value Avro. A deletion is a record with `deleted` set, not a
    Kafka tombstone, so that its version is kept too."""

    def __init__(self, bootstrap: str, topic: str, request_timeout_ms: int = 5_000) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._timeout_ms = request_timeout_ms
        self._producer: AIOKafkaProducer | None = None

    async def open(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            # An idempotent producer of this library retries for ever and cannot be stopped while the broker is away. One
            # batch per partition is in flight at a time, so the order holds without it, and repeats do no harm here.
            enable_idempotence=False,
            request_timeout_ms=self._timeout_ms,
            client_id="millstream-outbox",
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def empty(self) -> bool:
        partitions = await partitions_of(self._bootstrap, self._topic, self._timeout_ms)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, request_timeout_ms=self._timeout_ms, client_id="millstream-outbox")
        try:
            await consumer.start()
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            return not any(ends.values())
        finally:
            await consumer.stop()

    async def send(self, records: Sequence[ControlRecord]) -> None:
        if self._producer is None:
            raise RuntimeError("open() comes first")
        pending = [await self._producer.send(self._topic, encode_control(record), key=record.key) for record in records]
        answers = await asyncio.gather(*pending, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            # Stopping waits for what is still being sent, which with the broker away lasts until it expires.
            with contextlib.suppress(Exception):
                await asyncio.wait_for(producer.stop(), self._timeout_ms / 1_000 + 1)
