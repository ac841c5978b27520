"""What the broker itself knows: where its topics end and who works on them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from infra.runtime.errors import Unavailable

_TIMEOUT_S = 3.0
T = TypeVar("T")


class Broker:
    """Asks Kafka; connects at the first question and again after a failure. Raises Unavailable within 3 s when it does
    not answer."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._lock = asyncio.Lock()

    async def ends(self, topics: Sequence[str]) -> dict[str, int]:
        """The offset the next record will get, by `topic:partition`; topics that do not exist are left out."""

        async def ask() -> dict[str, int]:
            # All topics are asked for, because asking for one by name might create it.
            described = {topic["topic"]: topic["partitions"] for topic in await (await self._administration()).describe_topics()}
            partitions = [TopicPartition(name, number) for name in topics for number in sorted(part["partition"] for part in described.get(name, ()))]
            ends = await (await self._at_rest(partitions)).end_offsets(partitions) if partitions else {}
            return {f"{place.topic}:{place.partition}": ends[place] for place in partitions}

        return await self._asked(ask)

    async def members(self, group: str) -> int:
        """How many workers are in a consumer group now."""

        async def ask() -> int:
            answers = await (await self._administration()).describe_consumer_groups([group])
            return sum(len(members) for answer in answers for (_, _, _, _, _, members, *_) in answer.groups)

        return await self._asked(ask)

    async def close(self) -> None:
        """Disconnects; idempotent."""
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if consumer is not None:
            await asyncio.gather(consumer.stop(), return_exceptions=True)
        if admin is not None:
            await asyncio.gather(admin.close(), return_exceptions=True)

    async def _administration(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, client_id="millstream-query", request_timeout_ms=3_000)
            await self._admin.start()
        return self._admin

    async def _at_rest(self, partitions: list[TopicPartition]) -> AIOKafkaConsumer:
        """A consumer that knows the leaders of the partitions and fetches nothing."""
        if self._consumer is None:
            self._consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, group_id=None, client_id="millstream-query", request_timeout_ms=3_000)
            await self._consumer.start()
        if self._consumer.assignment() != set(partitions):
            self._consumer.assign(partitions)
            self._consumer.pause(*partitions)
        return self._consumer

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        async with self._lock:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    return await ask()
            except Exception as error:
                # Whatever state the clients are in, new ones start clean.
                await self.close()
                raise Unavailable(f"Kafka does not answer: {error or type(error).__name__}", retry_after_s=1) from error
