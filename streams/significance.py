"""The significance agent's computation: every metric of an experiment compared between its variants, at any time."""

import functools
from dataclasses import dataclass
from typing import Any

import msgspec

from infra.runtime.clickhouse import ClickHouse
from schemas import position, sample_ratio
from schemas.definitions import Definitions, EffectiveExperiment, Metric, effective_experiment
from schemas.effective_experiment import fingerprint
from schemas.guardrail import guarded
from schemas.metric_arms import MetricArms, arms_from_rows
from schemas.moments import RatioMoments
from schemas.unit_metric_sql import needs_rows
from schemas.unit_sums import SEVERAL, UnitSums
from schemas.windows import Grain, window_end
from streams.publish_windows import Items, WindowWriter
from streams.readers import experiments, unit_metrics
from streams.readers.experiments import Scope
from streams.refresher import Batch, Redefinition, Subject
from streams.unit_readings import Reading, UnitReadings, exactly
from streams.unit_totals import TIMEOUT_S
from streams.watermarks import Row

EXPOSURE_TYPES = frozenset({"exposure", "assignment"})
"""Event types that only say that a unit saw its variant; they make no default metric."""


@dataclass
class _State:
    """How far the windows of an experiment are."""

    positions: position.Positions
    """Included in the cumulative window."""
    ending: position.Positions
    """Included in every window with an end."""
    defined: str
    """Fingerprint of the definitions that every window with an end was computed by; "" where that is not known."""
    redefinition: tuple[int, str] = (0, "")
    """Number of the newest redefinition, and the fingerprint that holds once its windows are done."""


class Significance:
    """Windows of significance. One instance per worker; it owns the experiments whose marks the worker reads."""

    def __init__(self, clickhouse: ClickHouse, readings: UnitReadings, definitions: Definitions, writer: WindowWriter) -> None:
        self._clickhouse = clickhouse
        self._readings = readings
        self._definitions = definitions
        self._writer = writer
        self._states: dict[Subject, _State] = {}
        self._number = 0

    def forget(self) -> None:
        """Partitions moved: other workers may have written."""
        self._states.clear()
        self._writer.forget()

    async def included(self, subject: Subject) -> position.Positions:
        """Positions that the cumulative window includes already. Raises ClickHouseError."""
        return (await self._state(subject)).positions

    async def refresh(self, subject: Subject, batch: Batch, reading: Reading) -> Row:
        """Bring the cumulative window up to date; the watermark that is to be said of it. Raises ClickHouseError; repeating is safe."""
        state = await self._state(subject)
        positions = position.merge(state.positions, batch.positions)
        items = await self._items(reading.scope, reading.sums, cumulative=True)
        await self._writer.write(subject.tenant, subject.name, Grain.ALL.value, {0: items}, positions)
        state.positions = positions
        return self._writer.progress(subject.tenant, subject.name, positions)

    async def refresh_window(self, subject: Subject, grain: Grain, start_us: int) -> None:
        """Compute one window anew. Raises ClickHouseError; repeating is safe."""
        end = window_end(start_us, grain)
        if end is None:
            return
        scope, sums = await self._readings.window(subject, start_us, end)
        items = await self._items(scope, sums, cumulative=False)
        await self._writer.write(subject.tenant, subject.name, grain.value, {start_us: items}, (await self._state(subject)).positions)

    async def redefined(self, subject: Subject) -> Redefinition | None:
        """What has to be computed anew among the windows with an end, because they were computed by other definitions. Raises ClickHouseError."""
        state, now = await self._state(subject), self._fingerprint(subject)
        if state.defined == now:
            return None
        if state.defined:
            # From the first window that changes on, neither the old definitions nor the new ones are those of all.
            await self._reached(subject, state, state.ending, "")
        self._number += 1
        state.redefinition = (self._number, now)
        return Redefinition(self._number, await experiments.minutes(self._clickhouse, subject.tenant, subject.name))

    async def caught_up(self, subject: Subject, positions: position.Positions, redefinition: int) -> None:
        """Every window with an end includes these positions, and those of the redefinition with this number are done. Raises ClickHouseError."""
        state = await self._state(subject)
        newest, defined = state.redefinition
        await self._reached(subject, state, position.merge(state.ending, positions), defined if 0 < redefinition == newest else state.defined)

    async def _state(self, subject: Subject) -> _State:
        state = self._states.get(subject)
        if state is None:
            ending = await self._writer.reached(subject.tenant, subject.name, ending=True)
            reached = await self._writer.reached(subject.tenant, subject.name)
            # Without any window yet, all of them will be computed by the definitions of now or newer ones.
            defined = ending.definition if reached.positions else self._fingerprint(subject)
            state = self._states[subject] = _State(reached.positions, ending.positions, defined)
        return state

    async def _reached(self, subject: Subject, state: _State, positions: position.Positions, defined: str) -> None:
        await self._writer.watermark(subject.tenant, subject.name, positions, ending=True, definition=defined)
        state.ending, state.defined = positions, defined

    def _fingerprint(self, subject: Subject) -> str:
        return fingerprint(self._definitions.experiment(subject.tenant, subject.name), self._definitions.metrics(subject.tenant))

    async def _items(self, scope: Scope, sums: UnitSums, *, cumulative: bool) -> Items:
        seen = [event_type for event_type in sums.event_types if event_type not in EXPOSURE_TYPES]
        effective = effective_experiment(self._definitions, scope.tenant, scope.experiment, seen, sums.variants)
        experiment = effective.experiment
        if not experiment.variants:
            return {}
        control = experiment.control
        weights = {variant.name: variant.weight for variant in experiment.variants}
        ratio = sample_ratio.check({name: sums.units(name) for name in sorted({*weights, *sums.variants})}, weights)
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
            sums = await self._readings.sums(Scope(scope.tenant, scope.experiment, window=scope.window, path=metric.value_path))
        return MetricArms(metric.kind, {name: sums.moments(name, metric.event_type, metric.kind, metric.value_path == "") for name in names})

    async def _ratio_arms(self, scope: Scope, metric: Metric, names: list[str]) -> dict[str, RatioMoments]:
        if metric.value_path in ("", "value") and metric.denominator_value_path in ("", "value"):
            scope = exactly(scope)
        else:
            path = metric.value_path if metric.value_path not in ("", "value") else metric.denominator_value_path
            scope = exactly(Scope(scope.tenant, scope.experiment, window=scope.window, path=path))
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
