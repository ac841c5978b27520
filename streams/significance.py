"""The significance agent's computation: every metric of an experiment compared between its variants, at any time."""

import functools
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import msgspec
import pyarrow as pa

from infra.runtime.clickhouse import ClickHouse
from schemas import position, sample_ratio
from schemas.definitions import Definitions, EffectiveExperiment, Metric, effective_experiment
from schemas.guardrail import guarded
from schemas.metric_arms import MetricArms, arms_from_rows
from schemas.moments import RatioMoments
from schemas.tables.events import BUCKETS
from schemas.unit_metric_sql import needs_rows
from schemas.unit_sums import SEVERAL, UNITS, BucketedSums, UnitSums, added_up
from schemas.windows import Grain, window_end
from streams.experiment_span import ExperimentSpans
from streams.publish_windows import Items, WindowWriter
from streams.readers import experiments, unit_metrics
from streams.readers.experiments import Scope
from streams.refresher import Batch, Subject
from streams.unit_totals import TIMEOUT_S, UnitTotals

MAX_CACHE_BYTES = 64 * 1024 * 1024
"""Memory for sums by bucket over all experiments of the worker."""
EXPOSURE_TYPES = frozenset({"exposure", "assignment"})
"""Event types that only say that a unit saw its variant; they make no default metric."""


class Significance:
    """Windows of significance. One instance per worker; it owns the experiments whose marks the worker reads."""

    kind = "significance"

    def __init__(self, clickhouse: ClickHouse, totals: UnitTotals, definitions: Definitions, writer: WindowWriter) -> None:
        self._clickhouse = clickhouse
        self._spans = ExperimentSpans(clickhouse, definitions)
        self._totals = totals
        self._definitions = definitions
        self._writer = writer
        self._sums: OrderedDict[Subject, BucketedSums] = OrderedDict()
        self._positions: dict[Subject, dict[str, int]] = {}
        self._ending: dict[Subject, dict[str, int]] = {}
        self._event_types: dict[tuple[str, str], list[str]] = {}
        """Event types seen of an experiment: what a query expects to find."""

    def forget(self) -> None:
        self._sums.clear()
        self._positions.clear()
        self._ending.clear()
        self._totals.forget()
        self._writer.forget()

    async def refresh(self, subject: Subject, batch: Batch) -> None:
        ready = await self._totals.ready(subject, batch)
        cut = await self._spans.cut(subject)
        scope = Scope(subject.tenant, subject.name, ready.sealed, window=cut)
        if subject not in self._positions:
            self._positions[subject] = await self._writer.positions(subject.tenant, subject.name)
        positions = position.merge(self._positions[subject], batch.positions)
        sums = await self._cumulative(subject, batch, scope, ready.rows)
        items = await self._items(scope, sums, cumulative=True)
        await self._writer.write(subject.tenant, subject.name, Grain.ALL.value, {0: items}, positions)
        await self._writer.watermark(subject.tenant, subject.name, positions)
        self._positions[subject] = positions
        await self._totals.maybe_seal(subject, positions)

    async def refresh_window(self, subject: Subject, grain: Grain, start_us: int) -> None:
        end = window_end(start_us, grain)
        if end is None:
            return
        scope = Scope(subject.tenant, subject.name, window=self._spans.within(subject, start_us, end))
        sums = added_up(await self._exact(scope, 0, by_bucket=False))
        items = await self._items(scope, sums, cumulative=False)
        await self._writer.write(subject.tenant, subject.name, grain.value, {start_us: items}, self._positions.get(subject, {}))

    async def caught_up(self, subject: Subject, positions: position.Positions) -> None:
        if subject not in self._ending:
            self._ending[subject] = await self._writer.positions(subject.tenant, subject.name, ending=True)
        reached = position.merge(self._ending[subject], positions)
        await self._writer.watermark(subject.tenant, subject.name, reached, ending=True)
        self._ending[subject] = reached

    async def _cumulative(self, subject: Subject, batch: Batch, scope: Scope, rows: int) -> UnitSums:
        """Sums over all units, reading only what changed where that is little."""
        if batch.units is None or scope.window:
            self._sums.pop(subject, None)
            return added_up(await self._exact(scope, rows, by_bucket=False))
        known = self._sums.get(subject)
        if known is None:
            known = BucketedSums(BUCKETS)
            known.replace(range(BUCKETS), await self._exact(scope, rows, by_bucket=True))
        elif batch.units:
            buckets = await experiments.buckets_of(self._clickhouse, sorted(batch.units))
            changed = Scope(scope.tenant, scope.experiment, scope.sealed, buckets)
            try:
                known.replace(buckets, await self._exact(changed, rows, by_bucket=True))
            except BaseException:
                self._sums.pop(subject, None)
                raise
        self._sums[subject] = known
        self._sums.move_to_end(subject)
        while len(self._sums) > 1 and sum(sums.nbytes for sums in self._sums.values()) > MAX_CACHE_BYTES:
            self._sums.popitem(last=False)
        return known.total()

    async def _exact(self, scope: Scope, rows: int, *, by_bucket: bool) -> pa.Table:
        """Sums in which no unit counts what it did before its exposure."""
        place = (scope.tenant, scope.experiment)
        known = self._event_types.get(place, [])
        table = await experiments.moments(self._clickhouse, scope, rows, known, by_bucket=by_bucket, timeout=TIMEOUT_S)
        if any(table["early"].to_pylist()):
            table = await experiments.moments(self._clickhouse, _exactly(scope), rows, known, by_bucket=by_bucket, timeout=TIMEOUT_S)
        self._event_types[place] = sorted({*known, *table["event_type"].unique().to_pylist()} - {UNITS})
        return table

    async def _items(self, scope: Scope, sums: UnitSums, *, cumulative: bool) -> Items:
        seen = [event_type for event_type in sums.event_types if event_type not in EXPOSURE_TYPES]
        effective = effective_experiment(self._definitions, scope.tenant, scope.experiment, seen, sums.variants)
        experiment = effective.experiment
        if not experiment.variants:
            return {}
        control = experiment.control
        weights = {variant.name: variant.weight for variant in experiment.variants}
        ratio = sample_ratio.check({name: sums.units(name) for name in {*weights, *sums.variants}}, weights)
        context = {
            "control": control,
            "alpha": experiment.alpha,
            "sample_ratio": {"flag": ratio.flag, "chi_square_p": ratio.chi_square_p, "sequential_p": ratio.sequential_p},
            "excluded_units": sums.units(SEVERAL),
        }
        items: dict[str, dict[str, Any]] = {}
        for metric in effective.metrics:
            arms = await self._arms(scope, sums, metric, effective, cumulative)
            for variant in weights:
                figures = arms.figures(control, variant, experiment.alpha)
                guards = guarded(experiment, metric.id, variant, functools.partial(arms.compare, control, variant))
                items[f"{metric.id}/{variant}"] = {**context, "metric": metric.id, "variant": variant, **figures, **guards}
        return items

    async def _arms(self, scope: Scope, sums: UnitSums, metric: Metric, effective: EffectiveExperiment, cumulative: bool) -> MetricArms:
        """A metric by variant."""
        names = [variant.name for variant in effective.experiment.variants]
        if not cumulative and metric.covariate_days:
            # What came before the exposure is the same long past for every window; reading it for each would cost more than it tells.
            metric = msgspec.structs.replace(metric, covariate_days=0)
        if metric.kind == "quantile" or needs_rows(metric):
            rows = await unit_metrics.by_variant(self._clickhouse, metric, scope.tenant, scope.experiment, scope.window, timeout=TIMEOUT_S)
            return arms_from_rows(metric, rows, names)
        if metric.kind == "ratio":
            return MetricArms("ratio", await self._ratio_arms(scope, metric, names))
        if metric.kind == "mean" and metric.value_path not in ("", "value"):
            sums = added_up(await self._exact(Scope(scope.tenant, scope.experiment, window=scope.window, path=metric.value_path), 0, by_bucket=False))
        return MetricArms(metric.kind, {name: sums.moments(name, metric.event_type, metric.kind, metric.value_path == "") for name in names})

    async def _ratio_arms(self, scope: Scope, metric: Metric, names: list[str]) -> dict[str, RatioMoments]:
        if metric.value_path in ("", "value") and metric.denominator_value_path in ("", "value"):
            scope = _exactly(scope)
        else:
            path = metric.value_path if metric.value_path not in ("", "value") else metric.denominator_value_path
            scope = _exactly(Scope(scope.tenant, scope.experiment, window=scope.window, path=path))
        rows = await experiments.cross(
            self._clickhouse,
            scope,
            metric.event_type,
            not metric.value_path,
            metric.denominator_event_type,
            not metric.denominator_value_path,
            timeout=TIMEOUT_S,
        )
        by_variant = {row["variant"]: row for row in rows}
        empty = {"units": 0, "sx": 0.0, "sy": 0.0, "sxx": 0.0, "syy": 0.0, "sxy": 0.0}
        found = {name: by_variant.get(name, empty) for name in names}
        return {name: RatioMoments(r["units"], r["sx"], r["sy"], r["sxx"], r["syy"], r["sxy"]) for name, r in found.items()}


def _exactly(scope: Scope) -> Scope:
    return replace(scope, exact=True)
