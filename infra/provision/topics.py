"""Topics as declared, compared with the broker's and created where they are missing."""

from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from infra.runtime.errors import Unavailable
from infra.runtime.settings import KafkaSettings
from schemas.topics import TOPICS, Topic


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
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap.split(","))
    await admin.start()
    try:
        found = {item["topic"]: len(item["partitions"]) for item in await admin.describe_topics() if not item["error_code"]}
    finally:
        await admin.close()
    return [TopicDifference(t, found.get(t.name, 0), partitions_of(t, settings)) for t in TOPICS if found.get(t.name, 0) < partitions_of(t, settings)]


async def apply(settings: KafkaSettings, wanted: list[TopicDifference]) -> None:
    """Create and extend topics; repeating is safe. Raises Unavailable naming the topic the broker refused."""
    if not wanted:
        return
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap.split(","))
    await admin.start()
    try:
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
    finally:
        await admin.close()
