"""Writes of the query service that travel the flow: rows become a block, Kafka acknowledges it, the sink stores it.

Only what needs a look at stored data before it can be answered is written here; everything else comes through the doors of ingest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from infra.runtime.clock import Clock, uuid7
from infra.runtime.producer import Producer
from query_api.freshness import Freshness, Wait
from schemas.arrow_stream import stream
from schemas.blocks import Block
from schemas.position import Positions
from schemas.tables.catalog import FED
from schemas.topics import Topic

_ARROW: dict[str, pa.DataType] = {
    "Int32": pa.int32(),
    "UInt8": pa.uint8(),
    "Float64": pa.float64(),
    "String": pa.string(),
    "DateTime64(6, 'UTC')": pa.timestamp("us", "UTC"),
    "DateTime64(9, 'UTC')": pa.timestamp("ns", "UTC"),
}
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
            reached |= await self.publish(self._block(topic, rows[start : start + MAX_ROWS]))
        return reached

    async def publish(self, block: Block) -> Positions:
        """Publish one block; returns its position once `acks=all` is met. Raises Unavailable and TooLarge like `Producer.send`."""
        place = await self._producer.send(block.topic.name, block.body, headers=block.headers())
        return {f"{place.topic}:{place.partition}": place.offset}

    async def visible(self, positions: Positions) -> Positions:
        """Returns the watermark once reads see these positions. Raises NotVisibleYet when that takes too long; what was written stays written."""
        return await self._freshness.raw(Wait(positions, self._visible_timeout_s))

    def _block(self, topic: Topic, rows: Sequence[Mapping[str, Any]]) -> Block:
        columns = {column.name: pa.array([row[column.name] for row in rows], _arrow(column.type)) for column in FED[topic.name].columns}
        now = self._clock.now_us()
        return Block(topic, str(uuid7(now)), f"{topic.name}/1", len(rows), stream(columns), now, now, now)


def _arrow(kind: str) -> pa.DataType:
    for wrapper in ("LowCardinality(", "Nullable("):
        if kind.startswith(wrapper):
            return _arrow(kind.removeprefix(wrapper).removesuffix(")"))
    return _ARROW[kind]
