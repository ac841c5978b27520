"""The results of an experiment: the windows that the agents computed, brought together. Nothing is computed here that a window holds; only segments,
which no window has, are computed from the events when they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson

from infra.runtime.clock import Clock
from infra.runtime.errors import NotFound
from query_api.domain.result_figures import Figures, MetricFigures, corrections, metric_results, reasons_in
from query_api.domain.segments import results_by_segment
from query_api.domain.shown import Shown, ShownResults, Source
from query_api.domain.stored import StoredDefinitions
from query_api.domain.windows import FED_BY
from query_api.freshness import Freshness, Wait
from query_api.live.latest import LatestWindows
from query_api.readers.rows import Rows
from query_api.readers.window_state import bounds
from query_api.readers.windows import WindowFilter, WindowItem, WindowReader
from schemas.definition_kinds import Experiment, Metric, Variant
from schemas.definitions import Definitions
from schemas.effective_experiment import default_metric
from schemas.metric_arms import arms_from_rows
from schemas.position import Positions, encode
from schemas.windows import Grain, to_iso

WHOLE: Final = "*"
"""Item of an assignments window with the figures of all variants together."""
MAX_ITEMS: Final = 10_000
"""Items that one read takes from a window table."""


@dataclass(frozen=True)
class Series:
    """Which windows the time series is of."""

    grain: Grain
    points: int
    """Most windows, the newest."""
    start_us: int | None = None
    end_us: int | None = None


class Results:
    """Reads results of experiments of one tenant."""

    def __init__(
        self,
        stored: StoredDefinitions,
        known: Definitions,
        rows: Rows,
        latest: LatestWindows,
        freshness: Freshness,
        shown: ShownResults,
        clock: Clock,
        tenant: str,
    ) -> None:
        """`known` are the definitions that the windows are computed by; `stored` says the state of the experiment as it is this moment."""
        self._stored = stored
        self._definitions = known
        self._rows = rows
        self._latest = latest
        self._windows = WindowReader(rows)
        self._freshness = freshness
        self._shown = shown
        self._clock = clock
        self._tenant = tenant

    async def read(self, name: str, wait: Wait, *, bayesian: bool = False, series: Series | None = None, segment: str = "") -> tuple[dict[str, Any], Positions]:
        """The results and what is stored at least; with a wait they include what was waited for; with a `segment` (see `schemas.unit_metric_sql`) also by part of the units. An experiment that nobody defined has results from its first event on.

        Raises NotFound when there is neither a definition nor an event, and what the freshness contract raises.
        """
        for kind in ("assignments", "significance") if wait.wanted else ():
            await self._freshness.window(wait, (kind,), self._tenant, name, FED_BY[kind])
        fresh = bool(wait.wanted)
        watermark, defined, compared, assigned = await asyncio.gather(
            self._freshness.watermark() if fresh else self._freshness.recent(),
            self._stored.get(Experiment, self._tenant, name),
            self._latest.get("significance", self._tenant, name, fresh=fresh),
            self._latest.get("assignments", self._tenant, name, fresh=fresh),
        )
        if defined is None and compared is None and assigned is None:
            raise NotFound(f"there is no experiment {name!r}, and no event names it")
        definition = defined.definition if defined else Experiment(tenant=self._tenant, id=name, name=name)
        shown = await self._show(Source(definition, compared.items if compared else "{}", assigned.items if assigned else "{}", bayesian))
        answer = dict(shown.answer)
        if segment:
            measured = [each.metric for each in shown.metrics]
            answer["segments"] = await results_by_segment(self._rows, shown.experiment, measured, segment, bayesian=bayesian)
            answer["reasons"] = reasons_in(answer)
        computed = compared.computed_us if compared else None
        answer["revision"] = compared.revision if compared else 0
        answer["computed_at"] = None if computed is None else to_iso(computed)
        answer["age_s"] = None if computed is None else max(0.0, (self._clock.now_us() - computed) / 1_000_000)
        answer["watermark"] = encode(watermark)
        answer["time_series"] = None if series is None else await self._series(shown.experiment, shown.metrics, series)
        return answer, watermark

    async def _show(self, source: Source) -> Shown:
        """What follows from the source and from the metrics as they are now."""
        kept = self._shown.get(source)
        if kept is not None and [await self._metric(each.metric.id) for each in kept.metrics] == [each.metric for each in kept.metrics]:
            return kept
        found: list[Figures] = list(orjson.loads(source.compared).values())
        exposures = orjson.loads(source.assigned)
        experiment = _known(source.experiment, found, exposures)
        metrics = await self._metrics(experiment, found)
        answer = _answer(experiment, metrics, exposures, bayesian=source.bayesian)
        shown = Shown(source, experiment, metrics, {**answer, "segments": None, "reasons": reasons_in(answer)})
        self._shown.keep(shown)
        return shown

    async def _metrics(self, experiment: Experiment, found: Sequence[Figures]) -> list[MetricFigures]:
        """Those the experiment names, in its order, also before anything was computed; without names, those that were."""
        items: dict[str, dict[str, Figures]] = {}
        for figures in found:
            items.setdefault(figures["metric"], {})[figures["variant"]] = figures
        names = list(experiment.metrics) or sorted(items)
        variants = [variant.name for variant in experiment.variants]
        metrics = []
        for name in names:
            metric = await self._metric(name)
            there = items.get(name, {})
            if variants:
                absent = arms_from_rows(metric, (), variants)
                complete = {variant: there.get(variant) or absent.figures(experiment.control, variant, experiment.alpha) for variant in variants}
                metrics.append(MetricFigures(metric, experiment.control, complete))
        return metrics

    async def _metric(self, name: str) -> Metric:
        """A metric as the windows know it, else as it is stored, else what it is when nobody defined it."""
        known = self._definitions.metric(self._tenant, name)
        if known is not None:
            return known
        found = await self._stored.get(Metric, self._tenant, name)
        return found.definition if found else default_metric(self._tenant, name)

    async def _series(self, experiment: Experiment, metrics: Sequence[MetricFigures], series: Series) -> dict[str, Any]:
        per_window = max(1, len(metrics) * len(experiment.variants))
        limit = min(MAX_ITEMS, series.points * per_window)
        wanted = WindowFilter(subject=experiment.id, grain=series.grain.value, start_us=series.start_us, end_us=series.end_us)
        found = await self._windows.page("significance", self._tenant, wanted, limit=limit, order="desc")
        by_start: dict[int, list[WindowItem]] = {}
        for item in found:
            by_start.setdefault(item.start_us, []).append(item)
        if len(found) == limit and len(by_start) > 1 and len(by_start[min(by_start)]) < per_window:
            del by_start[min(by_start)]
        by_id = {each.metric.id: each for each in metrics}
        return {"grain": series.grain.value, "points": [_point(series.grain, start, by_start[start], by_id) for start in sorted(by_start)]}


def _known(experiment: Experiment, found: Sequence[Figures], exposures: Mapping[str, Any]) -> Experiment:
    """The experiment with the variants seen when nobody defined any."""
    if experiment.variants:
        return experiment
    seen = sorted({figures["variant"] for figures in found} or {name for name in exposures if name != WHOLE})
    return msgspec.structs.replace(experiment, variants=tuple(Variant(name) for name in seen) if len(seen) > 1 else ())


def _answer(experiment: Experiment, metrics: Sequence[MetricFigures], exposures: Mapping[str, Any], *, bayesian: bool) -> dict[str, Any]:
    names = [variant.name for variant in experiment.variants]
    corrected = corrections(metrics, experiment.correction)
    whole = exposures.get(WHOLE, {})
    return {
        "experiment_id": experiment.id,
        "status": experiment.status.upper(),
        "sample_size": {name: exposures.get(name, {}).get("units", 0) for name in names},
        "metrics": [metric_results(each, corrected, bayesian=bayesian) for each in metrics],
        "control": experiment.control or None,
        "alpha": experiment.alpha,
        "correction": experiment.correction,
        "exposures": {
            name: {
                "units": exposures.get(name, {}).get("units", 0),
                "share": _percent(exposures.get(name, {}).get("share")),
                "planned_share": 100.0 * variant.weight / sum(each.weight for each in experiment.variants),
            }
            for name, variant in zip(names, experiment.variants, strict=True)
        },
        "excluded_units": {
            "several_variants": whole.get("excluded_units", 0),
            "unplanned_variant": sum(figures["units"] for name, figures in exposures.items() if name not in (WHOLE, *names)),
        },
        "sample_ratio": _sample_ratio(whole),
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100.0 * share


def _sample_ratio(whole: Mapping[str, Any]) -> dict[str, Any] | None:
    """The check of the split, with the part of the traffic that explains a mismatch first."""
    ratio = whole.get("sample_ratio")
    if ratio is None:
        return None
    suspects = [_suspect(each) for each in whole.get("suspects", ()) if each.get("flag")] if ratio["flag"] else []
    return {
        "mismatch": ratio["flag"],
        "p_value": ratio["sequential_p"],
        "fixed_horizon_p_value": ratio["chi_square_p"],
        "at_fault": next((each for each in suspects if each["explains"]), None),
        "suspects": suspects,
    }


def _suspect(suspect: Mapping[str, Any]) -> dict[str, Any]:
    names = ("dimension", "value", "counts", "sequential_p", "chi_square_p", "rest_p", "explains")
    return {name: suspect[name] for name in names if name in suspect}


def _point(grain: Grain, start_us: int, items: Sequence[WindowItem], metrics: Mapping[str, MetricFigures]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        figures = orjson.loads(item.payload)
        metric = metrics.get(figures["metric"])
        if metric is None:
            continue
        interval = (figures.get("interval") or {}).get("fixed")
        found.setdefault(metric.metric.id, {})[figures["variant"]] = {
            "units": figures["treatment_units"],
            "value": _times(figures["treatment_value"], metric.scale),
            "fixed_confidence_interval": None if interval is None else [bound * metric.scale for bound in interval],
            "difference": _times(figures["difference"], metric.scale),
            "improvement": _times(figures["relative_difference"], 100.0),
            "fixed_horizon_p_value": figures["fixed"]["p_value"],
        }
    bounded = bounds(grain.value, start_us)
    return {"window_start": bounded["window_start"], "window_end": bounded["window_end"], "metrics": found}


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale
