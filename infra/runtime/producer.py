"""Records onto Kafka: acknowledged by every in-sync replica or not at all."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from infra.runtime.errors import TooLarge, Unavailable
from infra.runtime.settings import KafkaSettings

_LATE = 15_000
"""How long, in milliseconds, the client library itself goes on trying a record after the caller was told 503."""


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


class Producer:
    """An idempotent producer with `acks=all`. One per process; safe to share between tasks."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Does not raise when Kafka is away: connecting goes on in the background and `send` raises until then."""
        self._starting = asyncio.create_task(self._connect())
        await asyncio.wait({self._starting}, timeout=self._settings.request_timeout_ms / 1000)

    async def stop(self) -> None:
        """Send what is buffered and disconnect."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._producer is not None:
            await self._producer.stop()

    @property
    def connected(self) -> bool:
        """Whether the producer has ever reached a broker."""
        return self._producer is not None

    async def send(self, topic: str, value: bytes, *, key: bytes | None = None, headers: Sequence[tuple[str, bytes]] = ()) -> Place:
        """Send one record and return its place once `acks=all` is met.

        Raises Unavailable within the request timeout when the acknowledgement does not come, and TooLarge when no broker
        would take the record. After Unavailable the producer goes on trying the same record with the same sequence number
        for a while, so a late success stores it once.
        """
        if self._producer is None:
            raise Unavailable("Kafka cannot be reached. Nothing was stored; try again.", retry_after_s=1)
        try:
            async with asyncio.timeout(self._settings.request_timeout_ms / 1000):
                sent = await (await self._producer.send(topic, value, key=key, headers=list(headers)))
        except MessageSizeTooLargeError as error:
            raise TooLarge(f"The record is over the limit of {self._settings.max_message_bytes} bytes. Send smaller batches.") from error
        except (KafkaError, TimeoutError) as error:
            raise Unavailable("Kafka did not acknowledge in time. Send the same request again.", retry_after_s=1) from error
        return Place(topic, sent.partition, sent.offset)

    async def _connect(self) -> None:
        delay = 0.1
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._settings.bootstrap.split(","),
                acks="all",
                enable_idempotence=True,
                max_request_size=self._settings.max_message_bytes,
                max_batch_size=1_048_576,
                linger_ms=0,
                request_timeout_ms=_LATE,
                metadata_max_age_ms=60_000,
            )
            try:
                await producer.start()
            except (KafkaError, OSError):
                await producer.stop()
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)
            else:
                self._producer = producer
                return
