"""Lag: how much of each raw topic is not stored yet."""

from typing import Any

from query_api.freshness import Freshness
from query_api.readers.broker import Broker
from query_api.surfaces.policy import Page
from schemas.topics import RAW, TOPICS


async def list_topics(broker: Broker, freshness: Freshness) -> Page:
    """Every declared topic with its partitions. Lag is counted in blocks, from the high-water mark of the ledger to the end
    of the partition; topics that no table is fed from have none. Raises Unavailable without Kafka or ClickHouse."""
    # The watermark first: what is stored in between makes the lag too large for a moment, never negative.
    watermark = await freshness.watermark()
    ends = await broker.ends([topic.name for topic in TOPICS])
    raw = {topic.name for topic in RAW}
    items = []
    for topic in TOPICS:
        partitions: list[dict[str, Any]] = []
        # Offsets come with the partitions of a topic in rising order.
        for place, end in ends.items():
            name, _, number = place.rpartition(":")
            if name == topic.name:
                stored = watermark.get(place, -1) + 1 if name in raw else None
                partitions.append({"partition": int(number), "end": end, "stored": stored, "lag": None if stored is None else max(0, end - stored)})
        lag = sum(partition["lag"] for partition in partitions) if topic.name in raw else None
        about = {"topic": topic.name, "holds": topic.holds.value, "meaning": topic.meaning, "exists": bool(partitions)}
        items.append({**about, "lag": lag, "partitions": partitions})
    return Page(items, None, watermark)
