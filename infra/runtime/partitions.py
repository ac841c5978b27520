"""The partitions of a topic, without making the topic by asking."""

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError


async def partitions_of(bootstrap: str, topic: str, request_timeout_ms: int = 10_000) -> list[TopicPartition]:
    """All partitions by number. Raises UnknownTopicOrPartitionError when the topic does not exist and another Kafka error
    when no broker answers.

    Asks for all topics, because a broker that creates topics by itself does so for one that is asked for by name.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=request_timeout_ms, client_id="millstream-partitions")
    try:
        await admin.start()
        for described in await admin.describe_topics():
            if described["topic"] == topic:
                return [TopicPartition(topic, number) for number in sorted(part["partition"] for part in described["partitions"])]
    finally:
        await admin.close()
    raise UnknownTopicOrPartitionError(f"topic {topic} does not exist; `millstream topics apply` creates it")
