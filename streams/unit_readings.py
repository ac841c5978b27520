"""Reading the units of an experiment: one reading serves everything that is computed from them.

What changed since the last reading is found in one of two ways. Marks of small blocks name their units, and the buckets of these are read again.
Marks of large blocks don't; once they come, the units themselves are held in memory, and what came since is added to them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import structlog

from infra.runtime.clickhouse import ClickHouse, ClickHouseError
from infra.runtime.clock import Clock
from schemas import position
from schemas.definitions import Definitions
from schemas.exposure_counts import BucketedExposures
from schemas.tables.events import BUCKETS
from schemas.unit_sums import UNITS, BucketedSums, UnitSums, added_up
from streams import unit_totals
from streams.experiment_span import ExperimentSpans
from streams.held_units import CannotHold, HeldUnits
from streams.readers import experiments, unit_changes
from streams.readers.experiments import MAX_TYPES, Scope
from streams.refresher import Batch, Subject
from streams.unit_events import by_unit
from streams.unit_totals import TIMEOUT_S, UnitTotals, event_positions

_log = structlog.get_logger()

MAX_CACHE_BYTES = 256 * 1024 * 1024
"""Memory for what is kept over all experiments of the worker."""
MAX_HELD_UNITS = 2_500_000
"""Units of one experiment that are held; with more it is read anew each time."""


@dataclass(frozen=True)
class Reading:
    """The units of an experiment as they are stored, at least up to a batch."""

    scope: Scope
    """What was read."""
    sums: UnitSums
    exposures: pa.Table
    """Units by first exposure, with the columns of `schemas.exposure_counts.DIMENSIONS` and units; a row may come several times."""


@dataclass
class _Kept:
    """A reading by bucket."""

    sums: BucketedSums = field(default_factory=lambda: BucketedSums(BUCKETS))
    exposures: BucketedExposures = field(default_factory=BucketedExposures)

    @property
    def nbytes(self) -> int:
        return self.sums.nbytes + self.exposures.nbytes


@dataclass
class _Held:
    """The units themselves, and how far they go."""

    units: HeldUnits
    included: dict[int, int]
    """First offset that is not included, by partition of the events topic."""

    @property
    def nbytes(self) -> int:
        return self.units.nbytes


class UnitReadings:
    """Readings of every experiment this worker owns."""

    def __init__(self, clickhouse: ClickHouse, clock: Clock, definitions: Definitions) -> None:
        self._clickhouse = clickhouse
        self._totals = UnitTotals(clickhouse, clock)
        self._spans = ExperimentSpans(clickhouse, definitions)
        self._kept: OrderedDict[Subject, _Kept | _Held] = OrderedDict()
        self._unholdable: set[Subject] = set()
        """Experiments whose units cannot be held: too many, or with events that may come again."""
        self._sealing: dict[Subject, asyncio.Task[None]] = {}
        self._event_types: dict[tuple[str, str], list[str]] = {}
        """Event types seen of an experiment: what a query expects to find."""

    def forget(self) -> None:
        """Partitions moved: what is kept may be out of date."""
        # A new one, so that a reading under way leaves nothing behind.
        self._kept = OrderedDict()
        self._unholdable.clear()
        self._totals.forget()
        self._spans.forget()

    def held_units(self, subject: Subject) -> int:
        """How many units of an experiment are held in memory."""
        held = self._kept.get(subject)
        return len(held.units) if isinstance(held, _Held) else 0

    async def any_stored(self, subject: Subject) -> bool:
        """Whether there is anything to read. Raises ClickHouseError."""
        return await self._totals.any_stored(subject)

    async def read(self, subject: Subject, batch: Batch, before: position.Positions) -> Reading:
        """All units, including the batch and the positions `before`; of what is kept only what changed is read. Raises ClickHouseError; repeating is safe."""
        everything = self._kept
        kept = everything.pop(subject, None)
        window = await self._spans.cut(subject, batch.positions)
        if window or batch.keyed or batch.redefined:
            kept = None
        elif isinstance(kept, _Held) or (batch.units is None and subject not in self._unholdable):
            held = await self._held(subject, batch, before, kept)
            if held is not None:
                self._keep(everything, subject, held)
                return await self._of_held(subject, held)
            kept = None
        await self._sealed(subject)
        ready = await self._totals.ready(subject, batch)
        scope = Scope(subject.tenant, subject.name, ready.sealed, window=window)
        if batch.units is None or scope.window:
            sums, exposures = await self._exact(scope, ready.rows, by_bucket=False)
            return Reading(scope, added_up(sums), exposures)
        if not isinstance(kept, _Kept):
            kept, buckets = _Kept(), list(range(BUCKETS))
            sums, exposures = await self._exact(scope, ready.rows, by_bucket=True)
        else:
            buckets = await experiments.buckets_of(self._clickhouse, sorted(batch.units)) if batch.units else []
            changed = replace(scope, buckets=buckets)
            sums, exposures = await self._exact(changed, ready.rows, by_bucket=True) if buckets else (None, None)
        if buckets:
            kept.sums.replace(buckets, sums)
            kept.exposures.replace(buckets, exposures)
        self._keep(everything, subject, kept)
        return Reading(scope, kept.sums.total(), kept.exposures.total())

    async def maybe_seal(self, subject: Subject, positions: position.Positions) -> None:
        """Make later readings cheaper when there is much to gain; of units that are held beside what comes next. Raises ClickHouseError; repeating is safe."""
        if not isinstance(self._kept.get(subject), _Held):
            await self._totals.maybe_seal(subject, positions, unit_totals.SEAL_ROWS)
        elif subject not in self._sealing:
            task = self._sealing[subject] = asyncio.create_task(self._seal_aside(subject, positions))
            task.add_done_callback(lambda _: self._sealing.pop(subject))

    async def drain(self) -> None:
        """Wait until every seal under way is made."""
        if self._sealing:
            await asyncio.wait(self._sealing.values())

    async def window(self, subject: Subject, start_us: int, end_us: int) -> tuple[Scope, UnitSums]:
        """The units of a range of event time by themselves, as far as the experiment runs in it. Raises ClickHouseError."""
        scope = Scope(subject.tenant, subject.name, window=self._spans.within(subject, start_us, end_us))
        # What has a client's id and is stored from here on brings a mark, after which the window is read again.
        scope = replace(scope, once=not await experiments.any_keyed_within(self._clickhouse, scope))
        return scope, await self.sums(scope)

    async def sums(self, scope: Scope) -> UnitSums:
        """Sums straight from the rows of a scope. Raises ClickHouseError."""
        table = await self._checked(scope, 0, await self._moments(scope, 0, by_bucket=False), by_bucket=False)
        return added_up(table)

    async def _sealed(self, subject: Subject) -> None:
        """Wait until no seal is being made beside: what is read from totals must not be folded into them meanwhile."""
        if subject in self._sealing:
            await asyncio.wait([self._sealing[subject]])

    async def _seal_aside(self, subject: Subject, positions: position.Positions) -> None:
        try:
            await self._totals.maybe_seal(subject, positions, unit_totals.HELD_SEAL_ROWS)
        except ClickHouseError as error:
            _log.warning("not sealed; it is tried again", experiment=subject.name, tenant=subject.tenant, error=str(error)[:300])

    def _keep(self, everything: "OrderedDict[Subject, _Kept | _Held]", subject: Subject, kept: "_Kept | _Held") -> None:
        everything[subject] = kept
        while len(everything) > 1 and sum(each.nbytes for each in everything.values()) > MAX_CACHE_BYTES:
            everything.popitem(last=False)

    async def _held(self, subject: Subject, batch: Batch, before: position.Positions, kept: "_Kept | _Held | None") -> "_Held | None":
        """The units in memory, including the batch; None when they cannot be held."""
        reached = position.merge(before, batch.positions)
        until = {part: offset + 1 for part, offset in event_positions(reached).items()}
        held = kept if isinstance(kept, _Held) else await self._hold(subject, reached, until)
        if held is not None and (ahead := {part: offset for part, offset in until.items() if offset > held.included.get(part, 0)}):
            included = {part: held.included.get(part, 0) for part in ahead}
            async for events in unit_changes.since(self._clickhouse, subject.tenant, subject.name, included, ahead, batch.rows, timeout=TIMEOUT_S):
                if await asyncio.to_thread(_add_events, held.units, events):
                    self._totals.came(subject, events.num_rows)
                else:
                    held = None
                    break
            else:
                held.included |= ahead
        if held is None:
            self._unholdable.add(subject)
        return held

    async def _hold(self, subject: Subject, reached: position.Positions, until: dict[int, int]) -> "_Held | None":
        """Take all units into memory."""
        if await unit_changes.any_keyed(self._clickhouse, subject.tenant, subject.name):
            return None
        await self._sealed(subject)
        ready = await self._totals.ready(subject, Batch(positions=dict(reached)))
        known = self._event_types.get((subject.tenant, subject.name), [])
        units = HeldUnits()
        read = unit_changes.sealed_and_since(self._clickhouse, subject.tenant, subject.name, ready.sealed, until, ready.rows, known, timeout=TIMEOUT_S)
        async for changes in read:
            if not await asyncio.to_thread(_add, units, changes):
                return None
        return _Held(units, {part: max(ready.sealed.get(part, 0), until.get(part, 0)) for part in {*ready.sealed, *until}})

    async def _of_held(self, subject: Subject, held: _Held) -> Reading:
        # What is asked exactly takes first exposures alone from the totals; a seal that is made meanwhile repeats some, which changes nothing.
        sealed = self._totals.sealed(subject)
        scope = Scope(subject.tenant, subject.name, {**dict.fromkeys(held.included, 0), **sealed} if sealed else {})
        sums = held.units.sums()
        if sums is None:
            sums = await self.sums(exactly(scope))
        return Reading(scope, sums, held.units.exposures())

    async def _exact(self, scope: Scope, rows: int, *, by_bucket: bool) -> tuple[pa.Table, pa.Table]:
        """Sums in which no unit counts what it did before its exposure, and the exposures."""
        known = self._event_types.get((scope.tenant, scope.experiment), [])
        table, exposures = await experiments.moments_and_exposures(self._clickhouse, scope, rows, known, by_bucket=by_bucket, timeout=TIMEOUT_S)
        return await self._checked(scope, rows, table, by_bucket=by_bucket), exposures

    async def _checked(self, scope: Scope, rows: int, table: pa.Table, *, by_bucket: bool) -> pa.Table:
        if any(table["early"].to_pylist()):
            table = await self._moments(exactly(scope), rows, by_bucket=by_bucket)
        place = (scope.tenant, scope.experiment)
        self._event_types[place] = sorted({*self._event_types.get(place, ()), *table["event_type"].unique().to_pylist()} - {UNITS})
        return table

    async def _moments(self, scope: Scope, rows: int, *, by_bucket: bool) -> pa.Table:
        known = self._event_types.get((scope.tenant, scope.experiment), [])
        return await experiments.moments(self._clickhouse, scope, rows, known, by_bucket=by_bucket, timeout=TIMEOUT_S)


def exactly(scope: Scope) -> Scope:
    """The same without what units did before their exposure."""
    return replace(scope, exact=True)


def _add_events(units: HeldUnits, events: pa.Table) -> bool:
    """Add what came; whether the units can still be held."""
    try:
        return _add(units, by_unit(events))
    except CannotHold:
        return False


def _add(units: HeldUnits, changes: tuple[pa.Table, Sequence[str]] | None) -> bool:
    """Add what units did; whether they can still be held."""
    if changes is None or len({*units.event_types, *changes[1]}) > MAX_TYPES:
        return False
    try:
        units.add(*changes)
    except CannotHold:
        return False
    return len(units) <= MAX_HELD_UNITS
