"""Refreshing windows: marks of one subject are gathered, its windows recomputed, and only then the marks acknowledged."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
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


LOOK_AGAIN_S = 0.2
"""How often it is asked whether something that rests may go on already."""
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
    rows: int = 0
    """At most so many rows are behind the marks."""
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
        self.rows += mark.rows
        self.minutes.update(mark.minutes)
        if mark.topic:
            self.positions = position.merge(self.positions, {f"{mark.topic}:{mark.partition}": mark.offset})
        self.acks.append((ack, mark.minutes))

    def hold(self) -> Callable[[], None]:
        """Leave the marks unacknowledged until what is given back is called."""
        acks = [ack for ack, _ in self.acks]
        for ack in acks:
            ack.hold()

        def done() -> None:
            for ack in acks:
                ack.done()

        return done


@dataclass(frozen=True)
class Redefinition:
    """What a changed definition made out of date."""

    number: int
    """Rises with every redefinition, from 1."""
    minutes: tuple[int, ...]
    """Minutes since the epoch whose windows with an end have to be computed anew."""


class Windows(Protocol):
    """What the refresher drives: the windows of one computation, or of several that share what they read."""

    @property
    def kind(self) -> str:
        """experiments, cardinality or cost."""
        ...

    async def refresh(self, subject: Subject, batch: Batch) -> None:
        """Bring the subject's cumulative window up to date and publish what changed. Raises ClickHouseError; repeating is safe."""
        ...

    async def refresh_window(self, subject: Subject, grain: Grain, start_us: int) -> None:
        """Recompute one window and publish it if it changed. Raises ClickHouseError; repeating is safe."""
        ...

    async def redefined(self, subject: Subject) -> Redefinition | None:
        """What has to be computed anew because definitions changed; None when nothing has to. Raises ClickHouseError; repeating is safe."""
        ...

    async def caught_up(self, subject: Subject, positions: position.Positions, redefinition: int) -> None:
        """Every window of the subject with an end includes these positions, and those of the redefinition with this number, 0 for none, are done.
        Raises ClickHouseError; repeating is safe."""
        ...

    def forget(self) -> None:
        """Drop everything cached: subjects may have gone to another worker."""
        ...


@dataclass
class _Round:
    """One cumulative refresh, or one redefinition, whose other windows are still to be done."""

    positions: position.Positions
    redefinition: int = 0
    done: bool = False

    def with_(self, other: "_Round") -> "_Round":
        return _Round(position.merge(self.positions, other.positions), max(self.redefinition, other.redefinition), True)


@dataclass(frozen=True)
class _Refreshed:
    """When the cumulative window of a subject was refreshed last, and what it took, in seconds."""

    ended: float
    took: float


_Window = tuple[Subject, Grain, int]


class Refresher:
    """Drives some windows: the cumulative window of a subject first, beside it its other windows as time allows, and last those that a changed
    definition made out of date.

    What is expensive is refreshed seldom: after a refresh that took `c` seconds the subject's cumulative window rests for
    `c * (1 / share - 1)`, and so do all other windows together after one of them, so that refreshing never takes more than
    its share of the engine, however fast marks arrive. While none arrive, windows follow each other without a rest.
    """

    def __init__(
        self, windows: Windows, settings: StreamSettings, clock: Clock, grains: tuple[Grain, ...] = SPANS, share: Callable[[Subject], float] | None = None
    ) -> None:
        """`grains` are refreshed one window at a time, after the cumulative one; () for windows whose `refresh` does them all.
        `share` says how much of the time the cumulative window of a subject may have at the moment; left out, it is the settings' duty."""
        self._share = share or (lambda _: settings.refresh_duty)
        self._windows = windows
        self._grains = grains
        self._settings = settings
        self._clock = clock
        self._batches: dict[Subject, Batch] = {}
        self._refreshed: dict[Subject, _Refreshed] = {}
        self._windows_rest_until = 0.0
        self._outdated_rest_until = 0.0
        self._rounds: dict[Subject, deque[_Round]] = {}
        self._caught_up: dict[Subject, _Round] = {}
        self._due: dict[_Window, list[Ack]] = {}
        self._outdated: dict[_Window, list[Ack]] = {}
        self._wake, self._wake_rest = asyncio.Event(), asyncio.Event()
        self._epoch = 0
        self._arrived = 0

    @property
    def kind(self) -> str:
        """The windows this drives."""
        return self._windows.kind

    @property
    def waiting(self) -> int:
        """How many subjects have something to refresh."""
        return len(self._batches)

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
        self._outdated.clear()
        self._rounds.clear()
        self._caught_up.clear()
        self._refreshed.clear()
        self._windows.forget()

    async def run(self) -> None:
        """Refresh for ever, the cumulative windows beside all others. Blocks while ClickHouse is away and goes on by itself."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._repeat(self._first, self._wake))
            both.create_task(self._repeat(self._rest, self._wake_rest))

    async def _repeat(self, step: Callable[[], Awaitable[float | None]], wake: asyncio.Event) -> None:
        while True:
            wake.clear()
            pause = await step()
            if pause is None:
                await wake.wait()
            elif pause > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), pause)

    async def step(self) -> float | None:
        """Do the most urgent refresh, one at a time; how long to rest otherwise, None for "until something comes"."""
        pauses = []
        for turn in (self._first, self._rest):
            pause = await turn()
            if pause == 0.0:
                return 0.0
            pauses.append(pause)
        return min((pause for pause in pauses if pause is not None), default=None)

    async def _first(self) -> float | None:
        """Do the most urgent of the cumulative windows, or say how far the others are; how long to rest otherwise."""
        now = self._clock.monotonic()
        ready = next((subject for subject in self._batches if self._rests_until(subject) <= now), None)
        if ready is not None:
            await self._cumulative(ready)
            self._wake_rest.set()
            return 0.0
        if self._caught_up:
            return await self._say_caught_up()
        times = [self._rests_until(subject) for subject in self._batches]
        # Not for longer than it may take until a share rises.
        return min(max(0.005, min(times) - now), LOOK_AGAIN_S) if times else None

    async def _rest(self) -> float | None:
        """Do the most urgent of all other windows; how long to rest otherwise."""
        now = self._clock.monotonic()
        if self._due and self._windows_rest_until <= now:
            self._windows_rest_until = await self._window(min(self._due, key=lambda place: (place[1].seconds, place)))
            self._wake.set()
            return 0.0
        if self._outdated and not self._due and self._outdated_rest_until <= now:
            # What was computed once already waits for what just came, which never rests because of it.
            self._outdated_rest_until = await self._window(next(iter(self._outdated)))
            self._wake.set()
            return 0.0
        if self._due or self._outdated:
            return min(max(0.005, (self._windows_rest_until if self._due else self._outdated_rest_until) - now), LOOK_AGAIN_S)
        return None

    def _rests_until(self, subject: Subject) -> float:
        """When the cumulative window of a subject may be refreshed again; it changes with the subject's share."""
        last = self._refreshed.get(subject)
        return 0.0 if last is None else last.ended + max(self._settings.refresh_min_s, last.took * (1 / self._share(subject) - 1))

    async def _cumulative(self, subject: Subject) -> None:
        batch, epoch = self._batches.pop(subject), self._epoch
        whole = self._begin_round(subject, batch)
        for ack, minutes in batch.acks:
            self._hold(self._due, subject, minutes, (ack, whole))
        redefinition: Redefinition | None = None

        async def refresh() -> None:
            nonlocal redefinition
            redefinition = await self._windows.redefined(subject) if batch.redefined and self._grains else None
            await self._windows.refresh(subject, batch)

        took = await self._timed(subject, Grain.ALL, refresh)
        if epoch != self._epoch:
            return
        whole.done()
        if took is None:
            # No refresh is repeated sooner than this after it failed.
            self._refreshed[subject] = _Refreshed(self._clock.monotonic() + self._settings.retry_initial_s, 0.0)
            self._restore(subject, batch)
            return
        self._refreshed[subject] = _Refreshed(self._clock.monotonic(), took)
        if redefinition is not None:
            self._redo(subject, redefinition, [ack for ack, _ in batch.acks])
        for ack, _ in batch.acks:
            ack.done()

    def _hold(self, places: dict[_Window, list[Ack]], subject: Subject, minutes: Iterable[int], acks: Sequence[Ack]) -> None:
        """Make the windows that hold the minutes due, and the acknowledgements wait for them."""
        for grain in self._grains:
            for start in windows_touched(minutes, grain):
                for ack in acks:
                    ack.hold()
                places.setdefault((subject, grain, start), []).extend(acks)

    def _begin_round(self, subject: Subject, batch: Batch) -> Ack:
        """An acknowledgement for the round's windows to hold; once they are done, and those of the rounds before, their watermark rises."""
        if not self._grains or not batch.positions:
            return Ack(lambda: None)
        rounds, this, epoch = self._rounds.setdefault(subject, deque()), _Round(batch.positions), self._epoch
        rounds.append(this)

        def finished() -> None:
            this.done = True
            while epoch == self._epoch and rounds and rounds[0].done:
                self._reached(subject, rounds.popleft())

        return Ack(finished)

    def _redo(self, subject: Subject, redefinition: Redefinition, acks: Sequence[Ack]) -> None:
        """Make all windows of the minutes due anew, one after the other; the marks that said so wait for them."""
        for ack in acks:
            ack.hold()
        epoch = self._epoch

        def finished() -> None:
            if epoch == self._epoch:
                self._reached(subject, _Round({}, redefinition.number))
            for ack in acks:
                ack.done()

        whole = Ack(finished)
        self._hold(self._outdated, subject, redefinition.minutes, (whole,))
        whole.done()

    def _reached(self, subject: Subject, this: _Round) -> None:
        known = self._caught_up.get(subject)
        self._caught_up[subject] = this if known is None else known.with_(this)

    async def _say_caught_up(self) -> float:
        """Write one watermark; how long to rest after it."""
        subject, reached = self._caught_up.popitem()
        epoch = self._epoch
        try:
            await self._windows.caught_up(subject, reached.positions, reached.redefinition)
        except (ClickHouseError, MillstreamError, OSError) as error:
            _log.warning("watermark not written, trying again", kind=self._windows.kind, subject=subject.name, error=str(error)[:500])
            if epoch == self._epoch:
                self._reached(subject, reached)
            return self._settings.retry_initial_s
        return 0.0

    def _restore(self, subject: Subject, batch: Batch) -> None:
        """The refresh failed: its marks, and those that came meanwhile, wait for the next attempt."""
        later = self._batches.pop(subject, Batch())
        merged = Batch(
            None if batch.units is None or later.units is None else _nameable(batch.units | later.units),
            batch.keyed or later.keyed,
            batch.rows + later.rows,
            batch.minutes | later.minutes,
            position.merge(batch.positions, later.positions),
            batch.redefined or later.redefined,
            [*((ack, ()) for ack, _ in batch.acks), *later.acks],
        )
        self._batches[subject] = merged

    async def _window(self, place: _Window) -> float:
        """Compute one window; until when others like it rest."""
        acks, epoch, arrived = [*self._due.pop(place, ()), *self._outdated.pop(place, ())], self._epoch, self._arrived
        subject, grain, start = place
        took = await self._timed(subject, grain, lambda: self._windows.refresh_window(subject, grain, start))
        ended = self._clock.monotonic()
        if epoch != self._epoch:
            return ended
        if took is None:
            self._due.setdefault(place, []).extend(acks)
            return ended + self._settings.retry_initial_s
        for ack in acks:
            ack.done()
        # While nothing else wants the engine, nothing has to rest.
        return ended + max(self._settings.refresh_min_s, took * (1 / self._settings.window_duty - 1)) if arrived != self._arrived else ended

    async def _timed(self, subject: Subject, grain: Grain, work: Callable[[], Awaitable[None]]) -> float | None:
        """Run one refresh; how long it took, in seconds, None when it failed."""
        started = self._clock.monotonic()
        try:
            await work()
        except (ClickHouseError, MillstreamError, OSError) as error:
            _log.warning("refresh failed, trying again", kind=self._windows.kind, subject=subject.name, grain=grain.value, error=str(error)[:500])
            return None
        took = self._clock.monotonic() - started
        metrics.REFRESHES.labels(self._windows.kind).inc()
        metrics.REFRESH_SECONDS.labels(self._windows.kind).observe(took)
        return took
