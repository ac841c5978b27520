"""The order of the sink's steps, and what it does when one of them fails."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from infra.runtime.clickhouse import ClickHouseError
from infra.runtime.clock import SystemClock
from infra.runtime.errors import Unavailable
from infra.runtime.settings import Settings, StreamSettings
from schemas.avro import decode_mark
from schemas.blocks import Block, Touched
from schemas.tables.catalog import FED
from schemas.topics import DEAD_LETTERS, EVENTS, EXPERIMENT_MARKS, LOGS, Topic
from streams.dead_letters import DeadLetters
from streams.ledger import Ledger
from streams.pace import Pace
from streams.sink import INSERT_SETTINGS, Revoked, Sink
from tests.support import eventually
from tests.unit.streams.fakes import ScriptedClickHouse, ScriptedProducer

SETTINGS = Settings(streams=StreamSettings(retry_initial_s=0.001, retry_max_s=0.002, poison_attempts=3))
AWAY, BROKEN = ClickHouseError(0, "away"), ClickHouseError(33, "Cannot read all data")


@dataclass
class Record:
    """A Kafka record."""

    offset: int
    headers: list[tuple[str, bytes]] | None
    value: bytes | None
    topic: str = EVENTS.name
    partition: int = 2


def block(batch_id: str = "batch", *touched: Touched, topic: Topic = EVENTS) -> Block:
    return Block(topic, batch_id, "events/1", 5, b"bytes", 1, 2, 3, touched or (Touched("t", "e", (10,), ("u",), True),))


def record(offset: int = 0, batch_id: str = "batch", *touched: Touched) -> Record:
    made = block(batch_id, *touched)
    return Record(offset, made.headers(), made.body)


class Bench:
    """A sink with everything around it under the test's hand."""

    def __init__(self, high: int = -1, topic: Topic = EVENTS, marks: Topic | None = EXPERIMENT_MARKS) -> None:
        self.steps: list[str] = []
        self.high = high
        self.owned = True
        self.first_held = 7
        """First offset that Kafka holds."""
        self.went_back: list[int] = []
        self.clickhouse = ScriptedClickHouse(self.steps, lambda _sql, _params: [{"high": self.high, "n": int(self.high >= 0)}])
        self.producer = ScriptedProducer(self.steps)
        clickhouse: Any = self.clickhouse
        producer: Any = self.producer
        clock = SystemClock()
        self.ledger = Ledger(clickhouse, "gen", SETTINGS.streams, clock)
        dead = DeadLetters(topic.name, producer, SETTINGS.streams)
        pace, owned = Pace(clock, 1.0), lambda _topic, _partition: self.owned
        self.sink = Sink(topic, FED[topic.name], marks, clickhouse, producer, self.ledger, dead, SETTINGS, clock, pace, owned, self)

    async def earliest(self, _topic: str, _partition: int) -> int:
        return self.first_held

    async def go_back(self, _topic: str, _partition: int, offset: int) -> None:
        self.went_back.append(offset)

    async def store(self, given: Record) -> None:
        await self.sink.store(given, lambda: self.steps.append(f"release {given.offset}"))

    async def store_all(self, *given: Record) -> None:
        for each in given:
            await self.store(each)
        await self.ledger.drain()


async def test_data_then_marks_then_ledger_then_offset() -> None:
    bench = Bench()
    await bench.store_all(record(7))
    assert bench.steps == ["events", "experiment_marks", "ledger", "release 7"]
    table, body, settings = bench.clickhouse.inserts[0]
    assert (table, body) == ("events", b"bytes"), "the bytes unchanged"
    assert settings["insert_deduplication_token"] == "batch" and settings.items() >= INSERT_SETTINGS.items()
    topic, value, key, _ = bench.producer.sent[0]
    mark = decode_mark(value)
    assert (topic, key) == ("experiment_marks", b"t/e") and (mark.topic, mark.partition, mark.offset, mark.units, mark.keyed) == ("events", 2, 7, ("u",), True)
    (entry,) = bench.clickhouse.rows("ledger")
    assert {name: entry[name] for name in ("topic", "partition", "offset", "batch_id", "rows", "outcome", "generation", "subjects")} == {
        "topic": "events", "partition": 2, "offset": 7, "batch_id": "batch", "rows": 5, "outcome": "stored", "generation": "gen", "subjects": ["t/e"],
    }  # fmt: skip


async def test_each_subject_is_marked_and_a_topic_without_marks_goes_on() -> None:
    bench = Bench()
    await bench.store_all(record(0, "b", Touched("t", "e", (1,), None, False), Touched("t", "f", (2,), (), True)))
    assert [key for _, _, key, _ in bench.producer.sent] == [b"t/e", b"t/f"]
    quiet = Bench(topic=LOGS, marks=None)
    made = block(topic=LOGS)
    await quiet.store_all(Record(0, made.headers(), made.body, LOGS.name))
    assert quiet.steps == ["logs", "ledger", "release 0"]


@pytest.mark.parametrize(
    ("place", "failures", "expected"),
    [
        ("events", [AWAY, AWAY], ["events failed", "events failed", "events", "experiment_marks", "ledger", "release 7"]),
        ("experiment_marks", [Unavailable("away")], ["events", "experiment_marks failed", "experiment_marks", "ledger", "release 7"]),
        ("ledger", [AWAY], ["events", "experiment_marks", "ledger failed", "ledger", "release 7"]),
    ],
)
async def test_a_failed_step_is_repeated_and_nothing_passes_it(place: str, failures: list[Exception | None], expected: list[str]) -> None:
    bench = Bench()
    (bench.producer if place == "experiment_marks" else bench.clickhouse).failures[place] = failures
    await bench.store_all(record(7))
    assert bench.steps == expected
    sent = [(body, settings) for table, body, settings in bench.clickhouse.inserts if table == "events"]
    assert all(each == sent[0] for each in sent), "the same bytes, token and settings each time"


async def test_what_the_ledger_knows_is_skipped_and_asked_for_once() -> None:
    bench = Bench(high=8)
    await bench.store_all(record(7), record(8), record(9, "new"))
    assert bench.steps == ["release 7", "release 8", "events", "experiment_marks", "ledger", "release 9"]
    assert len(bench.clickhouse.queries) == 1
    bench.high = 12
    bench.sink.forget()
    await bench.store_all(record(12))
    assert bench.steps[-1] == "release 12" and len(bench.clickhouse.queries) == 2


@pytest.mark.parametrize("high", [4, -1])
async def test_a_record_that_came_before_its_turn_is_not_stored(high: int) -> None:
    bench = Bench(high)
    bench.first_held = 0
    await bench.store(record(6))
    assert bench.steps == [] and not bench.clickhouse.inserts, "or the mark would say that those before it are stored"
    assert bench.went_back == [high + 1]
    await bench.store_all(*(record(offset, f"b{offset}") for offset in range(high + 1, 8)))
    assert bench.steps[-1] == "release 7"
    await bench.store(record(9))
    assert bench.went_back == [high + 1, 8]


async def test_of_what_is_missing_that_is_read_again_which_kafka_holds() -> None:
    bench = Bench(high=2)
    bench.first_held = 5
    await bench.store(record(7))
    assert bench.went_back == [5]


async def test_what_ends_after_partitions_moved_does_not_raise_the_mark() -> None:
    bench, begun, moved = Bench(high=8), asyncio.Event(), asyncio.Event()

    async def insert_ends_late() -> None:
        begun.set()
        await moved.wait()

    bench.clickhouse.before_insert = insert_ends_late
    storing = asyncio.create_task(bench.store(record(9)))
    await begun.wait()
    bench.sink.forget()
    moved.set()
    await storing
    await bench.ledger.drain()
    bench.clickhouse.before_insert = None
    bench.steps.clear()
    await bench.store_all(record(9))
    assert bench.steps == ["events", "experiment_marks", "ledger", "release 9"], "the mark that counts is the one on the ledger"


async def test_records_that_kafka_dropped_are_passed() -> None:
    bench = Bench(high=4)
    await bench.store_all(record(7), record(8, "next"))
    assert [row["offset"] for row in bench.clickhouse.rows("ledger")] == [7, 8] and bench.steps[-2:] == ["release 7", "release 8"]


async def test_the_ledger_takes_several_blocks_at_once_in_their_order() -> None:
    bench = Bench()
    bench.clickhouse.failures["ledger"] = [AWAY]
    for offset in range(3):
        await bench.store(record(offset, f"b{offset}"))
    assert not any(step.startswith("release") for step in bench.steps), "the ledger is not written yet"
    await bench.ledger.drain()
    assert [step for step in bench.steps if step.startswith("release")] == ["release 0", "release 1", "release 2"]
    assert [row["offset"] for row in bench.clickhouse.rows("ledger")][-3:] == [0, 1, 2]


@pytest.mark.parametrize(
    ("headers", "value", "reason"),
    [
        (None, b"garbage", "not a block"),
        ([("ms-batch", b"b")], b"garbage", "not a block"),
        ([(name, b"9" if name == "ms-crc" else text) for name, text in block().headers()], b"bytes", "checksum"),
        (block().headers(), None, "checksum"),
    ],
)
async def test_what_is_no_block_is_buried_with_its_bytes_and_origin(headers: list[tuple[str, bytes]] | None, value: bytes | None, reason: str) -> None:
    bench = Bench()
    await bench.store_all(Record(4, headers, value))
    assert bench.steps == [DEAD_LETTERS.name, "ledger", "release 4"]
    _, letter, _, named = bench.producer.sent[0]
    assert letter == (value or b"") and reason in named["ms-reason"].decode()
    assert (named["ms-origin-topic"], named["ms-origin-partition"], named["ms-origin-offset"]) == (b"events", b"2", b"4")
    assert named.items() >= dict(headers or ()).items()
    assert bench.clickhouse.rows("ledger")[0]["outcome"] == "dead"


async def test_malformed_bytes_are_buried_after_the_allowed_attempts() -> None:
    bench = Bench()
    bench.clickhouse.failures["events"] = [BROKEN, AWAY, BROKEN, BROKEN]
    await bench.store_all(record(4), record(5, "next"))
    assert bench.steps == [*["events failed"] * 4, DEAD_LETTERS.name, "events", "experiment_marks", "ledger", "release 4", "release 5"] or (
        bench.steps[:5] == [*["events failed"] * 4, DEAD_LETTERS.name] and bench.steps[-1] == "release 5"
    )
    assert [row["outcome"] for row in bench.clickhouse.rows("ledger")] == ["dead", "stored"]


async def test_a_block_that_succeeds_after_a_refusal_is_stored() -> None:
    bench = Bench()
    bench.clickhouse.failures["events"] = [BROKEN, BROKEN]
    await bench.store_all(record(4))
    assert bench.steps == ["events failed", "events failed", "events", "experiment_marks", "ledger", "release 4"]


@pytest.mark.parametrize("place", ["events", "experiment_marks"])
async def test_a_revoked_partition_ends_the_retries_without_release(place: str) -> None:
    bench = Bench()
    (bench.producer if place == "experiment_marks" else bench.clickhouse).failures[place] = [AWAY] * 100_000
    task = asyncio.create_task(bench.store(record(7)))
    await eventually(lambda: f"{place} failed" in bench.steps)
    bench.owned = False
    with pytest.raises(Revoked):
        await asyncio.wait_for(task, 10)
    assert "ledger" not in bench.steps and "release 7" not in bench.steps


async def test_a_record_of_a_lost_partition_is_not_touched() -> None:
    bench = Bench()
    bench.owned = False
    with pytest.raises(Revoked):
        await bench.store(record(7))
    assert bench.steps == [] and bench.clickhouse.queries == []


async def test_too_many_dead_letters_stop_the_worker_before_the_topic_is_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(BaseException):
        """In place of the end of the process."""

    def stop(status: int, why: str, **_: object) -> None:
        raise Stopped(status)

    monkeypatch.setattr("streams.dead_letters.stop_worker", stop)
    bench = Bench()
    limit = SETTINGS.streams.dead_letter_min
    await bench.store_all(*(Record(offset, None, b"garbage") for offset in range(limit - 1)))
    with pytest.raises(Stopped):
        await bench.store(Record(limit - 1, None, b"garbage"))
    assert len(bench.producer.sent) == limit - 1
    healthy = Bench()
    await healthy.store_all(*(record(offset, f"b{offset}") for offset in range(400)))
    await healthy.store_all(*(Record(400 + offset, None, b"garbage") for offset in range(9)))
    assert healthy.steps[-1] == "release 408"
