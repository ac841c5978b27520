"""Only what changed becomes a revision, revisions rise, and what was lost half way is made good."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from infra.runtime.clickhouse import ClickHouseError
from infra.runtime.clock import SystemClock
from infra.runtime.errors import Unavailable
from schemas.avro import decode_update
from streams import publish_windows
from streams.publish_windows import WindowWriter
from tests.unit.streams.fakes import ScriptedClickHouse, ScriptedProducer

POSITIONS = {"events:0": 4}


class Store:
    """What the tables hold, as far as the writer asks."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, int, str], tuple[int, str]] = {}
        """Revision and payload by subject, grain, start and item."""
        self.clickhouse = ScriptedClickHouse(answer=self._answer)
        self.producer = ScriptedProducer()
        self._taken = 0

    def writer(self) -> WindowWriter:
        clickhouse: Any = self.clickhouse
        producer: Any = self.producer
        return WindowWriter("assignments", clickhouse, producer, SystemClock())

    def keep(self) -> None:
        """Take in what was inserted since the last time, as the table would."""
        for row in self.clickhouse.rows("windows_assignments")[self._taken :]:
            self._taken += 1
            start = 0 if row["grain"] == "all" else 60_000_000
            self.rows[(row["subject"], row["grain"], start, row["item"])] = (row["revision"], row["payload"])

    def _answer(self, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "max(revision)" in sql:
            return [
                {"subject": subject, "high": max(revision for (name, *_), (revision, _) in self.rows.items() if name == subject)}
                for subject in params["subjects"]
                if any(name == subject for name, *_ in self.rows)
            ]
        return [
            {"subject": subject, "start": start, "item": item, "payload": payload, "revision": revision}
            for (subject, grain, start, item), (revision, payload) in self.rows.items()
            if subject in params["subjects"] and grain == params["grain"] and start in params["starts"]
        ]

    @property
    def updates(self) -> list[tuple[str, int, Any]]:
        """Subject, revision and figures of every update."""
        decoded = [decode_update(value) for topic, value, _, _ in self.producer.sent if topic == "updates"]
        return [(update.subject, update.revision, json.loads(update.payload)) for update in decoded]


@pytest.fixture
def store() -> Store:
    return Store()


async def test_only_what_changed_is_a_new_revision(store: Store) -> None:
    writer = store.writer()
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}, "b": {"units": 1}}}, POSITIONS)
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}, "b": {"units": 1}}}, {"events:0": 5})
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}, "b": {"units": 2}}}, {"events:0": 6})
    rows = store.clickhouse.rows("windows_assignments")
    assert [(row["item"], row["revision"], json.loads(row["payload"])["units"]) for row in rows] == [("a", 1, 1), ("b", 1, 1), ("b", 2, 2)]
    assert store.updates == [("e", 1, {"a": {"units": 1}, "b": {"units": 1}}), ("e", 2, {"a": {"units": 1}, "b": {"units": 2}})], "an update is whole"
    assert rows[2]["positions"] == {"events:0": 6}


async def test_the_order_of_figures_makes_no_revision(store: Store) -> None:
    writer = store.writer()
    await writer.write("t", "e", "all", {0: {"a": {"x": 1, "y": {"p": 1, "q": 2}}}}, POSITIONS)
    await writer.write("t", "e", "all", {0: {"a": {"y": {"q": 2, "p": 1}, "x": 1}}}, POSITIONS)
    assert len(store.updates) == 1


async def test_revisions_rise_over_grains_and_over_workers(store: Store) -> None:
    writer = store.writer()
    await writer.write("t", "e", "1m", {60_000_000: {"a": {"units": 1}}}, POSITIONS)
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    store.keep()
    successor = store.writer()
    await successor.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    assert len(store.clickhouse.rows("windows_assignments")) == 2, "the successor reads what is stored before it compares"
    await successor.write("t", "e", "all", {0: {"a": {"units": 9}}}, POSITIONS)
    await successor.write("t", "new", "all", {0: {"a": {"units": 9}}}, POSITIONS)
    assert [(subject, revision) for subject, revision, _ in store.updates] == [("e", 1), ("e", 2), ("e", 2), ("e", 3), ("new", 1)]


async def test_an_item_that_is_gone_is_stored_as_empty_and_left_out_of_updates(store: Store) -> None:
    writer = store.writer()
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}, "b": {"units": 1}}}, POSITIONS)
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    assert [(row["item"], row["payload"]) for row in store.clickhouse.rows("windows_assignments")][2:] == [("b", "{}")]
    assert store.updates[-1] == ("e", 2, {"a": {"units": 1}}) and len(store.updates) == 2


async def test_forgetting_reads_back_what_another_worker_wrote(store: Store) -> None:
    writer = store.writer()
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    store.keep()
    store.rows[("e", "all", 0, "a")] = (7, '{"units":5}')
    writer.forget()
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    assert store.updates[-1] == ("e", 8, {"a": {"units": 1}})


async def test_a_failed_insert_changes_nothing_and_is_written_by_the_next_try(store: Store) -> None:
    writer = store.writer()
    store.clickhouse.failures["windows_assignments"] = [ClickHouseError(0, "away")]
    with pytest.raises(ClickHouseError):
        await writer.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    assert store.updates == []
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    assert store.updates == [("e", 1, {"a": {"units": 1}})]


async def test_an_update_that_kafka_did_not_take_is_an_error(store: Store) -> None:
    writer = store.writer()
    store.producer.failures["updates"] = [Unavailable("away")]
    with pytest.raises(Unavailable):
        await writer.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    assert [figures for _, _, figures in store.updates] == [{"a": {"units": 1}}], "repeating publishes what was not published"


async def test_many_subjects_take_few_statements(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_windows, "MAX_NAMES_BYTES", 200)
    names = [f"subject {number}" for number in range(50)]
    await store.writer().write_many("t", {name: {"all": {0: {"a": {"units": 1}}}} for name in names}, POSITIONS)
    assert {subject for subject, _, _ in store.updates} == set(names) and {revision for _, revision, _ in store.updates} == {1}
    assert len(store.clickhouse.inserts) < 10


async def test_the_watermark_says_positions_and_revision(store: Store) -> None:
    writer = store.writer()
    await writer.write("t", "e", "all", {0: {"a": {"units": 1}}}, POSITIONS)
    await writer.watermark("t", "e", POSITIONS)
    (row,) = store.clickhouse.rows("watermarks")
    assert (row["kind"], row["tenant"], row["subject"], row["revision"], row["positions"]) == ("assignments", "t", "e", 1, POSITIONS)


async def test_what_was_stored_but_not_published_is_published_by_the_next_worker(store: Store) -> None:
    store.producer.failures["updates"] = [Unavailable("away")]
    with pytest.raises(Unavailable):
        await store.writer().write("acme", "e", "all", {0: {"*": {"units": 3}}}, POSITIONS)
    store.keep()
    assert store.updates == []
    heir = store.writer()
    await heir.write("acme", "e", "all", {0: {"*": {"units": 3}}}, POSITIONS)
    assert store.updates == [("e", 1, {"*": {"units": 3}})]
    await heir.write("acme", "e", "all", {0: {"*": {"units": 3}}}, POSITIONS)
    assert len(store.updates) == 1
