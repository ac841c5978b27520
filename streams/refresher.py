"""Refreshing windows: marks of one subject are gathered, its windows recomputed, and only then the marks acknowledged."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from infra.runtime.clickhouse import ClickHouseError
from infra.runtime.clock import Clock
from infra.runtime.errors import MillstreamError
from infra.runtime.settings import StreamSettings
from schemas import position
from schemas.avro import Mark
from schemas.blocks import MAX_UNITS
from schemas.windows import Grain, windows_touched
from streams import metrics
from streams.acks import Ack

_log = structlog.get_logger()

SPANS = tuple(grain for grain in Grain if grain is not Grain.ALL)
"""The grains with an end, shortest first."""


MAX_UNIT_CHARS = 50_000
"""Characters of named units, together, that a query takes as a parameter; with more, "any unit" is the cheaper question."""


@dataclass(frozen=True, order=True)
class Subject:
    """What windows are about."""

    tenant: str
    name: str


def _nameable(units: set[str]) -> set[str] | None:
    """The units, or None when they are too many to name in a query."""
    return units if len(units) <= MAX_UNITS and sum(map(len, units)) <= MAX_UNIT_CHARS else None


@dataclass
class Batch:
    """The marks of one subject that one refresh answers for."""

    units: set[str] | None = field(default_factory=set)
    """Units that changed, or None for "any"."""
    keyed: bool = False
    minutes: set[int] = field(default_factory=set)
    positions: dict[str, int] = field(default_factory=dict)
    redefined: bool = False
    """A definition changed or a recompute was asked for: everything cached about the subject is out of date."""
    acks: list[tuple[Ack, tuple[int, ...]]] = field(default_factory=list)

    def add(self, mark: Mark, ack: Ack) -> None:
        """Take a mark in."""
        if mark.reason != "block":
            self.redefined = True
            self.units = None
        elif mark.units is None:
            self.units = None
        elif self.units is not None:
            self.units = _nameable(self.units | set(mark.units))
        self.keyed = self.keyed or mark.keyed
        self.minutes.update(mark.minutes)
        if mark.topic:
            self.positions = position.merge(self.positions, {f"{mark.topic}:{mark.partition}": mark.offset})
        self.acks.append((ack, mark.minutes))


class Windows(Protocol):
    """One of the four computations, as the refresher drives it."""

    @property
    def kind(self) -> str:
        """assignments, cardinality, cost or significance."""
        ...

    async def refresh(self, subject: Subject, batch: Batch) -> None:
        """Bring the subject's cumulative window up to date and publish what changed. Raises ClickHouseError; repeating is safe."""
        ...

    async def refresh_window(self, subject: Subject, grain: Grain, start_us: int) -> None:
        """Recompute one window and publish it if it changed. Raises ClickHouseError; repeating is safe."""
        ...

    async def caught_up(self, subject: Subject, positions: position.Positions) -> None:
        """Every window of the subject with an end includes these positions. Raises ClickHouseError; repeating is safe."""
        ...

    def forget(self) -> None:
        """Drop everything cached: subjects may have gone to another worker."""
        ...


@dataclass
class _Round:
    """One cumulative refresh whose other windows are still to be done."""

    positions: position.Positions
    done: bool = False


class Refresher:
    """Drives one computation: the cumulative window of a subject first, its other windows as time allows.

    What is expensive is refreshed seldom: after a refresh that took `c` seconds the subject's cumulative window rests for
    `c * (1 / duty - 1)`, and so do all other windows together after one of them, so that refreshing never takes more than
    its share of the engine, however fast marks arrive. While none arrive, windows follow each other without a rest.
    """

    def __init__(
        self, windows: Windows, settings: StreamSettings, clock: Clock, grains: tuple[Grain, ...] = SPANS, guarded: Callable[[Subject], bool] = lambda _: False
    ) -> None:
        """`grains` are refreshed one window at a time, after the cumulative one; () for a computation whose `refresh` does them all.
        The cumulative windows of `guarded` subjects have a larger share, because somebody is protected by them."""
        self._guarded = guarded
        self._windows = windows
        self._grains = grains
        self._settings = settings
        self._clock = clock
        self._batches: dict[Subject, Batch] = {}
        self._rest_until: dict[Subject, float] = {}
        self._windows_rest_until = 0.0
        self._rounds: dict[Subject, deque[_Round]] = {}
        self._caught_up: dict[Subject, position.Positions] = {}
        self._due: dict[tuple[Subject, Grain, int], list[Ack]] = {}
        self._wake = asyncio.Event()
        self._epoch = 0
        self._arrived = 0

    @property
    def kind(self) -> str:
        """The computation this drives."""
        return self._windows.kind

    def add(self, mark: Mark, release: Callable[[], object]) -> None:
        """Take a mark in; `release` is called once every window it touched is refreshed."""
        batch = self._batches.setdefault(Subject(mark.tenant, mark.subject), Batch())
        batch.add(mark, Ack(release))
        self._arrived += 1
        self._wake.set()

    def forget(self) -> None:
        """Partitions moved: leave everything unfinished to whoever owns it now; nothing of it is acknowledged."""
        self._epoch += 1
        self._batches.clear()
        self._due.clear()
        self._rounds.clear()
        self._caught_up.clear()
        self._rest_until.clear()
        self._windows.forget()

    async def run(self) -> None:
        """Refresh for ever. Blocks while ClickHouse is away and goes on by itself."""
        while True:
            pause = await self._step()
            if pause is None:
                await self._wake.wait()
            elif pause > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)

    async def _step(self) -> float | None:
        """Do the most urgent refresh; how long to rest otherwise, None for "until something comes"."""
        self._wake.clear()
        now = self._clock.monotonic()
        ready = [subject for subject in self._batches if self._rest_until.get(subject, 0.0) <= now]
        if ready:
            await self._cumulative(ready[0])
            return 0.0
        if self._caught_up:
            return await self._say_caught_up()
        if self._due and self._windows_rest_until <= now:
            await self._window(min(self._due, key=lambda place: (place[1].seconds, place)))
            return 0.0
        times = [self._rest_until.get(subject, 0.0) for subject in self._batches] + ([self._windows_rest_until] if self._due else [])
        return max(0.005, min(times) - now) if times else None

    async def _cumulative(self, subject: Subject) -> None:
        batch, epoch = self._batches.pop(subject), self._epoch
        whole = self._begin_round(subject, batch)
        for ack, minutes in batch.acks:
            for grain in self._grains:
                for start in windows_touched(minutes, grain):
                    ack.hold()
                    whole.hold()
                    self._due.setdefault((subject, grain, start), []).extend((ack, whole))
        duty = self._settings.guarded_duty if self._guarded(subject) else self._settings.refresh_duty
        rest = await self._timed(subject, Grain.ALL, duty, lambda: self._windows.refresh(subject, batch))
        if epoch != self._epoch:
            return
        whole.done()
        self._rest_until[subject] = self._clock.monotonic() + (self._settings.retry_initial_s if rest is None else rest)
        if rest is None:
            self._restore(subject, batch)
            return
        for ack, _ in batch.acks:
            ack.done()

    def _begin_round(self, subject: Subject, batch: Batch) -> Ack:
        """An acknowledgement for the round's windows to hold; once they are done, and those of the rounds before, their watermark rises."""
        if not self._grains:
            return Ack(lambda: None)
        rounds, this, epoch = self._rounds.setdefault(subject, deque()), _Round(batch.positions), self._epoch
        rounds.append(this)

        def finished() -> None:
            this.done = True
            while epoch == self._epoch and rounds and rounds[0].done:
                self._caught_up[subject] = position.merge(self._caught_up.get(subject, {}), rounds.popleft().positions)

        return Ack(finished)

    async def _say_caught_up(self) -> float:
        """Write one watermark; how long to rest after it."""
        subject, positions = self._caught_up.popitem()
        epoch = self._epoch
        try:
            await self._windows.caught_up(subject, positions)
        except (ClickHouseError, MillstreamError, OSError) as error:
            _log.warning("watermark not written, trying again", kind=self._windows.kind, subject=subject.name, error=str(error)[:500])
            if epoch == self._epoch:
                self._caught_up[subject] = positions
            return self._settings.retry_initial_s
        return 0.0

    def _restore(self, subject: Subject, batch: Batch) -> None:
        """The refresh failed: its marks, and those that came meanwhile, wait for the next attempt."""
        later = self._batches.pop(subject, Batch())
        merged = Batch(
            None if batch.units is None or later.units is None else _nameable(batch.units | later.units),
            batch.keyed or later.keyed,
            batch.minutes | later.minutes,
            position.merge(batch.positions, later.positions),
            batch.redefined or later.redefined,
            [*((ack, ()) for ack, _ in batch.acks), *later.acks],
        )
        self._batches[subject] = merged

    async def _window(self, place: tuple[Subject, Grain, int]) -> None:
        acks, epoch, arrived = self._due.pop(place), self._epoch, self._arrived
        subject, grain, start = place
        rest = await self._timed(subject, grain, self._settings.window_duty, lambda: self._windows.refresh_window(subject, grain, start))
        if epoch != self._epoch:
            return
        self._windows_rest_until = self._clock.monotonic() + (self._settings.retry_initial_s if rest is None else rest)
        if rest is None:
            self._due.setdefault(place, []).extend(acks)
            return
        if arrived == self._arrived:
            self._windows_rest_until = 0.0  # nothing else wants the engine
        for ack in acks:
            ack.done()

    async def _timed(self, subject: Subject, grain: Grain, duty: float, work: Callable[[], Awaitable[None]]) -> float | None:
        """Run one refresh; how long to rest after it, in seconds, None when it failed."""
        started = self._clock.monotonic()
        try:
            await work()
        except (ClickHouseError, MillstreamError, OSError) as error:
            _log.warning("refresh failed, trying again", kind=self._windows.kind, subject=subject.name, grain=grain.value, error=str(error)[:500])
            return None
        took = self._clock.monotonic() - started
        metrics.REFRESHES.labels(self._windows.kind).inc()
        metrics.REFRESH_SECONDS.labels(self._windows.kind).observe(took)
        return max(self._settings.refresh_min_s, took * (1 / duty - 1))
