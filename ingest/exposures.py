"""Exposures that evaluating makes: the unit was told its variant, so it counts from now on."""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from infra.runtime.clock import Clock, uuid7
from infra.runtime.errors import MillstreamError
from ingest import events, metrics
from ingest.events import EventIn, EventRows
from ingest.json_rows import Received
from schemas.assignment import Assignment

REMEMBERED = 100_000
"""Exposures of which this process knows that they are stored."""
PATIENCE_S = 1.0
"""The longest an evaluation waits until its exposure is stored."""
PAUSE_S = 1.0
"""After a failure only one evaluation in this time tries and waits."""


class Exposure(NamedTuple):
    """A unit that was told its variant."""

    tenant: str
    experiment: str
    unit: str
    variant: str


class Recorded(NamedTuple):
    """What became of an exposure."""

    stored: bool
    position: str = ""
    """Where it was stored now; empty when it was stored before, or not."""


Store = Callable[[EventRows], Awaitable[str]]
"""Stores events and gives their position. Raises MillstreamError when it cannot."""


class Exposures:
    """Records each exposure once, as far as this process remembers. A second record of the same one changes no result."""

    def __init__(self, store: Store, clock: Clock, remembered: int = REMEMBERED, patience_s: float = PATIENCE_S) -> None:
        self._store = store
        self._clock = clock
        self._remembered = remembered
        self._patience_s = patience_s
        self._process = uuid7(clock.now_us()).hex[:24]
        self._numbers = itertools.count()
        self._known: OrderedDict[Exposure, None] = OrderedDict()
        self._away = False
        self._next_try = 0.0

    async def record(self, tenant: str, unit: str, assignment: Assignment | None, source: str, sdk: str) -> Recorded:
        """Store the exposure that an assignment is, and wait for it. `source` is what was asked for, `sdk` the client library.

        Not stored: what does not count (see `Assignment.counts`), and what Kafka does not take in time. Never raises, because an
        application must learn its variant even then.
        """
        if assignment is None or assignment.variant is None or not assignment.counts:
            return Recorded(False)
        exposure = Exposure(tenant, assignment.experiment, unit, assignment.variant.name)
        if exposure in self._known:
            self._known.move_to_end(exposure)
            return Recorded(True)
        if self._away:
            now = self._clock.monotonic()
            if now < self._next_try:
                return self._lost()
            self._next_try = now + PAUSE_S
        try:
            async with asyncio.timeout(self._patience_s):
                position = await self._store(self._rows(exposure, source, sdk))
        except (MillstreamError, TimeoutError):
            self._away, self._next_try = True, self._clock.monotonic() + PAUSE_S
            return self._lost()
        self._away = False
        self._known[exposure] = None
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)
        return Recorded(True, position)

    def _rows(self, exposure: Exposure, source: str, sdk: str) -> EventRows:
        received = Received(exposure.tenant, self._clock.now_us(), f"exp_{self._process}-{next(self._numbers):x}-", sdk, source)
        metadata = msgspec.Raw(msgspec.json.encode({"source": source}))
        return events.rows_of([EventIn(exposure.unit, "exposure", exposure.experiment, exposure.variant, None, metadata)], received)

    def _lost(self) -> Recorded:
        metrics.EXPOSURES_LOST.inc()
        return Recorded(False)
