"""The outbox publishes everything, in order, whatever fails in between."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import event

from query_api.control.outbox import OutboxPublisher
from query_api.control.store import ControlStore
from schemas.definition_kinds import ControlRecord


class ScriptedTopic:
    """A topic in memory that fails when told to."""

    def __init__(self) -> None:
        self.records: list[ControlRecord] = []
        self.failures: list[str] = []
        """What fails next: `open`, `before` (nothing written) or `after` (written, but not acknowledged)."""
        self.opened = 0

    async def open(self) -> None:
        self._fail("open")
        self.opened += 1

    async def empty(self) -> bool:
        return not self.records

    async def send(self, records: Sequence[ControlRecord]) -> None:
        self._fail("before")
        self.records += records
        self._fail("after")

    async def close(self) -> None:
        pass

    def _fail(self, where: str) -> None:
        if self.failures and self.failures[0] == where:
            self.failures.pop(0)
            raise ConnectionError(where)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ControlStore]:
    store = ControlStore(f"sqlite+aiosqlite:///{tmp_path}/control.sqlite3")
    await store.migrate()
    yield store
    await store.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def names(topic: ScriptedTopic) -> list[str]:
    return [record.id for record in topic.records]


async def test_changes_reach_the_topic_in_order_and_once(store: ControlStore) -> None:
    topic = ScriptedTopic()
    publisher = OutboxPublisher(store, topic)
    for name in ("a", "b", "c"):
        await store.put("metric", "t", name, "{}")
    assert not await publisher.publish_once() and not await publisher.publish_once()
    await store.delete("metric", "t", "b")
    await publisher.publish_once()
    assert names(topic) == ["a", "b", "c", "b"] and topic.records[-1].deleted and publisher.published == 4
    assert await store.waiting() == 0


async def test_polling_a_file_asks_it_nothing_while_nothing_is_committed(store: ControlStore) -> None:
    topic = ScriptedTopic()
    publisher = OutboxPublisher(store, topic)
    await store.put("metric", "t", "a", "{}")
    for _ in range(3):
        await publisher.publish_once()
    statements: list[str] = []
    event.listen(store.engine.sync_engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: statements.append(statement))
    for _ in range(10):
        await publisher.publish_once()
    assert not statements
    other = ControlStore(str(store.engine.url))
    await other.put("metric", "t", "b", "{}")
    await other.close()
    await publisher.publish_once()
    assert statements and names(topic) == ["a", "b"]


async def test_a_restart_republishes_nothing_it_need_not(store: ControlStore) -> None:
    topic = ScriptedTopic()
    await store.put("metric", "t", "a", "{}")
    first = OutboxPublisher(store, topic)
    await first.publish_once()
    await store.put("metric", "t", "b", "{}")
    await first.close()
    await OutboxPublisher(store, topic).publish_once()
    assert names(topic) == ["a", "b"]


async def test_a_new_topic_gets_everything(store: ControlStore) -> None:
    await store.put("metric", "t", "a", "{}")
    await store.put("metric", "t", "gone", "{}")
    await store.delete("metric", "t", "gone")
    first = OutboxPublisher(store, ScriptedTopic())
    await first.publish_once()
    await first.close()
    topic = ScriptedTopic()
    topic.failures = ["before"]
    second = OutboxPublisher(store, topic)
    with pytest.raises(ConnectionError):
        await second.publish_once()
    await second.publish_once()
    assert [(record.id, record.version, record.deleted) for record in topic.records] == [("a", 1, False), ("gone", 2, True)]


async def test_kafka_away_is_waited_out_and_nothing_is_lost(store: ControlStore) -> None:
    topic = ScriptedTopic()
    topic.failures = ["open", "before", "after"]
    publisher = OutboxPublisher(store, topic, poll_s=0.01)
    await store.put("metric", "t", "a", "{}")
    task = asyncio.create_task(publisher.run())
    await until(lambda: publisher.published == 1)
    assert publisher.problem is None and set(names(topic)) == {"a"}
    await store.put("metric", "t", "b", "{}")
    publisher.wake()
    await until(lambda: publisher.published == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert names(topic)[-1] == "b" and await store.waiting() == 0


async def test_a_second_publisher_stands_by_and_takes_over(store: ControlStore) -> None:
    topic = ScriptedTopic()
    one, two = OutboxPublisher(store, topic, poll_s=0.01), OutboxPublisher(store, topic, poll_s=0.01)
    tasks = [asyncio.create_task(one.run())]
    await until(lambda: topic.opened == 1)
    tasks.append(asyncio.create_task(two.run()))
    await store.put("metric", "t", "a", "{}")
    await until(lambda: one.published == 1)
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    await store.put("metric", "t", "b", "{}")
    await until(lambda: two.published == 1)
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    assert names(topic) == ["a", "b"]
