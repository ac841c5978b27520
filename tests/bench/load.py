"""A load generator that costs little: prepared requests over keep-alive connections, on one event loop."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast


@dataclass
class Outcome:
    """What came back."""

    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    """Highest acknowledged offset by `topic:partition`."""
    seconds: float = 0.0

    def percentile(self, share: float) -> float:
        """Latency in seconds below which the share of requests was answered."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def request(path: str, body: bytes, key: str, content_type: str = "application/json", extra: str = "") -> bytes:
    """One HTTP/1.1 POST, ready to be written."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Type: {content_type}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def get(path: str, key: str) -> bytes:
    """One HTTP/1.1 GET, ready to be written; the path is percent-encoded already."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


class _Connection(asyncio.Protocol):
    """A kept-alive connection with one request under way at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[tuple[int, str]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the connection was closed before the answer"))

    async def ask(self, request: bytes) -> tuple[int, str]:
        """Status and position of the answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = received[:end].lower()
        if len(received) < end + 4 + int(_header(head, b"content-length") or 0) or self._answer is None:
            return
        self._received = b""
        self._answer.set_result((int(head[9:12]), _header(head, b"x-millstream-position").decode()))


def _header(head: bytes, name: bytes) -> bytes:
    """Of a head in lower case; empty when it is not there."""
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


async def run(
    host: str, port: int, requests: Sequence[bytes], total: int, connections: int, *, rate: float = 0.0, on_answer: Callable[[str, float], None] | None = None
) -> Outcome:
    """Send `total` requests, cycling through the prepared ones, over so many connections; `rate` per second, 0 for as fast as answered."""
    outcome = Outcome()
    sent = 0
    started = time.perf_counter()

    async def client() -> None:
        nonlocal sent
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, host, port)
        try:
            while sent < total:
                number, sent = sent, sent + 1
                if rate:
                    due = started + number / rate
                    if (wait := due - time.perf_counter()) > 0:
                        await asyncio.sleep(wait)
                begun = time.perf_counter()
                status, position = await connection.ask(requests[number % len(requests)])
                ended = time.perf_counter()
                outcome.requests += 1
                outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
                outcome.latencies_s.append(ended - begun)
                if position:
                    place, _, offset = position.rpartition(":")
                    outcome.positions[place] = max(outcome.positions.get(place, -1), int(offset))
                    if on_answer is not None:
                        on_answer(position, time.time())
        finally:
            connection.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    outcome.seconds = time.perf_counter() - started
    return outcome
