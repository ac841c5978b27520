"""The stream of flag changes: Server-Sent Events that tell a client to evaluate again (OFREP 0.3.0, ADR 0008)."""

import asyncio
from dataclasses import dataclass, field

import msgspec

from infra.runtime.clock import Clock
from infra.runtime.errors import Overloaded
from ingest import metrics
from ingest.evaluators import Evaluators
from ingest.exchange import Receive, Send
from schemas.definitions import Change, Definitions

MAX_STREAMS = 10_000
"""Open streams of one process; each holds a connection."""
HEARTBEAT_S = 15.0
"""Silence after which a comment shows that the connection lives."""
GAP_S = 0.1
"""Shortest time between two events of a stream: changes in quick succession are one event."""

_HEAD = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store, no-transform"), (b"x-accel-buffering", b"no")]
_CHANGING = ("flag", "experiment", "exclusion_group", "key", "user")
_encode = msgspec.json.Encoder().encode


@dataclass(eq=False)
class _Stream:
    tenant: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class FlagStreams:
    """All open streams of this process.

    A stream keeps no queue: it knows the version it told last and compares it with the present one when it is woken, so a slow reader
    delays nobody and finds the newest version when it comes back. Because a version is told only once this process evaluates it, a
    client that asks again at once sees it.
    """

    def __init__(self, definitions: Definitions, evaluators: Evaluators, clock: Clock, heartbeat_s: float = HEARTBEAT_S, limit: int = MAX_STREAMS) -> None:
        self._definitions = definitions
        self._evaluators = evaluators
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._limit = limit
        self._streams: set[_Stream] = set()
        self._closing = False
        definitions.on_change(self._changed)

    @property
    def open(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def serve(self, tenant: str, key_id: str, known: str, headers: list[tuple[bytes, bytes]], receive: Receive, send: Send) -> None:
        """Answer with a stream until the client goes, its key ends or `close` is called.

        `known` is the version the client has seen: when another one holds, the stream begins with an event. Raises Overloaded, with
        nothing sent, when too many streams are open.
        """
        if len(self._streams) >= self._limit:
            raise Overloaded(f"This process serves {self._limit} streams already. Poll, or connect again later.", retry_after_s=30)
        stream = _Stream(tenant)
        gone = asyncio.create_task(_until_gone(receive))
        gone.add_done_callback(lambda _: stream.wake.set())
        self._streams.add(stream)
        metrics.FLAG_STREAMS.set(len(self._streams))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [*_HEAD, *headers]})
            await _write(send, b": open\nretry: 2000\n\n")
            told = known or self._evaluators.version(tenant)
            while not gone.done() and not self._closing and self._definitions.valid_key(tenant, key_id, self._clock.now_us()):
                stream.wake.clear()
                version = self._evaluators.version(tenant)
                if version != told:
                    await _write(send, self._event(tenant, version))
                    told = version
                    await asyncio.sleep(GAP_S)
                elif not await self._woken(stream):
                    await _write(send, b":\n\n")
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            self._streams.discard(stream)
            metrics.FLAG_STREAMS.set(len(self._streams))

    def close(self) -> None:
        """End every stream, now and in the future; clients connect again elsewhere."""
        self._closing = True
        for stream in self._streams:
            stream.wake.set()

    def _event(self, tenant: str, version: str) -> bytes:
        data = _encode({"type": "refetchEvaluation", "etag": version, "lastModified": self._evaluators.changed_at(tenant)})
        return b"id: %b\nevent: message\ndata: %b\n\n" % (version.encode(), data)

    async def _woken(self, stream: _Stream) -> bool:
        try:
            async with asyncio.timeout(self._heartbeat_s):
                await stream.wake.wait()
        except TimeoutError:
            return False
        return True

    def _changed(self, change: Change) -> None:
        if change.kind in _CHANGING:
            for stream in self._streams:
                if stream.tenant == change.tenant:
                    stream.wake.set()


async def _write(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
