"""Topics as declared, compared with the broker's and created where they are missing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import NodeNotReadyError, TopicAlreadyExistsError, for_code

from infra.runtime.errors import Unavailable
from infra.runtime.settings import KafkaSettings
from schemas.topics import TOPICS, Topic

_PATIENCE_S = 15.0
_PAUSE_S = 0.2


@dataclass(frozen=True)
class TopicDifference:
    """What one topic lacks."""

    topic: Topic
    partitions_now: int
    """0 when the topic does not exist."""
    partitions_wanted: int

    def __str__(self) -> str:
        if not self.partitions_now:
            return f"create topic {self.topic.name} with {self.partitions_wanted} partition{'s' if self.partitions_wanted > 1 else ''}"
        return f"raise partitions of topic {self.topic.name} from {self.partitions_now} to {self.partitions_wanted}"


def partitions_of(topic: Topic, settings: KafkaSettings) -> int:
    """Partitions a topic is to have."""
    return 1 if topic.single_partition else settings.partitions


def config_of(topic: Topic, settings: KafkaSettings) -> dict[str, str]:
    """Broker configuration of a topic."""
    config = {"max.message.bytes": str(settings.max_message_bytes), "min.insync.replicas": str(settings.min_insync_replicas)}
    if topic.compacted:
        # A segment is compacted only once it is closed, and a follower reads all of the open one when it starts.
        return {**config, "cleanup.policy": "compact", "segment.ms": "3600000"}
    return {**config, "retention.ms": str(settings.retention_hours * 3_600_000)}


async def differences(settings: KafkaSettings) -> list[TopicDifference]:
    """What the broker lacks; more partitions than wanted are left as they are. Raises KafkaError when it cannot be reached."""
    async with _admin(settings) as admin:
        found = {item["topic"]: len(item["partitions"]) for item in await admin.describe_topics() if not item["error_code"]}
    return [TopicDifference(t, found.get(t.name, 0), partitions_of(t, settings)) for t in TOPICS if found.get(t.name, 0) < partitions_of(t, settings)]


async def apply(settings: KafkaSettings, wanted: list[TopicDifference]) -> None:
    """Create and extend topics; repeating is safe. Raises Unavailable naming the topic the broker refused."""
    if not wanted:
        return
    async with _admin(settings) as admin:
        new = [
            NewTopic(d.topic.name, d.partitions_wanted, settings.replication, topic_configs=config_of(d.topic, settings))
            for d in wanted
            if not d.partitions_now
        ]
        if new:
            answer = await admin.create_topics(new, timeout_ms=15_000)
            for name, code, *message in answer.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise Unavailable(f"The broker refused to create topic {name}: {message[0] if message else for_code(code).__name__}")
        grown = {d.topic.name: NewPartitions(d.partitions_wanted) for d in wanted if d.partitions_now}
        if grown:
            await admin.create_partitions(grown)


@asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that has a broker to ask: one that has just started, or that a busy machine kept from saying so, is waited for."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap.split(","))
        await admin.start()
        try:
            await admin.describe_cluster()
            break
        except NodeNotReadyError:
            # A client that was told of no broker asks again only minutes later, so the next try is a new one's.
            await admin.close()
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_PAUSE_S)
        except BaseException:
            await admin.close()
            raise
    try:
        yield admin
    finally:
        await admin.close()
