"""What an experiment shows: a treatment arm compared with control, read once at the end or at any time.

Two readings stand side by side. `fixed` is the textbook one, right for a single look at a size decided in advance: Welch's
t for means and counts, the pooled two-proportion z test with an unpooled interval for proportions, the delta method for
ratios and for relative differences. `anytime` may be read after every block and keeps its error rate over all looks
together (see `schemas.confidence_sequence`); it speaks from `MIN_UNITS` units per arm. Both are two-sided. What cannot be
computed is None with a reason, never NaN and never p = 0. Pure and non-blocking; tens of microseconds a comparison.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Final, Literal

from scipy import special

from schemas.confidence_sequence import MIN_UNITS, SMALLEST_P, TUNED_UNITS, boundary, p_value, pooled_inflation, two_arms
from schemas.moments import Moments, RatioMoments

Kind = Literal["proportion", "mean", "ratio", "count"]
"""How a metric is read: 0/1 per unit, any value per unit, sum over sum, whole number of events per unit. Quantiles are
compared in `schemas.quantiles`."""

Reason = Literal[
    "empty_arm", "too_few_units", "no_spread", "tied_quantile", "not_finite",
    "not_a_proportion", "no_denominator", "baseline_not_positive", "baseline_uncertain",
]  # fmt: skip
"""Why something is absent."""

REASONS: Final[dict[Reason, str]] = {
    "empty_arm": "an arm has no units yet",
    "too_few_units": "an arm has fewer units than this reading needs",
    "no_spread": "every unit of both arms has the same value, so there is no spread to judge a difference by",
    "tied_quantile": "the values around the quantile are all the same, so it has no spread to judge a difference by",
    "not_finite": "the sums are not finite numbers, or a difference of them is not",
    "not_a_proportion": "the values are not all 0 or 1",
    "no_denominator": "the denominators of an arm do not sum to a positive number",
    "baseline_not_positive": "a relative difference needs a control value above 0",
    "baseline_uncertain": "the control value cannot be told from 0, so a relative difference has no bounds",
}
"""Each reason in words."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to judge the difference. A p-value and an interval are present together or both absent, with a reason."""

    p_value: float | None = None
    interval: Interval | None = None
    """Bounds of the absolute difference, in the metric's unit, at level 1 - alpha."""
    relative_interval: Interval | None = None
    """Bounds of the relative difference (0.1 is +10 %)."""
    reason: Reason | None = None
    """Why the p-value and the intervals are absent."""
    relative_reason: Reason | None = None
    """Why the relative interval is absent."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A treatment arm against control. Differences are treatment minus control."""

    kind: Kind | Literal["quantile"]
    alpha: float
    control_units: int
    treatment_units: int
    control_value: float | None
    """Mean, proportion, ratio or quantile; None when it cannot be computed (see `fixed.reason`)."""
    treatment_value: float | None
    difference: float | None
    relative_difference: float | None
    """(treatment - control) / control; None unless control is above 0."""
    standard_error: float | None
    """Unpooled standard error of the difference."""
    fixed: Reading
    anytime: Reading

    @property
    def significant(self) -> bool:
        """Whether the anytime-valid p-value is at most alpha: the answer that survives looking often."""
        return self.anytime.p_value is not None and self.anytime.p_value <= self.alpha

    def as_dict(self) -> dict[str, object]:
        """Every field and `significant`, as values JSON can carry."""
        return {**asdict(self), "significant": self.significant}


@dataclass(frozen=True, slots=True)
class _Arm:
    units: int
    value: float
    variance: float
    """Of one unit, so that the estimate has variance / units."""

    @property
    def squared_error(self) -> float:
        return self.variance / self.units


def compare(
    control: Moments | RatioMoments,
    treatment: Moments | RatioMoments,
    kind: Kind,
    alpha: float = 0.05,
    *,
    min_units: int = MIN_UNITS,
    tuned_units: int = TUNED_UNITS,
) -> Comparison:
    """Compare two arms.

    `min_units` (per arm, at least 2) and `tuned_units` (per arm) shape the anytime reading and must not depend on the
    data. Raises ValueError for an alpha outside (0, 1) and TypeError when the sums do not fit the kind; never for what
    the sums contain.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError("alpha must lie between 0 and 1")
    if isinstance(control, RatioMoments) != (kind == "ratio") or isinstance(treatment, RatioMoments) != (kind == "ratio"):
        raise TypeError(f"a {kind} is compared from {'RatioMoments' if kind == 'ratio' else 'Moments'}")
    values = [arm.mean if arm.count and arm.mean is not None and math.isfinite(arm.mean) else None for arm in (control, treatment)]
    reason = _flaw(control, kind) or _flaw(treatment, kind)
    if reason is None:
        a, b = _arm(control, kind), _arm(treatment, kind)
        difference, squared_error = b.value - a.value, a.squared_error + b.squared_error
        relative = difference / a.value if a.value > 0 else None
        if not (math.isfinite(difference) and math.isfinite(squared_error)):
            reason = "not_finite"
    if reason is not None:
        silent = Reading(reason=reason, relative_reason=reason)
        return Comparison(kind, alpha, control.count, treatment.count, values[0], values[1], None, None, None, silent, silent)
    return Comparison(
        kind,
        alpha,
        a.units,
        b.units,
        a.value,
        b.value,
        difference,
        relative if relative is not None and math.isfinite(relative) else None,
        math.sqrt(squared_error) if min(a.units, b.units) >= 2 else None,
        _fixed(a, b, kind, alpha),
        _anytime(a, b, alpha, max(2, min_units), tuned_units),
    )


def _flaw(arm: Moments | RatioMoments, kind: Kind) -> Reason | None:
    """Why not even the arm's own value and variance are known."""
    if not arm.count:
        return "empty_arm"
    if isinstance(arm, RatioMoments) and not arm.denominator > 0:
        return "not_finite" if math.isnan(arm.denominator) else "no_denominator"
    if not math.isfinite(arm.mean or 0.0) or not math.isfinite(arm.variance or 0.0):
        return "not_finite"
    if kind == "proportion" and isinstance(arm, Moments):
        plain = arm.around(0.0)
        if not 0.0 <= plain.total <= arm.count or not math.isclose(plain.total, plain.total_sq, rel_tol=1e-9, abs_tol=1e-6):
            return "not_a_proportion"
    return None


def _arm(arm: Moments | RatioMoments, kind: Kind) -> _Arm:
    value = arm.mean or 0.0
    return _Arm(arm.count, value, value * (1.0 - value) if kind == "proportion" else arm.variance or 0.0)


def _fixed(a: _Arm, b: _Arm, kind: Kind, alpha: float) -> Reading:
    if min(a.units, b.units) < 2:
        return Reading(reason="too_few_units", relative_reason="too_few_units")
    squared_error = a.squared_error + b.squared_error
    if squared_error <= 0.0:
        return Reading(reason="no_spread", relative_reason="no_spread")
    z = (b.value - a.value) / math.sqrt(squared_error)
    if kind in ("mean", "count"):
        # Welch and Satterthwaite's degrees of freedom, from shares so that tiny variances do not underflow when squared.
        share = a.squared_error / squared_error
        freedom = 1.0 / (share * share / (a.units - 1) + (1.0 - share) * (1.0 - share) / (b.units - 1))
        p, quantile = 2.0 * float(special.stdtr(freedom, -abs(z))), -float(special.stdtrit(freedom, alpha / 2.0))
    else:
        quantile = -float(special.ndtri(alpha / 2.0))
        if kind == "proportion":
            pooled = (a.value * a.units + b.value * b.units) / (a.units + b.units)
            z = (b.value - a.value) / math.sqrt(pooled * (1.0 - pooled) * (1.0 / a.units + 1.0 / b.units))
        p = 2.0 * float(special.ndtr(-abs(z)))
    relative, reason = _delta(a, b, quantile)
    return Reading(max(p, SMALLEST_P), _around(b.value - a.value, quantile * math.sqrt(squared_error)), relative, None, reason)


def _anytime(a: _Arm, b: _Arm, alpha: float, min_units: int, tuned_units: int) -> Reading:
    if min(a.units, b.units) < min_units:
        return Reading(reason="too_few_units", relative_reason="too_few_units")
    if a.squared_error + b.squared_error <= 0.0:
        return Reading(reason="no_spread", relative_reason="no_spread")
    inflation = float(pooled_inflation(a.units, a.variance, b.units, b.variance))
    error = math.sqrt(inflation * (a.squared_error + b.squared_error))
    size, tuned = two_arms(a.units, b.units), tuned_units / 2.0
    width = float(boundary(size, alpha, tuned))
    p = float(p_value((b.value - a.value) / error, size, tuned))
    relative, reason = _ratio_of_means(a, b, width * width * inflation)
    return Reading(p, _around(b.value - a.value, width * error), relative, None, reason)


def _around(centre: float, half: float) -> Interval:
    return centre - half, centre + half


def _relative_errors(a: _Arm, b: _Arm) -> Interval:
    """Squared errors of both arms in units of the control value squared; dividing first keeps tiny values from underflowing."""
    low, high = math.sqrt(a.squared_error) / a.value, math.sqrt(b.squared_error) / a.value
    return low * low, high * high


def _delta(a: _Arm, b: _Arm, quantile: float) -> tuple[Interval | None, Reason | None]:
    """Delta-method interval of b / a - 1."""
    if a.value <= 0.0:
        return None, "baseline_not_positive"
    ratio = b.value / a.value
    error_a, error_b = _relative_errors(a, b)
    low, high = _around(ratio - 1.0, quantile * math.sqrt(error_b + ratio * ratio * error_a))
    return ((low, high), None) if math.isfinite(low) and math.isfinite(high) else (None, "baseline_uncertain")


def _ratio_of_means(a: _Arm, b: _Arm, squared_width: float) -> tuple[Interval | None, Reason | None]:
    """Fieller's interval of b / a - 1: every ratio R for which the difference b - R * a is within the boundary of 0.

    Each such difference is a mean with its own confidence sequence, so the interval inherits their validity at every
    look, and it leaves out 0 exactly when the absolute interval does. The delta method promises neither in the far tails
    that early looks use. Unbounded, hence absent, while the control value itself is within the boundary of 0.
    """
    if a.value <= 0.0:
        return None, "baseline_not_positive"
    ratio = b.value / a.value
    error_a, error_b = (squared_width * error for error in _relative_errors(a, b))
    scale = 1.0 - error_a
    if not scale > 0.0:
        return None, "baseline_uncertain"
    half = math.sqrt(error_b * scale + ratio * ratio * error_a)
    low, high = (ratio - half) / scale - 1.0, (ratio + half) / scale - 1.0
    return ((low, high), None) if math.isfinite(low) and math.isfinite(high) else (None, "baseline_uncertain")
