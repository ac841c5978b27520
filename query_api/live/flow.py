"""What flows now: rows and freshness per topic, sampled once for all who watch."""

import asyncio
from typing import Any

import structlog

from infra.runtime.clock import Clock
from infra.runtime.errors import MillstreamError
from query_api.live.messages import encode
from query_api.live.outbox import Outbox
from query_api.readers.ledger import LedgerReader

_log = structlog.get_logger()

EVERY_S = 1.0
SPAN_S = 30
"""Seconds the figures are about."""


class Flow:
    """Samples the ledger every second while anyone watches, and not otherwise."""

    def __init__(self, ledger: LedgerReader, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._watching: set[Outbox] = set()
        self._wake = asyncio.Event()

    def watch(self, outbox: Outbox) -> None:
        """From now on the client gets a sample each second."""
        self._watching.add(outbox)
        self._wake.set()

    def leave(self, outbox: Outbox) -> None:
        """Ends it; idempotent."""
        self._watching.discard(outbox)

    async def run(self) -> None:
        """Until cancelled. A sample that cannot be taken is left out."""
        while True:
            if not self._watching:
                self._wake.clear()
                await self._wake.wait()
            try:
                message = encode("flow", **await self.sample())
            except MillstreamError as error:
                message = encode("flow", topics=[], span_s=SPAN_S, problem=error.message)
            for outbox in list(self._watching):
                # A client that has not taken the last samples needs no further one.
                if len(outbox) < 2:
                    outbox.put(message)
            await asyncio.sleep(EVERY_S)

    async def sample(self) -> dict[str, Any]:
        """Rates and freshness over the last half minute. Raises Unavailable without ClickHouse."""
        found = await self._ledger.freshness(self._clock.now_us() - SPAN_S * 1_000_000)
        return {
            "span_s": SPAN_S,
            "topics": [
                {
                    "topic": topic.topic,
                    "rows": topic.rows,
                    "rows_per_s": round(topic.rows / SPAN_S, 1),
                    "blocks": topic.blocks,
                    "p50_ms": topic.p50_ms,
                    "p95_ms": topic.p95_ms,
                    "p99_ms": topic.p99_ms,
                }
                for topic in found
            ],
        }
