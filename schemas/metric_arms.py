"""The arms of one metric, ready to be compared: what a window of significance says about them, whatever the metric's kind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.arm_interval import mean_interval, order_interval
from schemas.cuped import CovariateMoments, adjust
from schemas.definition_kinds import Metric
from schemas.moments import Moments, RatioMoments
from schemas.quantiles import OrderStatistics, compare_quantiles
from schemas.significance import Comparison, Kind, compare
from schemas.unit_metric_sql import adjusts, winsorizes

Arm = Moments | RatioMoments | OrderStatistics


@dataclass(frozen=True)
class MetricArms:
    """One metric by variant."""

    kind: Kind | Literal["quantile"]
    """How the arms are compared; a proportion that was adjusted is compared as a mean."""
    arms: Mapping[str, Arm]
    """Every variant of the experiment, those without units included."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """What was done to the values, as values JSON can carry."""
    unadjusted: Mapping[str, float | None] = field(default_factory=dict)
    """Values by variant before the covariate was taken out."""

    def compare(self, control: str, variant: str, alpha: float) -> Comparison:
        """A variant against control. Raises ValueError for an alpha outside (0, 1) and KeyError for a variant that is none."""
        a, b = self.arms[control], self.arms[variant]
        if isinstance(a, OrderStatistics) and isinstance(b, OrderStatistics):
            return compare_quantiles(a, b, alpha)
        if isinstance(a, OrderStatistics) or isinstance(b, OrderStatistics) or self.kind == "quantile":
            raise TypeError("a quantile is compared from OrderStatistics")
        return compare(a, b, self.kind, alpha)

    def figures(self, control: str, variant: str, alpha: float) -> dict[str, object]:
        """The comparison, the variant's own bounds and what was done to the values; no NaN, nothing infinite."""
        arm = self.arms[variant]
        if isinstance(arm, OrderStatistics):
            interval = order_interval(arm, alpha)
        else:
            assert self.kind != "quantile"
            interval = mean_interval(arm, self.kind, alpha)
        figures = {**self.compare(control, variant, alpha).as_dict(), "interval": interval.as_dict(), **self.notes}
        if self.unadjusted:
            figures["unadjusted_value"] = self.unadjusted[variant]
        return figures


def arms_from_rows(metric: Metric, rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> MetricArms:
    """The arms from what `schemas.unit_metric_sql.statement` gives; variants not named are left out, those without a row have no units."""
    found = {str(row["variant"]): row for row in rows}
    if metric.kind == "quantile":
        return MetricArms("quantile", {name: _order(metric.quantile, found.get(name)) for name in names}, {"quantile": metric.quantile})
    sums = {name: _sums(found.get(name)) for name in names}
    if metric.kind == "ratio":
        return MetricArms("ratio", {name: RatioMoments(s.count, s.total, s.covariate, s.total_sq, s.covariate_sq, s.cross) for name, s in sums.items()})
    notes: dict[str, object] = {}
    if winsorizes(metric) and found:
        cap = next(iter(found.values()))["cap"]
        notes["winsorized_at"] = cap if cap is not None and math.isfinite(cap) else None
    if not adjusts(metric):
        return MetricArms(metric.kind, {name: s.plain for name, s in sums.items()}, notes)
    adjusted = adjust(sums)
    notes["covariate"] = {"days": metric.covariate_days, **adjusted.as_dict()}
    kind: Kind = "mean" if metric.kind == "proportion" and adjusted.theta else metric.kind
    values = {name: s.plain.mean for name, s in sums.items()}
    return MetricArms(kind, adjusted.arms, notes, {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()})


def _order(quantile: float, row: Mapping[str, Any] | None) -> OrderStatistics:
    if row is None:
        return OrderStatistics(0, quantile, (), ())
    return OrderStatistics(int(row["units"]), quantile, tuple(int(place) for place in row["ranks"]), tuple(_number(value) for value in row["sample"]))


def _sums(row: Mapping[str, Any] | None) -> CovariateMoments:
    if row is None:
        return CovariateMoments(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return CovariateMoments(int(row["units"]), *(_number(row[name]) for name in ("sy", "sx", "syy", "sxx", "sxy")))


def _number(value: float | None) -> float:
    """What JSON cannot carry comes as None."""
    return math.nan if value is None else float(value)
