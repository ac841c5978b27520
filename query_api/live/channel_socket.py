"""One connection of a client of Phoenix Channels, from its first message to its close."""

import asyncio
import uuid
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import structlog

from infra.runtime.errors import Forbidden, MillstreamError, Overloaded, TooLarge
from query_api.access import Caller
from query_api.errors import Defect
from query_api.live.channel_topics import ChannelTopics, Joined
from query_api.live.channel_wire import CLOSE, HEARTBEAT, JOIN, LEAVE, SYSTEM_TOPIC, Message, Payload, Serializer, reply
from query_api.live.session import Gone

_log = structlog.get_logger()

IDLE_S: Final = 60.0
"""A client that says nothing for so long, or takes none of what waits for it, is gone; it sends a heartbeat every 30 s."""
LOOK_S: Final = 1.0
"""How often a connection looks whether its key still holds."""
MAX_MESSAGE: Final = 65_536
MAX_TOPICS: Final = 256
MAX_WAITING: Final = 16 * 2**20
"""Characters of pushes that may wait for a slow client; those beyond are left out, and it is told how many."""
_UNMATCHED: Final = {"reason": "unmatched topic"}


class Wire(Protocol):
    """The connection as this sees it."""

    async def receive(self) -> str | bytes:
        """The next message. Raises `Gone` at the end of the connection."""
        ...

    async def send_text(self, data: str) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...


class _Topic(NamedTuple):
    join_ref: str | None
    joined: Joined


class ChannelSocket:
    """Runs one connection: a loop that reads messages, one that sends, one that looks after the key."""

    def __init__(self, wire: Wire, serializer: Serializer, topics: ChannelTopics, caller: Caller, admit: Callable[[], Caller]) -> None:
        """`admit` raises Unauthenticated or Forbidden once the client may no longer be here."""
        self._wire = wire
        self._serializer = serializer
        self._topics = topics
        self._caller = caller
        self._admit = admit
        self._joined: dict[str, _Topic] = {}
        self._waiting: deque[str] = deque()
        self._size = 0
        self._skipped: Counter[str] = Counter()
        self._ready = asyncio.Event()
        self._taken = asyncio.Event()

    async def run(self) -> None:
        """Until either side ends it; never raises for what a client does."""
        tasks = [asyncio.create_task(each) for each in (self._read(), self._write(), self._look())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (Gone, TimeoutError):
            pass
        except MillstreamError as error:
            await self._close(error)
        except Exception:  # noqa: BLE001
            # Whatever went wrong, the client learns the id under which the log has the rest.
            error_id = uuid.uuid4().hex
            _log.exception("channel connection failed", error_id=error_id)
            await self._close(Defect(error_id))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for topic in self._joined.values():
                topic.joined.leave()

    async def _read(self) -> None:
        while True:
            async with asyncio.timeout(IDLE_S):
                await self._room()
                text = await self._wire.receive()
            if len(text) > MAX_MESSAGE:
                raise TooLarge(f"a message may have {MAX_MESSAGE} characters")
            message = self._serializer.decode(text)
            if message.topic == SYSTEM_TOPIC:
                self._send(reply(message, {}) if message.event == HEARTBEAT else reply(message, _UNMATCHED, ok=False))
            elif message.event == JOIN:
                await self._join(message)
            else:
                self._handle(message)

    async def _room(self) -> None:
        """Until its answers fit in: a client that does not read is not read either. Pushes alone never need so much."""
        while self._size > 2 * MAX_WAITING:
            self._taken.clear()
            await self._taken.wait()

    async def _join(self, message: Message) -> None:
        self._leave(message.topic)
        join_ref = message.join_ref if message.join_ref is not None else message.ref
        early: list[Message] = []
        answered = False

        def push(event: str, payload: dict[str, Any]) -> None:
            said = Message(join_ref, None, message.topic, event, payload)
            if answered:
                self._push(said)
            else:  # until the reply the client does not listen
                early.append(said)

        try:
            if len(self._joined) >= MAX_TOPICS:
                raise Overloaded(f"a connection may join {MAX_TOPICS} topics; leave one or use another connection")
            joined = await self._topics.join(message.topic, self._caller, push)
        except MillstreamError as error:
            self._send(reply(message, {"reason": error.message, "code": error.code}, ok=False))
            return
        self._joined[message.topic] = _Topic(join_ref, joined)
        self._send(reply(message, joined.answer))
        answered = True
        for said in early:
            self._push(said)

    def _handle(self, message: Message) -> None:
        topic = self._joined.get(message.topic)
        if topic is None or message.join_ref not in (None, topic.join_ref):
            self._send(reply(message, _UNMATCHED, ok=False))
        elif message.event == LEAVE:
            self._send(reply(message, {}))
            self._leave(message.topic)
        else:
            try:
                self._send(reply(message, topic.joined.channel.handle(message.event, dict(message.payload))))
            except MillstreamError as error:
                self._send(reply(message, {"reason": error.message, "code": error.code}, ok=False))

    def _leave(self, name: str) -> None:
        topic = self._joined.pop(name, None)
        if topic is not None:
            topic.joined.leave()
            # It says which join is over, so that a client that joined anew does not take it for that.
            self._send(Message(topic.join_ref, topic.join_ref, name, CLOSE, {}))

    def _push(self, message: Message) -> None:
        if self._size > MAX_WAITING:
            self._skipped[message.topic] += 1
        else:
            self._send(message)

    def _send(self, message: Message) -> None:
        text = self._serializer.encode(message)
        self._size += len(text)
        self._waiting.append(text)
        self._ready.set()

    async def _write(self) -> None:
        while True:
            while not self._waiting:
                self._say_what_was_left_out()
                if not self._waiting:
                    self._ready.clear()
                    await self._ready.wait()
            text = self._waiting.popleft()
            self._size -= len(text)
            await self._wire.send_text(text)
            self._taken.set()

    def _say_what_was_left_out(self) -> None:
        skipped, self._skipped = self._skipped, Counter()
        for name, count in skipped.items():
            if name in self._joined:
                payload: Payload = {"count": count}
                self._send(Message(self._joined[name].join_ref, None, name, "events_skipped", payload))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._admit().permissions != self._caller.permissions:
                raise Forbidden("what this key may do has changed; connect again")

    async def _close(self, error: MillstreamError) -> None:
        try:
            async with asyncio.timeout(5.0):
                await self._wire.close(error.kind.close, error.code)
        except (Gone, TimeoutError):
            pass
