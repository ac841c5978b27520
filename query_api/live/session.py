"""One live connection from its first message to its close."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import quote

import msgspec
import structlog

from infra.runtime.errors import InvalidArgument, MillstreamError, Overloaded, TooLarge, Unauthenticated
from query_api.access import Access, Caller
from query_api.domain.costs_on_read import is_computed_on_read
from query_api.errors import Defect
from query_api.live.flow import Flow
from query_api.live.hub import Hub
from query_api.live.messages import Authenticate, Ping, Request, Subscribe, Unsubscribe, decode_request, encode, encode_error, encode_snapshot, encode_state
from query_api.live.outbox import Outbox
from query_api.live.subscription import EVERY, Subscription, Topic
from query_api.readers.window_state import WindowState
from query_api.readers.windows import WindowFilter, WindowReader

_log = structlog.get_logger()

AUTHENTICATE_S = 10.0
"""How long a connection without a key in a header may take to send one."""
MAX_MESSAGE = 65_536
"""Longest message of a client, in characters."""
MAX_SUBSCRIPTIONS = 256
SNAPSHOT_ROWS = 10_000
"""Windows in a snapshot; beyond it the ones computed last are sent and `truncated` is set."""
SNAPSHOT_ROWS_EVERY: Final = 200
"""The same for every subject at once."""
LOOK_S = 1.0
"""How often a connection looks for losses and whether its key still holds."""
CLOSE_S = 5.0
"""How long a client has to take the reason of a close."""
SNAPSHOT_PART = 500
"""Windows per snapshot message."""


class Socket(Protocol):
    """The connection as the session sees it."""

    async def receive_text(self) -> str:
        """The next message. Raises `Gone` at the end of the connection."""
        ...

    async def send_text(self, data: str) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...


class Gone(Exception):
    """The client closed the connection or lost it."""


class Session:
    """Runs one connection: a loop that reads requests, one that sends, one for heartbeats."""

    def __init__(
        self, socket: Socket, hub: Hub, flow: Flow, windows: WindowReader, access: Access, *, caller: Caller | None, queue: int, heartbeat_s: float
    ) -> None:
        self._socket = socket
        self._hub = hub
        self._flow = flow
        self._windows = windows
        self._access = access
        self._caller = caller
        self._heartbeat_s = heartbeat_s
        self._subscriptions: dict[Topic, Subscription] = {}
        self.outbox = Outbox(queue)

    async def run(self) -> None:
        """Until either side ends it; never raises for what a client does."""
        try:
            async with asyncio.timeout(AUTHENTICATE_S):
                caller = self._caller or await self._authenticate()
            await self._serve(caller)
        except Gone:
            pass
        except TimeoutError:
            await self._close(Unauthenticated(f"no key within {AUTHENTICATE_S:g} s; send an authenticate message first"))
        except MillstreamError as error:
            await self._close(error)
        except Exception:  # noqa: BLE001
            # Whatever went wrong, the client learns the id under which the log has the rest.
            error_id = uuid.uuid4().hex
            _log.exception("live connection failed", error_id=error_id)
            await self._close(Defect(error_id))
        finally:
            self._flow.leave(self.outbox)
            for subscription in self._subscriptions.values():
                self._hub.remove(subscription)

    async def _serve(self, caller: Caller) -> None:
        self.outbox.put(encode("authenticated", tenant=caller.tenant, heartbeat_s=self._heartbeat_s))
        tasks = [asyncio.create_task(each) for each in (self._read(caller), self._write(), self._beat(caller))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _authenticate(self) -> Caller:
        request = await self._request()
        if not isinstance(request, Authenticate):
            raise Unauthenticated("the first message must be authenticate, unless the key came in a header")
        return self._access.with_key(request.key, "read")

    async def _request(self) -> Request:
        text = await self._socket.receive_text()
        if len(text) > MAX_MESSAGE:
            raise TooLarge(f"a message may have {MAX_MESSAGE} characters")
        try:
            return decode_request(text)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InvalidArgument(f"not a message of this connection: {error}") from None

    async def _read(self, caller: Caller) -> None:
        while True:
            request = await self._request()
            await self.outbox.room()
            about = msgspec.to_builtins(request) if not isinstance(request, Authenticate) else None
            try:
                await self._handle(caller, request)
            except MillstreamError as error:
                self.outbox.put(encode_error(error, about))

    async def _handle(self, caller: Caller, request: Request) -> None:
        match request:
            case Ping():
                self.outbox.put(encode("pong"))
            case Authenticate():
                raise InvalidArgument("this connection is authenticated; open another for another key")
            case Subscribe(kind="flow"):
                self._flow.watch(self.outbox)
            case Unsubscribe(kind="flow"):
                self._flow.leave(self.outbox)
            case Subscribe():
                await self._subscribe(caller, request)
            case Unsubscribe():
                self._unsubscribe(Topic(caller.tenant, request.kind, request.subject, request.grain))

    async def _subscribe(self, caller: Caller, request: Subscribe) -> None:
        topic = Topic(caller.tenant, request.kind, request.subject, request.grain)
        if request.subject == EVERY and request.from_revision is not None:
            raise InvalidArgument("from_revision needs a subject, because each subject counts its own revisions")
        if is_computed_on_read(topic.kind, topic.subject, topic.grain):
            raise InvalidArgument(f"windows that are computed when they are read: GET /platform/v1/windows/cost?subject={quote(topic.subject)}")
        if topic not in self._subscriptions and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise Overloaded(f"a connection may hold {MAX_SUBSCRIPTIONS} subscriptions; use `*` or another connection")
        self._unsubscribe(topic, confirm=False)
        # First listen, then read: what changes in between is held back, and passes unless the snapshot has it.
        subscription = Subscription(topic, self.outbox)
        self._hub.add(subscription)
        self._subscriptions[topic] = subscription
        try:
            states, truncated = await self._snapshot(topic, request.from_revision)
        except BaseException:
            self._unsubscribe(topic, confirm=False)
            raise
        about = {"kind": topic.kind, "subject": topic.subject, "grain": topic.grain, "from_revision": request.from_revision}
        parts: Sequence[Sequence[WindowState]] = [states[start : start + SNAPSHOT_PART] for start in range(0, len(states), SNAPSHOT_PART)] or [[]]
        for number, part in enumerate(parts, 1):
            self.outbox.put(encode_snapshot(about, part, last=number == len(parts), truncated=truncated))
        subscription.open(states)

    async def _snapshot(self, topic: Topic, from_revision: int | None) -> tuple[list[WindowState], bool]:
        limit = SNAPSHOT_ROWS_EVERY if topic.subject == EVERY else SNAPSHOT_ROWS
        after = -1 if from_revision is None else from_revision
        found = await self._windows.newest(topic.kind, topic.tenant, _filter(topic), limit=limit + 1, after_revision=after)
        newest = found[:limit]
        return sorted(newest, key=_in_order), len(found) > limit

    def _unsubscribe(self, topic: Topic, *, confirm: bool = True) -> None:
        subscription = self._subscriptions.pop(topic, None)
        if subscription is not None:
            self._hub.remove(subscription)
            self.outbox.forget(lambda state: any(other.takes(state) for other in self._subscriptions))
        if confirm:
            self.outbox.put(encode("unsubscribed", kind=topic.kind, subject=topic.subject, grain=topic.grain))

    async def _write(self) -> None:
        while True:
            item = await self.outbox.take()
            message = item if isinstance(item, bytes) else encode_state(item)
            await self._socket.send_text(message.decode())

    async def _beat(self, caller: Caller) -> None:
        # Looks around more often than it beats: a lost update is late already, and a revoked key must not last.
        step = min(LOOK_S, self._heartbeat_s)
        since_beat = 0.0
        while True:
            await asyncio.sleep(step)
            since_beat += step
            if caller.key is not None:
                self._access.with_key(caller.key, "read")
            await self._catch_up()
            if since_beat >= self._heartbeat_s:
                since_beat = 0.0
                self.outbox.put(encode("heartbeat"))

    async def _catch_up(self) -> None:
        lost = self.outbox.lost_since_us
        if lost is None or len(self.outbox) > 0:
            return
        self.outbox.lost_since_us = None
        try:
            for topic in list(self._subscriptions):
                found = await self._windows.newest(topic.kind, topic.tenant, _filter(topic), limit=SNAPSHOT_ROWS, computed_since_us=lost)
                for state in sorted(found, key=_in_order):
                    if topic in self._subscriptions:
                        self.outbox.offer(state)
        except MillstreamError:
            # ClickHouse is away: the loss stays noted and is looked at again in a moment.
            self.outbox.lose(lost)

    async def _close(self, error: MillstreamError) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._socket.send_text(encode_error(error).decode())
                await self._socket.close(error.kind.close, error.code)
        except (Gone, TimeoutError):
            pass


def _filter(topic: Topic) -> WindowFilter:
    return WindowFilter(subject=None if topic.subject == EVERY else topic.subject, grain=topic.grain)


def _in_order(state: WindowState) -> tuple[int, int]:
    return (state.computed_us, state.revision)
