"""Reading the units of an experiment: one reading serves everything that is computed from them."""

from collections import OrderedDict
from dataclasses import dataclass, field, replace

import pyarrow as pa

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from schemas import position
from schemas.definitions import Definitions
from schemas.exposure_counts import BucketedExposures
from schemas.tables.events import BUCKETS
from schemas.unit_sums import UNITS, BucketedSums, UnitSums, added_up
from streams.experiment_span import ExperimentSpans
from streams.readers import experiments
from streams.readers.experiments import Scope
from streams.refresher import Batch, Subject
from streams.unit_totals import TIMEOUT_S, UnitTotals

MAX_CACHE_BYTES = 64 * 1024 * 1024
"""Memory for what is kept by bucket over all experiments of the worker."""


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


class UnitReadings:
    """Readings of every experiment this worker owns."""

    def __init__(self, clickhouse: ClickHouse, clock: Clock, definitions: Definitions) -> None:
        self._clickhouse = clickhouse
        self._totals = UnitTotals(clickhouse, clock)
        self._spans = ExperimentSpans(clickhouse, definitions)
        self._kept: OrderedDict[Subject, _Kept] = OrderedDict()
        self._event_types: dict[tuple[str, str], list[str]] = {}
        """Event types seen of an experiment: what a query expects to find."""

    def forget(self) -> None:
        """Partitions moved: what is kept may be out of date."""
        # A new one, so that a reading under way leaves nothing behind.
        self._kept = OrderedDict()
        self._totals.forget()
        self._spans.forget()

    async def any_stored(self, subject: Subject) -> bool:
        """Whether there is anything to read. Raises ClickHouseError."""
        return await self._totals.any_stored(subject)

    async def read(self, subject: Subject, batch: Batch) -> Reading:
        """All units, including the batch; of those kept by bucket only what changed is read. Raises ClickHouseError; repeating is safe."""
        everything = self._kept
        kept = everything.pop(subject, None)
        ready = await self._totals.ready(subject, batch)
        scope = Scope(subject.tenant, subject.name, ready.sealed, window=await self._spans.cut(subject, batch.positions))
        if batch.units is None or scope.window:
            sums, exposures = await self._exact(scope, ready.rows, by_bucket=False)
            return Reading(scope, added_up(sums), exposures)
        if kept is None:
            kept, buckets = _Kept(), list(range(BUCKETS))
            sums, exposures = await self._exact(scope, ready.rows, by_bucket=True)
        else:
            buckets = await experiments.buckets_of(self._clickhouse, sorted(batch.units)) if batch.units else []
            changed = replace(scope, buckets=buckets)
            sums, exposures = await self._exact(changed, ready.rows, by_bucket=True) if buckets else (None, None)
        if buckets:
            kept.sums.replace(buckets, sums)
            kept.exposures.replace(buckets, exposures)
        everything[subject] = kept
        while len(everything) > 1 and sum(each.nbytes for each in everything.values()) > MAX_CACHE_BYTES:
            everything.popitem(last=False)
        return Reading(scope, kept.sums.total(), kept.exposures.total())

    async def maybe_seal(self, subject: Subject, positions: position.Positions) -> None:
        """Make later readings cheaper when there is much to gain. Raises ClickHouseError; repeating is safe."""
        await self._totals.maybe_seal(subject, positions)

    async def window(self, subject: Subject, start_us: int, end_us: int) -> tuple[Scope, UnitSums]:
        """The units of a range of event time by themselves, as far as the experiment runs in it. Raises ClickHouseError."""
        scope = Scope(subject.tenant, subject.name, window=self._spans.within(subject, start_us, end_us))
        return scope, await self.sums(scope)

    async def sums(self, scope: Scope) -> UnitSums:
        """Sums straight from the rows of a scope. Raises ClickHouseError."""
        table = await self._checked(scope, 0, await self._moments(scope, 0, by_bucket=False), by_bucket=False)
        return added_up(table)

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
