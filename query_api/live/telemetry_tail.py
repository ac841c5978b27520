"""Follows telemetry as it is stored, for live clients: one look for all of them, and none while nobody listens."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import structlog

from infra.runtime.clock import Clock
from infra.runtime.errors import MillstreamError, QueryLimit
from query_api.freshness import Freshness
from query_api.readers.runs import Run, RunReader
from query_api.readers.telemetry import TelemetryEvent
from query_api.readers.telemetry_tail import Range, TelemetryTailReader, Types
from schemas.topics import TELEMETRY

_log = structlog.get_logger()

LOOK_S: Final = 0.25
"""Between two looks at what was stored."""
AWAY_S: Final = 1.0
"""After one that failed."""
AT_ONCE: Final = 2_000
"""Events that one look hands out at most, each tenant its share of them; clients are told how many they did not get."""
AT_ONCE_LARGE: Final = 100
"""The same where so many are more than one read may take."""
RUNS_AT_ONCE: Final = 10_000
"""Runs that wait to be read at most; the next event of one that is left out brings it back."""
REST: Final = 4.0
"""For so many times as long as the runs took to read nobody reads them again."""
REMEMBERED: Final = 10_000
"""Events that are not handed out again when they come in another batch."""


class Listener(Protocol):
    """Who is told. Nothing in it may block."""

    tenant: str

    @property
    def experiment(self) -> str | None:
        """Only what belongs to this experiment; None for everything of the tenant."""
        ...

    types: frozenset[str] | None
    """Types of events that it wants, each a name or the end of names from a dot on; None for all, empty for none."""
    wants_runs: bool

    def events(self, events: Sequence[TelemetryEvent], skipped: int) -> None:
        """Events as they were stored, of these types and perhaps of others; after them `skipped` more were not looked at."""
        ...

    def runs(self, runs: Sequence[Run]) -> None:
        """Runs that have new events, as they are now."""
        ...


class TelemetryTail:
    """Belongs to one event loop."""

    def __init__(self, reader: TelemetryTailReader, runs: RunReader, freshness: Freshness, clock: Clock) -> None:
        self._reader = reader
        self._runs = runs
        self._freshness = freshness
        self._clock = clock
        self._listeners: set[Listener] = set()
        self._place: dict[int, int] | None = None
        """By partition the offset of the last block looked at; None while nobody listens."""
        self._touched: set[tuple[str, str, str]] = set()
        self._runs_rest_until = 0.0
        self._known: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._wake = asyncio.Event()

    async def listen(self, listener: Listener) -> None:
        """From when this returns on the listener hears of everything that is stored. Raises Unavailable without ClickHouse."""
        if self._place is None:
            marks = await self._marks()
            if self._place is None:
                self._place = marks
        self._listeners.add(listener)
        self._wake.set()

    def leave(self, listener: Listener) -> None:
        """Ends it; idempotent."""
        self._listeners.discard(listener)

    async def run(self) -> None:
        """Until cancelled. A look that fails is repeated; only what is too much for any read is passed over."""
        while True:
            if not self._listeners:
                self._place = None
                self._touched.clear()
                self._wake.clear()
                await self._wake.wait()
            try:
                await self.look()
            except MillstreamError as error:
                _log.warning("telemetry not followed, trying again", problem=error.message)
                await asyncio.sleep(AWAY_S)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Hand out what came since the last look. Raises Unavailable without ClickHouse."""
        before, marks = self._place or {}, await self._marks()
        # A log that was made anew begins at nought.
        ranges: list[Range] = [(part, before.get(part, -1) if before.get(part, -1) <= high else -1, high) for part, high in sorted(marks.items())]
        ranges = [each for each in ranges if each[2] != each[1]]
        if ranges:
            await self._events(ranges)
            await self._touch(ranges)
        self._place = marks
        await self._read_runs()

    async def _events(self, ranges: Sequence[Range]) -> None:
        listeners = [each for each in self._listeners if each.types is None or each.types]
        if not listeners:
            return
        types = None if any(each.types is None for each in listeners) else sorted({name for each in listeners for name in each.types or ()})
        found, counts = await self._found(ranges, sorted({each.tenant for each in listeners}), types)
        events = [(tenant, event) for tenant, event in found if self._is_new(tenant, event)]
        for listener in listeners:
            mine = [event for tenant, event in events if tenant == listener.tenant and listener.experiment in (None, event.experiment)]
            skipped = counts.get(listener.tenant, 0) - sum(tenant == listener.tenant for tenant, _ in found)
            if mine or skipped:
                listener.events(mine, skipped)

    async def _found(self, ranges: Sequence[Range], tenants: Sequence[str], types: Types) -> tuple[list[tuple[str, TelemetryEvent]], Mapping[str, int]]:
        """What is handed out, and how many events of the types each tenant has there."""
        at_once = AT_ONCE
        try:
            found = await self._reader.events(ranges, tenants, types, at_once)
            if len(found) < at_once:
                return found, Counter(tenant for tenant, _ in found)
        except QueryLimit:
            found, at_once = [], AT_ONCE_LARGE
        counts = await self._reader.counts(ranges, tenants, types)
        if len(counts) > 1 or not found:
            # Where one tenant sends more or larger events than the others, these get theirs all the same.
            found = [each for tenant in counts for each in await self._share(ranges, tenant, types, max(1, at_once // len(counts)))]
        return found, counts

    async def _share(self, ranges: Sequence[Range], tenant: str, types: Types, limit: int) -> list[tuple[str, TelemetryEvent]]:
        try:
            return await self._reader.events(ranges, [tenant], types, limit)
        except QueryLimit as error:
            _log.warning("telemetry not told to live clients", tenant=tenant, problem=error.message)
            return []

    async def _touch(self, ranges: Sequence[Range]) -> None:
        tenants, room = sorted({each.tenant for each in self._listeners if each.wants_runs}), RUNS_AT_ONCE - len(self._touched)
        if not tenants or room <= 0:
            return
        try:
            self._touched |= await self._reader.runs(ranges, tenants, room)
        except QueryLimit as error:
            _log.warning("runs not told to live clients", problem=error.message)

    async def _read_runs(self) -> None:
        began = self._clock.monotonic()
        if not self._touched or began < self._runs_rest_until:
            return
        touched, self._touched = self._touched, set()
        watched = {(each.tenant, each.experiment) for each in self._listeners if each.wants_runs}
        wanted = {(tenant, experiment, run) for tenant, experiment, run in touched if (tenant, experiment) in watched or (tenant, None) in watched}
        try:
            for tenant in {tenant for tenant, _, _ in wanted}:
                runs = await self._runs.runs(tenant, sorted({run for of, _, run in wanted if of == tenant}))
                for listener in [each for each in self._listeners if each.wants_runs and each.tenant == tenant]:
                    mine = [run for run in runs.values() if listener.experiment in (None, run.experiment)]
                    if mine:
                        listener.runs(mine)
        except QueryLimit as error:
            _log.warning("runs not told to live clients", problem=error.message)
        except MillstreamError:
            self._touched |= touched
            raise
        ended = self._clock.monotonic()
        self._runs_rest_until = ended + REST * (ended - began)

    def _is_new(self, tenant: str, event: TelemetryEvent) -> bool:
        key = (tenant, event.event_name, event.event_id)
        if key in self._known:
            return False
        self._known[key] = None
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return True

    async def _marks(self) -> dict[int, int]:
        found = {place.rpartition(":"): offset for place, offset in (await self._freshness.watermark()).items()}
        return {int(partition): offset for (topic, _, partition), offset in found.items() if topic == TELEMETRY.name}
