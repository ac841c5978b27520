"""From the control store over a real broker into the registry, through a broker that dies and comes back."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra.embedded.kafka import broker_answers
from infra.embedded.ports import free_port
from infra.runtime.clock import SystemClock
from infra.runtime.follower import CompactedFollower
from query_api.control.outbox import OutboxPublisher
from query_api.control.store import ControlStore
from query_api.control.topic import KafkaControlTopic
from query_api.domain.keys import create_key, revoke_key
from schemas.avro import decode_control
from schemas.definitions import Definitions, Tenant, encode_definition


class Broker:
    """The embedded Kafka as a process of its own, which can be killed."""

    def __init__(self, folder: Path) -> None:
        self._port, self._controller = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self._port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "infra.embedded.kafka", "--data", str(self._folder), "--port", str(self._port)]
        self._process = subprocess.Popen(
            [*command, "--controller-port", str(self._controller)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal_number)
            process.wait(30)

    async def ready(self) -> None:
        await eventually(lambda: broker_answers(self.bootstrap), 60)


async def eventually(condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ControlStore]:
    store = ControlStore(f"sqlite+aiosqlite:///{tmp_path}/control.sqlite3")
    await store.migrate()
    await store.put("tenant", "shop", "shop", encode_definition(Tenant("shop", "Shop")))
    yield store
    await store.close()


@contextlib.asynccontextmanager
async def publishing(store: ControlStore, bootstrap: str, topic: str) -> AsyncIterator[OutboxPublisher]:
    publisher = OutboxPublisher(store, KafkaControlTopic(bootstrap, topic, request_timeout_ms=2_000), poll_s=0.05)
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def following(bootstrap: str, topic: str) -> AsyncIterator[tuple[CompactedFollower, Definitions]]:
    definitions = Definitions()
    follower = CompactedFollower(bootstrap, topic, lambda _key, value: void(definitions.apply(decode_control(value))))
    await follower.start()
    try:
        yield follower, definitions
    finally:
        await follower.stop()


def void(_value: object) -> None:
    """A callback that answers nothing."""


async def create_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"cleanup.policy": "compact"})])
    finally:
        await admin.close()


async def test_a_key_works_everywhere_once_made_and_nowhere_once_revoked(broker: Broker, store: ControlStore) -> None:
    await broker.ready()
    clock = SystemClock()
    async with following(broker.bootstrap, "keys") as (follower, definitions), publishing(store, broker.bootstrap, "keys") as publisher:
        # Both started before the topic exists and wait for it.
        await eventually(lambda: follower.problem is not None and publisher.problem is not None)
        await create_topic(broker.bootstrap, "keys")
        created = await create_key(store, "shop", "ci")
        await eventually(lambda: definitions.key_for(created.text, clock.now_us()) is not None)
        await follower.caught_up()
        await revoke_key(store, "shop", created.key.id)
        await eventually(lambda: definitions.key_for(created.text, clock.now_us()) is None)
    async with following(broker.bootstrap, "keys") as (late, rebuilt):
        await asyncio.wait_for(late.caught_up(), 30)
        assert rebuilt.key_for(created.text, clock.now_us()) is None
        assert rebuilt.tenants() == definitions.tenants() and rebuilt.keys("shop") == definitions.keys("shop")


async def test_a_broker_killed_and_restarted_loses_nothing(broker: Broker, store: ControlStore) -> None:
    await broker.ready()
    await create_topic(broker.bootstrap, "crash")
    async with following(broker.bootstrap, "crash") as (follower, definitions), publishing(store, broker.bootstrap, "crash") as publisher:
        await asyncio.wait_for(follower.caught_up(), 30)
        await eventually(lambda: definitions.tenant("shop") is not None)
        broker.stop(signal.SIGKILL)
        for number in range(20):
            await store.put("tenant", f"t{number}", f"t{number}", encode_definition(Tenant(f"t{number}", "x")))
        await eventually(lambda: publisher.problem is not None)
        broker.start()
        await broker.ready()
        await eventually(lambda: len(definitions.tenants()) == 21, 60)
        assert follower.refused == 0
        # Definitions are read before the publisher notes that the broker has them.
        await eventually(lambda: publisher.published >= 21)
    assert await store.waiting() == 0


def _has_shop(definitions: Definitions) -> bool:
    return definitions.tenant("shop") is not None


async def test_a_topic_made_anew_gets_every_definition(broker: Broker, store: ControlStore) -> None:
    await broker.ready()
    for topic in ("first", "second"):
        await create_topic(broker.bootstrap, topic)
        async with following(broker.bootstrap, topic) as (_, definitions), publishing(store, broker.bootstrap, topic):
            await eventually(partial(_has_shop, definitions))


async def test_what_the_callback_refuses_stops_nothing_and_a_restart_repeats_nothing(broker: Broker, store: ControlStore) -> None:
    await broker.ready()
    await create_topic(broker.bootstrap, "refusing")
    seen: list[bytes] = []

    def picky(key: bytes, _value: bytes) -> None:
        seen.append(key)
        if len(seen) == 1:
            raise ValueError("not this one")

    await store.put("tenant", "other", "other", encode_definition(Tenant("other", "Other")))
    follower = CompactedFollower(broker.bootstrap, "refusing", picky)
    async with publishing(store, broker.bootstrap, "refusing"):
        await follower.start()
        await eventually(lambda: len(seen) == 2)
        await follower.stop()
        assert follower.refused == 1 and follower.records == 2
        await store.put("tenant", "late", "late", encode_definition(Tenant("late", "Late")))
        await follower.start()
        await eventually(lambda: len(seen) > 2)
        await follower.stop()
    assert seen[2:] == [b"tenant/late/late"], "a follower started again goes on where it was"
