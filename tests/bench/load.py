"""A load generator that costs little: prepared requests over keep-alive connections, on one event loop."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


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


async def _read(reader: asyncio.StreamReader) -> tuple[int, str]:
    head = await reader.readuntil(b"\r\n\r\n")
    status, length, position = int(head[9:12]), 0, ""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        lower = name.lower()
        if lower == b"content-length":
            length = int(value)
        elif lower == b"x-millstream-position":
            position = value.strip().decode()
    if length:
        await reader.readexactly(length)
    return status, position


async def run(
    host: str, port: int, requests: Sequence[bytes], total: int, connections: int, *, rate: float = 0.0, on_answer: Callable[[str, float], None] | None = None
) -> Outcome:
    """Send `total` requests, cycling through the prepared ones, over so many connections; `rate` per second, 0 for as fast as answered."""
    outcome = Outcome()
    sent = 0
    started = time.perf_counter()

    async def client() -> None:
        nonlocal sent
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        try:
            while sent < total:
                number, sent = sent, sent + 1
                if rate:
                    due = started + number / rate
                    if (wait := due - time.perf_counter()) > 0:
                        await asyncio.sleep(wait)
                begun = time.perf_counter()
                writer.write(requests[number % len(requests)])
                await writer.drain()
                status, position = await _read(reader)
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
            writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    outcome.seconds = time.perf_counter() - started
    return outcome
