"""Writes of the query service that travel the flow: rows become a block, Kafka acknowledges it, the sink stores it.

Only what needs a look at stored data before it can be answered is written here; everything else comes through the doors of ingest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.runtime.clock import Clock, uuid7
from infra.runtime.producer import Producer
from query_api.freshness import Freshness, Wait
from schemas.blocks import Block
from schemas.position import Positions
from schemas.row_block import row_block
from schemas.topics import Topic

MAX_ROWS = 10_000
"""Rows of one block."""


class BlockWriter:
    """Publishes blocks of rows. One per process; safe to share between tasks."""

    def __init__(self, producer: Producer, freshness: Freshness, clock: Clock, visible_timeout_s: float) -> None:
        self._producer = producer
        self._freshness = freshness
        self._clock = clock
        self._visible_timeout_s = visible_timeout_s

    async def write(self, topic: Topic, rows: Sequence[Mapping[str, Any]]) -> Positions:
        """Store rows of the topic's table, a raw one fed by Arrow blocks; times are whole numbers in the unit of their column.

        Returns the positions once `acks=all` is met. Raises Unavailable when that does not happen in time; then the caller may send the
        same rows again, and those that were stored replace themselves.
        """
        reached: dict[str, int] = {}
        for start in range(0, len(rows), MAX_ROWS):
            now = self._clock.now_us()
            reached |= await self.publish(row_block(topic, rows[start : start + MAX_ROWS], str(uuid7(now)), now))
        return reached

    async def publish(self, block: Block) -> Positions:
        """Publish one block; returns its position once `acks=all` is met. Raises Unavailable and TooLarge like `Producer.send`."""
        place = await self._producer.send(block.topic.name, block.body, headers=block.headers())
        return {f"{place.topic}:{place.partition}": place.offset}

    async def visible(self, positions: Positions) -> Positions:
        """Returns the watermark once reads see these positions. Raises NotVisibleYet when that takes too long; what was written stays written."""
        return await self._freshness.raw(Wait(positions, self._visible_timeout_s))
