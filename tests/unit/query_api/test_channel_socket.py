"""One connection of Phoenix Channels: joins, leaves, a slow client, a key that is revoked."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import InvalidArgument, NotFound
from infra.runtime.settings import Settings
from query_api.access import Access, Caller
from query_api.live import channel_socket
from query_api.live.channel_socket import ChannelSocket
from query_api.live.channel_topics import ChannelTopics, Joined
from query_api.live.channel_wire import Serializer
from query_api.live.channels import Answer, Push, TelemetryChannel
from query_api.live.session import Gone
from query_api.readers.telemetry import TelemetryEvent
from schemas.definitions import Definitions
from tests.support import eventually
from tests.unit.query_api.parts import READ_KEY, known_keys


class Wire:
    """The client's end."""

    def __init__(self) -> None:
        self.to_server: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.heard: list[list[Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.closed: tuple[int, str] | None = None

    async def receive(self) -> str | bytes:
        text = await self.to_server.get()
        if text is None:
            raise Gone
        return text

    async def send_text(self, data: str) -> None:
        await self.open.wait()
        self.heard.append(json.loads(data))

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def say(self, *message: Any) -> None:
        self.to_server.put_nowait(json.dumps(message))


class Topics(ChannelTopics):
    """One topic, whose pushes the test makes."""

    def __init__(self) -> None:
        self.pushes: list[Push] = []
        self.left = 0

    async def join(self, topic: str, caller: Caller, push: Push) -> Joined:
        if topic != "telemetry:all":
            raise NotFound("unmatched topic")
        self.pushes.append(push)
        push("early", {})
        answer: Answer = {"hello": caller.tenant}
        return Joined(TelemetryChannel(push, caller.tenant, None), self._leave, answer)

    def _leave(self) -> None:
        self.left += 1


class World:
    """A connection with what is around it."""

    def __init__(self) -> None:
        self.definitions: Definitions = known_keys()
        self.wire, self.topics = Wire(), Topics()
        self.access = Access(Settings(), self.definitions, SystemClock())
        self.socket = ChannelSocket(self.wire, Serializer("2.0.0"), self.topics, self.admit(), self.admit)

    def admit(self) -> Caller:
        return self.access.with_key(READ_KEY, "read")

    async def hears(self, count: int) -> list[list[Any]]:
        def enough() -> bool:
            return len(self.wire.heard) >= count

        await eventually(enough)
        return self.wire.heard


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    running = asyncio.create_task(world.socket.run())
    yield world
    world.wire.to_server.put_nowait(None)
    await running


async def test_a_join_is_answered_before_anything_is_pushed(world: World) -> None:
    world.wire.say("1", "1", "telemetry:all", "phx_join", {})
    world.wire.say(None, "2", "phoenix", "heartbeat", {})
    assert await world.hears(3) == [
        ["1", "1", "telemetry:all", "phx_reply", {"status": "ok", "response": {"hello": "default"}}],
        ["1", None, "telemetry:all", "early", {}],
        [None, "2", "phoenix", "phx_reply", {"status": "ok", "response": {}}],
    ]


async def test_leaving_and_joining_anew(world: World) -> None:
    world.wire.say("1", "1", "telemetry:all", "phx_join", {})
    await world.hears(2)
    world.wire.say("3", "3", "telemetry:all", "phx_join", {})
    heard = await world.hears(5)
    assert heard[2] == ["1", "1", "telemetry:all", "phx_close", {}] and heard[3][:2] == ["3", "3"] and world.topics.left == 1
    world.wire.say("1", "4", "telemetry:all", "subscribe", {"event_types": ["a"]})
    assert (await world.hears(6))[5][4] == {"status": "error", "response": {"reason": "unmatched topic"}}, "it belongs to the join that is over"
    world.wire.say("3", "5", "telemetry:all", "phx_leave", {})
    heard = await world.hears(8)
    assert heard[6][4]["status"] == "ok" and heard[7] == ["3", "3", "telemetry:all", "phx_close", {}] and world.topics.left == 2
    world.wire.say("3", "6", "telemetry:all", "subscribe", {"event_types": ["a"]})
    assert (await world.hears(9))[8][4]["response"] == {"reason": "unmatched topic"}


async def test_a_refused_join_says_why(world: World) -> None:
    world.wire.say("1", "1", "weather:today", "phx_join", {})
    assert (await world.hears(1))[0][4] == {"status": "error", "response": {"reason": "unmatched topic", "code": "not_found"}}
    world.wire.say("1", "2", "phoenix", "surprise", {})
    assert (await world.hears(2))[1][4]["status"] == "error"


async def test_a_slow_client_is_told_what_it_missed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_socket, "MAX_WAITING", 1_000)
    world.wire.say("1", "1", "telemetry:all", "phx_join", {})
    await world.hears(2)
    world.wire.open.clear()
    for number in range(100):
        world.topics.pushes[0]("event", {"n": number})
    world.wire.open.set()

    def told() -> bool:
        return bool(world.wire.heard[-1][3] == "events_skipped")

    await eventually(told)
    got = [message[4]["n"] for message in world.wire.heard if message[3] == "event"]
    assert got == list(range(len(got))) and 0 < len(got) < 100
    assert world.wire.heard[-1][4] == {"count": 100 - len(got)}
    world.topics.pushes[0]("event", {"n": 100})
    await eventually(lambda: world.wire.heard[-1][4] == {"n": 100})


@pytest.mark.parametrize("text", ["no json", b"\x00\x00", json.dumps(["1", "1", "t", "e", {"long": "x" * 70_000}])])
async def test_what_is_no_message_closes(text: str | bytes) -> None:
    world = World()
    world.wire.to_server.put_nowait(text)
    await asyncio.wait_for(world.socket.run(), 10)
    assert world.wire.closed is not None and world.wire.closed[0] in (4400, 4413)


async def test_a_revoked_key_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_socket, "LOOK_S", 0.01)
    world = World()
    running = asyncio.create_task(world.socket.run())
    world.wire.say("1", "1", "telemetry:all", "phx_join", {})
    await world.hears(2)
    world.access = Access(Settings(), Definitions(), SystemClock())
    await asyncio.wait_for(running, 10)
    assert world.wire.closed is not None and world.wire.closed[0] == 4401 and world.topics.left == 1


async def test_a_silent_client_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_socket, "IDLE_S", 0.01)
    world = World()
    await asyncio.wait_for(world.socket.run(), 10)
    assert world.wire.closed is None


async def test_a_client_that_takes_no_answers_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_socket, "MAX_WAITING", 1_000)
    world.wire.open.clear()
    for number in range(1_000):
        world.wire.say(None, str(number), "phoenix", "heartbeat", {})
    await eventually(lambda: world.socket._size > 1_500)
    await asyncio.sleep(0.05)
    assert world.wire.to_server.qsize() > 900 and world.socket._size < 3_000
    world.wire.open.set()
    assert [message[1] for message in await world.hears(1_000)] == [str(number) for number in range(1_000)]


async def test_a_client_that_takes_nothing_for_long_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_socket, "MAX_WAITING", 1_000)
    monkeypatch.setattr(channel_socket, "IDLE_S", 0.05)
    world = World()
    world.wire.open.clear()
    for number in range(1_000):
        world.wire.say(None, str(number), "phoenix", "heartbeat", {})
    await asyncio.wait_for(world.socket.run(), 10)
    assert world.wire.to_server.qsize() > 900


async def test_a_key_whose_permissions_change_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_socket, "LOOK_S", 0.01)
    world = World()
    world.socket._admit = lambda: replace(world.admit(), permissions=frozenset())
    await asyncio.wait_for(world.socket.run(), 10)
    assert world.wire.closed is not None and world.wire.closed[0] == 4403


async def test_events_are_told_as_they_were_sent_whatever_they_hold(world: World) -> None:
    world.wire.say("1", "1", "telemetry:all", "phx_join", {})
    await world.hears(2)
    channel = TelemetryChannel(world.topics.pushes[0], "default", None)
    channel.events([TelemetryEvent("e", "a.b", "", 0, '{"loss": 1e999}', '{"half": "\\ud800"}', "")], 0)
    payload = (await world.hears(3))[2][4]
    assert payload["measurements"] == {"loss": float("inf")} and payload["metadata"] == {"half": "\ud800"} and payload["event_name"] == ["a", "b"]


def test_a_type_is_no_longer_than_a_name() -> None:
    channel = TelemetryChannel(lambda event, payload: None, "default", None)
    assert channel.handle("subscribe", {"event_types": ["x" * 512]})
    with pytest.raises(InvalidArgument, match="512"):
        channel.handle("subscribe", {"event_types": ["x" * 513]})
