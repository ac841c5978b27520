"""Blocks onto Kafka."""

from infra.runtime.producer import Producer
from ingest import metrics
from schemas.blocks import Block


class Publisher:
    """Publishes blocks through the process's producer."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def publish(self, block: Block) -> str:
        """Send one block and return its position once `acks=all` is met. Raises Unavailable and TooLarge like `Producer.send`."""
        try:
            place = await self._producer.send(block.topic.name, block.body, headers=block.headers())
        except Exception:
            metrics.ITEMS.labels(block.topic.name, "refused").inc(block.rows)
            raise
        metrics.ITEMS.labels(block.topic.name, "acknowledged").inc(block.rows)
        return str(place)

    async def send(self, topic: str, value: bytes, *, key: bytes | None = None, headers: list[tuple[str, bytes]] | None = None) -> str:
        """Like `publish`, for records that are not blocks."""
        return str(await self._producer.send(topic, value, key=key, headers=headers or ()))
