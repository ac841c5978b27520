"""Records that cannot be stored: buried with their bytes and their origin while the rest flows, and too many stop the worker."""

import asyncio
import zlib

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from schemas.topics import EVENTS, TELEMETRY
from streams.fatal import TOO_MANY_DEAD
from tests.faults.load import Load
from tests.faults.oracle import assert_exact, drained
from tests.flow.stack import LiveStack
from tests.support import eventually


async def test_poison_is_buried_while_the_rest_flows(stack: LiveStack) -> None:
    async with Load(stack, "poison", pause_s=0.05) as load:
        await load.more(10)
        block = await _record(stack, await _position(stack))
        cut = (block.value or b"")[: len(block.value or b"") // 2]
        headers = {**dict(block.headers), "ms-batch": b"cut-in-half", "ms-crc": str(zlib.crc32(cut)).encode()}
        poison = [
            await _send(stack, EVENTS.name, b"garbage", {}),
            await _send(stack, EVENTS.name, cut, headers),
            await _send(stack, EVENTS.name, cut, {**headers, "ms-crc": b"1"}),
        ]
        await load.more(10)
    await assert_exact(stack, load.experiment, load.acknowledged)
    letters = {f"{letter['topic']}:{letter['partition']}:{letter['offset']}": letter for letter in await _letters(stack)}
    assert set(poison) <= letters.keys()
    assert "not a block" in letters[poison[0]]["reason"] and "checksum" in letters[poison[2]]["reason"]
    assert letters[poison[1]]["batch_id"] == "cut-in-half" and letters[poison[1]]["reason"]
    for place, original in zip(poison, (b"garbage", cut, cut), strict=True):
        letter = await _record(stack, letters[place]["letter"])
        named = dict(letter.headers)
        assert letter.value == original
        origin = ":".join(named[f"ms-origin-{part}"].decode() for part in ("topic", "partition", "offset"))
        assert origin == place and named["ms-reason"].decode() == letters[place]["reason"]
    assert dict((await _record(stack, letters[poison[1]]["letter"])).headers)["ms-batch"] == b"cut-in-half"


async def test_too_many_dead_letters_stop_the_worker(stack: LiveStack) -> None:
    places = [await _send(stack, TELEMETRY.name, b"garbage %d" % number, {}) for number in range(8)]
    await drained(stack, (TELEMETRY.name,))
    await asyncio.to_thread(stack.remove_worker, stack.workers[0])
    strict = stack.add_worker({"MILLSTREAM_STREAMS_DEAD_LETTER_MIN": "5"}, ready=False)
    places += [await _send(stack, TELEMETRY.name, b"one too many", {})]
    assert await asyncio.to_thread(stack.wait_end, strict) == TOO_MANY_DEAD
    assert "too many dead letters" in stack.log(strict)
    assert places[-1] not in {f"{letter['topic']}:{letter['partition']}:{letter['offset']}" for letter in await _letters(stack)}
    await asyncio.to_thread(stack.add_worker)
    await drained(stack, (TELEMETRY.name,))

    async def buried() -> bool:
        found = {f"{letter['topic']}:{letter['partition']}:{letter['offset']}" for letter in await _letters(stack)}
        return set(places) <= found

    await eventually(buried)


async def _send(stack: LiveStack, topic: str, value: bytes, headers: dict[str, bytes]) -> str:
    producer = AIOKafkaProducer(bootstrap_servers=stack.settings.kafka.bootstrap, acks="all")
    await producer.start()
    try:
        sent = await producer.send_and_wait(topic, value, headers=list(headers.items()))
        return f"{topic}:{sent.partition}:{sent.offset}"
    finally:
        await producer.stop()


async def _position(stack: LiveStack) -> str:
    event = {"user_id": "u", "event_type": "view", "id": "template"}
    async with httpx.AsyncClient(base_url=stack.main_url, headers=stack.headers) as client:
        answer = await client.post("/experimentation/api/v1/events", json=event)
    return answer.headers["x-millstream-position"]


async def _record(stack: LiveStack, position: str) -> "ConsumerRecord[bytes, bytes]":
    topic, partition, offset = position.split(":")
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.settings.kafka.bootstrap)
    await consumer.start()
    try:
        place = TopicPartition(topic, int(partition))
        consumer.assign([place])
        consumer.seek(place, int(offset))
        async with asyncio.timeout(20):
            record: ConsumerRecord[bytes, bytes] = await consumer.getone(place)
        return record
    finally:
        await consumer.stop()


async def _letters(stack: LiveStack) -> list[dict[str, str]]:
    async with httpx.AsyncClient(base_url=stack.main_url, headers=stack.headers) as client:
        answer = await client.get("/platform/v1/dead-letters", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    data: list[dict[str, str]] = answer.json()["data"]
    return data
