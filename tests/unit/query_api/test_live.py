"""The live connection: order, snapshot, resume, slow readers, and the ways it ends."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from infra.runtime.errors import Unavailable
from infra.runtime.settings import Settings
from query_api.access import Access
from query_api.live.flow import Flow
from query_api.live.hub import Hub
from query_api.live.outbox import Outbox, Pending
from query_api.live.session import Gone, Session
from query_api.live.subscription import Subscription, Topic
from query_api.readers.ledger import LedgerReader
from query_api.readers.window_state import WindowState
from query_api.readers.windows import WindowFilter, WindowReader
from schemas.definitions import ControlRecord
from tests.support import eventually
from tests.unit.query_api.parts import OTHER_KEY, READ_KEY, AwayRows, HandClock, known_keys


def state(revision: int, subject: str = "exp", grain: str = "all", start_us: int = 0, tenant: str = "default") -> WindowState:
    return WindowState(tenant, "significance", subject, grain, start_us, revision, revision * 1_000, {"events:0": revision}, f'{{"m/b":{{"n":{revision}}}}}')


def drained(outbox: Outbox) -> list[tuple[int, int]]:
    """(revision, skipped) of every state, in the order of sending."""
    found = []
    while len(outbox):
        item = asyncio.run(outbox.take())
        assert isinstance(item, Pending)
        found.append((item.state.revision, item.skipped))
    return found


def test_every_revision_in_order_while_the_client_keeps_up() -> None:
    outbox = Outbox(8)
    for revision in range(1, 9):
        outbox.offer(state(revision))
    assert drained(outbox) == [(revision, 0) for revision in range(1, 9)]


def test_old_and_repeated_revisions_are_dropped() -> None:
    outbox = Outbox(8)
    for revision in (1, 2, 2, 1, 3):
        outbox.offer(state(revision))
    assert [revision for revision, _ in drained(outbox)] == [1, 2, 3]


def test_a_slow_client_gets_the_newest_state_of_each_window() -> None:
    outbox = Outbox(4)
    for revision in range(1, 101):
        outbox.offer(state(revision, start_us=(revision % 2) * 60_000_000, grain="1m"))
    assert len(outbox) == 2
    assert drained(outbox) == [(99, 49), (100, 49)]
    assert outbox.coalesced == 98
    outbox.offer(state(101, grain="1m"))
    outbox.offer(state(102, grain="1m"))
    assert drained(outbox) == [(101, 0), (102, 0)]


def test_too_many_windows_are_read_again_later() -> None:
    outbox = Outbox(2)
    for minute in range(40):
        outbox.offer(state(minute + 1, grain="1m", start_us=minute * 60_000_000))
    assert len(outbox) <= 32
    assert outbox.lost_since_us == 1_000
    # What was dropped may be offered again.
    outbox.offer(state(1, grain="1m", start_us=0))
    assert (1, 0) in drained(outbox)


def test_updates_of_the_time_of_the_snapshot_pass_once() -> None:
    outbox = Outbox(8)
    subscription = Subscription(Topic("default", "significance", "exp"), outbox)
    for revision in (4, 5, 6):
        subscription.deliver(state(revision))
    assert len(outbox) == 0
    subscription.open([state(5)])
    subscription.deliver(state(7))
    assert [revision for revision, _ in drained(outbox)] == [6, 7]


def test_the_hub_keeps_tenants_subjects_and_grains_apart() -> None:
    hub = Hub()
    boxes = {}
    for name, topic in {
        "exact": Topic("default", "significance", "exp", "all"),
        "every": Topic("default", "significance", "*"),
        "other": Topic("other", "significance", "exp"),
        "kind": Topic("default", "cost", "exp"),
    }.items():
        boxes[name] = Outbox(8)
        subscription = Subscription(topic, boxes[name])
        subscription.open([])
        hub.add(subscription)
    hub.publish(state(1))
    hub.publish(state(2, grain="1m"))
    hub.publish(state(3, subject="exp2"))
    assert {name: [revision for revision, _ in drained(box)] for name, box in boxes.items()} == {"exact": [1], "every": [1, 2, 3], "other": [], "kind": []}


class StoredWindows(WindowReader):
    """Windows as the tables hold them; tests change them."""

    def __init__(self) -> None:
        super().__init__(AwayRows())
        self.states: list[WindowState] = []
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False

    async def newest(
        self, kind: str, tenant: str, wanted: WindowFilter, *, limit: int, after_revision: int = -1, computed_since_us: int = 0
    ) -> list[WindowState]:
        self.reads += 1
        if self.away:
            raise Unavailable("gone")
        found = [each for each in self.states if (each.kind, each.tenant) == (kind, tenant) and wanted.subject in (None, each.subject)]
        await self.gate.wait()
        return [each for each in found if each.revision > after_revision and each.computed_us >= computed_since_us][:limit]


class FakeSocket:
    """A client in the test's hands; `stuck` makes it a reader that takes nothing."""

    def __init__(self) -> None:
        self.to_server: asyncio.Queue[str | None] = asyncio.Queue()
        self.got: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.free = asyncio.Event()
        self.free.set()

    def say(self, **message: Any) -> None:
        self.to_server.put_nowait(json.dumps(message))

    def leave(self) -> None:
        self.to_server.put_nowait(None)

    async def receive_text(self) -> str:
        text = await self.to_server.get()
        if text is None:
            raise Gone
        return text

    async def send_text(self, data: str) -> None:
        await self.free.wait()
        self.got.append(json.loads(data))

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def of(self, type: str) -> list[dict[str, Any]]:
        return [message for message in self.got if message["type"] == type]

    def has(self, revision: int) -> bool:
        return self.revisions()[-1:] == [revision]

    def revisions(self) -> list[int]:
        return [message["window"]["revision"] for message in self.of("update")]


class Desk:
    """A hub, its tables, and connections to it."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.windows = StoredWindows()
        self.definitions = known_keys()
        self.access = Access(Settings(), self.definitions, HandClock())
        self.tasks: list[asyncio.Task[None]] = []

    def connect(self, *, key: str | None = READ_KEY, queue: int = 8, heartbeat_s: float = 0.02) -> tuple[FakeSocket, Session]:
        socket = FakeSocket()
        caller = self.access.with_key(key, "read") if key else None
        flow = Flow(LedgerReader(AwayRows()), HandClock())
        session = Session(socket, self.hub, flow, self.windows, self.access, caller=caller, queue=queue, heartbeat_s=heartbeat_s)
        self.tasks.append(asyncio.create_task(session.run()))
        return socket, session

    async def subscribe(self, socket: FakeSocket, **more: Any) -> dict[str, Any]:
        before = len(socket.of("snapshot"))
        socket.say(type="subscribe", **{"kind": "significance", "subject": "exp", **more})
        await eventually(lambda: len(socket.of("snapshot")) > before)
        return socket.of("snapshot")[-1]


async def finished(desk: Desk, sockets: Sequence[FakeSocket]) -> None:
    for socket in sockets:
        socket.free.set()
        socket.leave()
    async with asyncio.timeout(10):
        await asyncio.gather(*desk.tasks)
    assert desk.hub.subscriptions == 0


async def test_snapshot_first_then_every_revision() -> None:
    desk = Desk()
    desk.windows.states = [state(3)]
    socket, _ = desk.connect()
    snapshot = await desk.subscribe(socket)
    assert [window["revision"] for window in snapshot["windows"]] == [3]
    assert snapshot["windows"][0]["items"] == {"m/b": {"n": 3}}
    assert snapshot["last"] is True
    for revision in (4, 5, 6):
        desk.hub.publish(state(revision))
    await eventually(lambda: socket.revisions() == [4, 5, 6])
    await finished(desk, [socket])


async def test_resume_has_neither_gap_nor_repetition() -> None:
    desk = Desk()
    desk.windows.states = [state(5), state(4, grain="1m"), state(9, grain="1h")]
    desk.windows.gate.clear()
    socket, _ = desk.connect()
    socket.say(type="subscribe", kind="significance", subject="exp", from_revision=4)
    await eventually(lambda: desk.windows.reads == 1)
    # While the tables are read, one revision comes that the read has already and one that it has not.
    desk.hub.publish(state(9, grain="1h"))
    desk.hub.publish(state(10))
    desk.windows.gate.set()
    await eventually(lambda: socket.revisions() == [10])
    (snapshot,) = socket.of("snapshot")
    assert sorted(window["revision"] for window in snapshot["windows"]) == [5, 9]
    await finished(desk, [socket])


async def test_a_slow_reader_is_coalesced_and_stalls_nobody() -> None:
    desk = Desk()
    slow, session = desk.connect(queue=4)
    fast, _ = desk.connect(queue=4)
    await desk.subscribe(slow)
    await desk.subscribe(fast)
    slow.free.clear()
    for revision in range(1, 201):
        desk.hub.publish(state(revision))
        await eventually(partial(fast.has, revision), interval=0.001)
    assert fast.revisions() == list(range(1, 201))
    slow.free.set()
    await eventually(lambda: slow.revisions()[-1:] == [200])
    assert len(slow.revisions()) < 20
    assert slow.revisions() == sorted(slow.revisions())
    assert sum(message["skipped"] for message in slow.of("update")) + len(slow.revisions()) == 200
    assert session.outbox.coalesced > 150
    await finished(desk, [slow, fast])


async def test_what_was_lost_is_read_from_the_tables() -> None:
    desk = Desk()
    desk.windows.states = [state(1)]
    socket, _ = desk.connect()
    await desk.subscribe(socket)
    desk.windows.states = [state(7)]
    desk.windows.away = True
    desk.hub.lost(since_us=0)
    reads = desk.windows.reads
    await eventually(lambda: desk.windows.reads > reads)
    desk.windows.away = False
    await eventually(lambda: socket.revisions() == [7])
    desk.hub.publish(state(7))
    desk.hub.publish(state(8))
    await eventually(lambda: socket.revisions() == [7, 8])
    await finished(desk, [socket])


async def test_unsubscribe_ends_it() -> None:
    desk = Desk()
    socket, _ = desk.connect()
    await desk.subscribe(socket)
    socket.say(type="unsubscribe", kind="significance", subject="exp")
    await eventually(lambda: bool(socket.of("unsubscribed")))
    desk.hub.publish(state(1))
    socket.say(type="ping")
    await eventually(lambda: bool(socket.of("pong")))
    assert socket.revisions() == []
    await finished(desk, [socket])


async def test_a_failed_snapshot_is_an_error_and_the_connection_goes_on() -> None:
    desk = Desk()
    desk.windows.away = True
    socket, _ = desk.connect()
    socket.say(type="subscribe", kind="significance", subject="exp")
    await eventually(lambda: bool(socket.of("error")))
    assert (socket.of("error")[0]["code"], socket.of("error")[0]["retryable"]) == ("unavailable", True)
    assert desk.hub.subscriptions == 0
    desk.windows.away = False
    await desk.subscribe(socket)
    await finished(desk, [socket])


async def test_the_first_message_may_carry_the_key_and_decides_the_tenant() -> None:
    desk = Desk()
    socket, _ = desk.connect(key=None)
    socket.say(type="authenticate", key=OTHER_KEY)
    await eventually(lambda: bool(socket.of("authenticated")))
    assert socket.got[0]["tenant"] == "other"
    await desk.subscribe(socket)
    desk.hub.publish(state(1))
    desk.hub.publish(state(2, tenant="other"))
    await eventually(lambda: socket.revisions() == [2])
    await finished(desk, [socket])


@pytest.mark.parametrize(
    ("key", "message", "code"),
    [
        (None, '{"type":"authenticate","key":"guess"}', 4401),
        (None, '{"type":"ping"}', 4401),
        (READ_KEY, "not json", 4400),
        (READ_KEY, '{"type":"subscribe","kind":"nothing"}', 4400),
        (READ_KEY, '{"type":"dance"}', 4400),
        (READ_KEY, "[" * 10_000, 4400),
        (READ_KEY, '{"type":"ping","x":"' + "a" * 70_000 + '"}', 4413),
    ],
)
async def test_close_codes(key: str | None, message: str, code: int) -> None:
    desk = Desk()
    socket, _ = desk.connect(key=key)
    socket.to_server.put_nowait(message)
    async with asyncio.timeout(10):
        await asyncio.gather(*desk.tasks)
    assert socket.closed is not None and socket.closed[0] == code
    assert socket.of("error")[-1]["code"] == socket.closed[1]


async def test_a_revoked_key_ends_the_connection() -> None:
    desk = Desk()
    socket, _ = desk.connect()
    await eventually(lambda: bool(socket.of("heartbeat")))
    desk.definitions.apply(ControlRecord("key", "default", "k0", 2, True, "", 0))
    async with asyncio.timeout(10):
        await asyncio.gather(*desk.tasks)
    assert socket.closed == (4401, "unauthenticated")


async def test_resume_of_every_subject_is_refused() -> None:
    desk = Desk()
    socket, _ = desk.connect()
    socket.say(type="subscribe", kind="significance", from_revision=3)
    await eventually(lambda: bool(socket.of("error")))
    assert socket.of("error")[0]["request"]["from_revision"] == 3
    await finished(desk, [socket])


def test_states_of_other_tenants_have_the_same_key() -> None:
    assert state(1).key == replace(state(2), tenant="other").key
