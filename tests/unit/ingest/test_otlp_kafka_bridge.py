"""The Kafka door's handling of one record; reading and committing is tested against a real broker."""

from typing import Any

from aiokafka import ConsumerRecord

from infra.runtime.settings import Settings
from ingest.kafka_bridge import KafkaBridge
from tests.unit.ingest.otlp_support import Published, lanes, traces


def record(value: bytes, offset: int = 7, topic: str = "otlp_spans") -> "ConsumerRecord[bytes, bytes]":
    return ConsumerRecord(topic, 2, offset, 0, 0, None, value, None, 0, len(value), (("x", b"y"),))


def bridge(published: Published) -> KafkaBridge:
    publisher: Any = published
    return KafkaBridge(Settings(), publisher, lanes(published))


async def test_same_record_has_the_same_batch_id() -> None:
    published = Published()
    for _ in range(2):
        await bridge(published).take(record(traces(2).SerializeToString()))
    await bridge(published).take(record(traces(2).SerializeToString(), offset=8))
    ids = [block.batch_id for block in published.blocks]
    assert ids[0] == ids[1] != ids[2] and published.blocks[0].touched[0].tenant == "default"


async def test_undecodable_records_are_set_aside_with_origin() -> None:
    published = Published()
    await bridge(published).take(record(b"\x0a\xff"))
    ((topic, value, headers),) = published.sent
    assert (topic, value, published.blocks) == ("dead_letters", b"\x0a\xff", [])
    assert (headers["ms-origin-topic"], headers["ms-origin-partition"], headers["ms-origin-offset"], headers["x"]) == (b"otlp_spans", b"2", b"7", b"y")
    assert headers["ms-reason"]


async def test_bad_items_are_set_aside_and_good_ones_stored() -> None:
    published = Published()
    request = traces(2)
    request.resource_spans[0].scope_spans[0].spans[0].span_id = b""
    await bridge(published).take(record(request.SerializeToString()))
    assert published.blocks[0].rows == 1 and len(published.sent) == 1


async def test_record_is_repeated_until_kafka_acknowledges() -> None:
    published = Published()
    published.down = 2
    await bridge(published).take(record(traces().SerializeToString()))
    assert len(published.blocks) == 1
