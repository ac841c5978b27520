"""What the figures of a significance window look like in the results of an experiment: percent, best variant, corrected p-values.

Proportions are in percent, their differences in percentage points; other values are in the metric's own unit. Relative differences,
improvement and confidence are in percent. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.bayes import belief
from schemas.correction import corrected
from schemas.definition_kinds import Correction, Metric
from schemas.significance import REASONS

Figures = Mapping[str, Any]
"""One item of a significance window: a variant of a metric."""

MAX_CONFIDENCE: Final = 99.9999
"""Percent; more is never claimed, however small the p-value."""
_DONE: Final = ("quantile", "winsorized_at", "covariate")
"""What an item says about how its values were made."""


@dataclass(frozen=True)
class MetricFigures:
    """One metric with the figures of every variant."""

    metric: Metric
    control: str
    items: Mapping[str, Figures]
    """By variant, control included."""

    @property
    def scale(self) -> float:
        """What values are multiplied with to be shown."""
        return 100.0 if self.metric.kind == "proportion" else 1.0

    @property
    def treatments(self) -> list[str]:
        """Every variant but control."""
        return [name for name in self.items if name != self.control]

    def best(self) -> str | None:
        """The treatment whose value is the best in the metric's direction; None while none has a value."""
        sign = -1.0 if self.metric.direction == "decrease" else 1.0
        known = [name for name in self.treatments if self.items[name]["treatment_value"] is not None]
        return max(known, key=lambda name: sign * self.items[name]["treatment_value"], default=None)


@dataclass(frozen=True)
class Corrected:
    """The p-values of one comparison after correction; None where there is none to correct."""

    anytime: float | None
    fixed: float | None


Place = tuple[str, str]
"""Metric id and variant."""


def corrections(metrics: Iterable[MetricFigures], method: Correction) -> dict[Place, Corrected]:
    """Corrected p-values by metric id and variant. The family is every treatment of every goal metric; guardrails are safety checks with a
    level of their own, and stay as they are."""
    return segment_corrections({"": list(metrics)}, method)[""]


def segment_corrections(segments: Mapping[str, Sequence[MetricFigures]], method: Correction) -> dict[str, dict[Place, Corrected]]:
    """The same by segment. The segments are one family: somebody who looks at many of them finds something in one of them by chance."""
    items = {(segment, each.metric.id, name): each.items[name] for segment, metrics in segments.items() for each in metrics for name in each.treatments}
    goals = {(segment, each.metric.id) for segment, metrics in segments.items() for each in metrics if each.metric.use == "goal"}
    found: dict[str, dict[tuple[str, str, str], float]] = {}
    for reading in ("anytime", "fixed"):
        p_values = {place: item[reading]["p_value"] for place, item in items.items()}
        family = [place for place, p in p_values.items() if p is not None and place[:2] in goals]
        found[reading] = p_values | dict(zip(family, corrected(method, [p_values[place] for place in family]), strict=True))
    by_segment: dict[str, dict[Place, Corrected]] = {segment: {} for segment in segments}
    for segment, metric, name in items:
        by_segment[segment][metric, name] = Corrected(found["anytime"][segment, metric, name], found["fixed"][segment, metric, name])
    return by_segment


def metric_results(figures: MetricFigures, found: Mapping[tuple[str, str], Corrected], *, bayesian: bool) -> dict[str, Any]:
    """One metric as the results show it."""
    metric, best = figures.metric, figures.best()
    comparisons = [_comparison(figures, name, found[metric.id, name], bayesian=bayesian) for name in figures.treatments]
    headline = next((each for each in comparisons if each["variant"] == best), {})
    control = figures.items.get(figures.control, {})
    return {
        "id": metric.id,
        "name": metric.name or metric.id,
        "type": metric.kind,
        "unit": "percent" if metric.kind == "proportion" else "value",
        "use": metric.use,
        "direction": metric.direction,
        "results": {
            **{name: _variant(figures, name) for name in figures.items},
            "improvement": headline.get("improvement"),
            "confidence": headline.get("confidence"),
            "is_significant": headline.get("is_significant", False),
        },
        "best_variant": best,
        "comparisons": comparisons,
        "adjustments": {name: control[name] for name in _DONE if name in control},
    }


def reasons_in(answer: Any) -> dict[str, str]:
    """The words for every reason named anywhere in an answer."""
    words: dict[str, str] = {str(name): text for name, text in REASONS.items()} | dict(_COVARIATE_REASONS)
    named: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            named.update(each for key, each in value.items() if key.endswith("reason") and isinstance(each, str))
            for each in value.values():
                look(each)
        elif isinstance(value, (list, tuple)):
            for each in value:
                look(each)

    look(answer)
    return {name: words[name] for name in sorted(words) if name in named}


_COVARIATE_REASONS: Final[Mapping[str, str]] = {
    "no_pre_exposure_spread": "no unit differed from the others before its exposure, so the covariate takes nothing out"
}


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _bounds(interval: Sequence[float] | None, scale: float) -> list[float] | None:
    return None if interval is None else [bound * scale for bound in interval]


def _variant(figures: MetricFigures, name: str) -> dict[str, Any]:
    item, scale = figures.items[name], figures.scale
    interval = item.get("interval") or {}
    shown = {
        "value": _scaled(item["treatment_value"], scale),
        "confidence_interval": _bounds(interval.get("anytime"), scale),
        "fixed_confidence_interval": _bounds(interval.get("fixed"), scale),
        "reason": interval.get("anytime_reason"),
        "units": item["treatment_units"],
    }
    if "unadjusted_value" in item:
        shown["unadjusted_value"] = _scaled(item["unadjusted_value"], scale)
    return shown


def _comparison(figures: MetricFigures, name: str, p: Corrected, *, bayesian: bool) -> dict[str, Any]:
    item, scale = figures.items[name], figures.scale
    shown = {
        "variant": name,
        "control": figures.control,
        "difference": _scaled(item["difference"], scale),
        "improvement": _scaled(item["relative_difference"], 100.0),
        "standard_error": _scaled(item["standard_error"], scale),
        "confidence": None if p.anytime is None else min(100.0 * (1.0 - p.anytime), MAX_CONFIDENCE),
        "is_significant": p.anytime is not None and p.anytime <= item["alpha"],
        "always_valid": _reading(item["anytime"], p.anytime, scale),
        "fixed_horizon": _reading(item["fixed"], p.fixed, scale),
    }
    if bayesian:
        shown["bayesian"] = _bayesian(item, figures.metric, scale)
    return shown


def _reading(reading: Figures, corrected_p: float | None, scale: float) -> dict[str, Any]:
    return {
        "p_value": reading["p_value"],
        "corrected_p_value": corrected_p,
        "interval": _bounds(reading["interval"], scale),
        "relative_interval": _bounds(reading["relative_interval"], 100.0),
        "reason": reading["reason"],
        "relative_reason": reading["relative_reason"],
    }


def _bayesian(item: Figures, metric: Metric, scale: float) -> dict[str, Any]:
    known = None
    if item["difference"] is not None and item["standard_error"] is not None:
        known = belief(item["difference"], item["standard_error"], alpha=item["alpha"], lower_is_better=metric.direction == "decrease")
    if known is None:
        return {"chance_to_win": None, "expected_loss": None, "credible_interval": None, "reason": item["fixed"]["reason"] or "no_spread"}
    return {
        "chance_to_win": 100.0 * known.chance_to_win,
        "expected_loss": known.expected_loss * scale,
        "credible_interval": _bounds(known.credible_interval, scale),
        "reason": None,
    }
