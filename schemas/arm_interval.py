"""The value of one arm by itself, with bounds for a single look and bounds that hold at every look.

Fixed: Student's t for means and counts, Wilson's score interval for proportions (JASA 1927; it stays right next to 0 and 1), the
delta method for ratios, order statistics for quantiles. At any time: the confidence sequences that comparisons use too, see
`schemas.confidence_sequence` and `schemas.quantiles`. Pure and non-blocking.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from scipy import special

from schemas.confidence_sequence import MIN_UNITS, TUNED_UNITS, boundary
from schemas.moments import Moments, RatioMoments
from schemas.quantiles import OrderStatistics, quantile_interval
from schemas.significance import Interval, Kind, Reason


@dataclass(frozen=True, slots=True)
class ArmInterval:
    """Bounds of an arm's value at level 1 - alpha; what is absent has a reason."""

    fixed: Interval | None = None
    anytime: Interval | None = None
    fixed_reason: Reason | None = None
    anytime_reason: Reason | None = None

    def as_dict(self) -> dict[str, object]:
        """Every field, as values JSON can carry."""
        return asdict(self)


def _absent(reason: Reason) -> ArmInterval:
    return ArmInterval(None, None, reason, reason)


def mean_interval(arm: Moments | RatioMoments, kind: Kind, alpha: float) -> ArmInterval:
    """Bounds of a mean, count, proportion or ratio. Never raises for what the sums contain."""
    if not arm.count:
        return _absent("empty_arm")
    value, variance = arm.mean, arm.variance
    if value is None:
        return _absent("no_denominator")
    if kind == "proportion":
        if not 0.0 <= value <= 1.0:
            return _absent("not_a_proportion")
        variance = value * (1.0 - value)
    if not math.isfinite(value) or not math.isfinite(variance or 0.0):
        return _absent("not_finite")
    score = wilson(value, arm.count, alpha) if kind == "proportion" else None
    if variance is None:
        return _absent("too_few_units")
    if not variance > 0.0:
        return ArmInterval(score, None, None if score else "no_spread", "no_spread")
    error = math.sqrt(variance / arm.count)
    z = -float(special.stdtrit(arm.count - 1, alpha / 2.0) if kind in ("mean", "count") else special.ndtri(alpha / 2.0))
    fixed = score or (value - z * error, value + z * error)
    if arm.count < MIN_UNITS:
        return ArmInterval(fixed, None, None, "too_few_units")
    half = float(boundary(arm.count, alpha, TUNED_UNITS)) * error
    anytime = (max(0.0, value - half), min(1.0, value + half)) if kind == "proportion" else (value - half, value + half)
    return ArmInterval(fixed, anytime)


def order_interval(arm: OrderStatistics, alpha: float) -> ArmInterval:
    """Bounds of a quantile. Never raises for what the values are."""
    value, error = arm.value, arm.standard_error
    if value is None:
        return _absent("empty_arm")
    if not all(map(math.isfinite, arm.values)):
        return _absent("not_finite")
    z = -float(special.ndtri(alpha / 2.0))
    fixed = None if error is None else (value - z * error, value + z * error)
    anytime = quantile_interval(arm, alpha) if arm.count >= MIN_UNITS else None
    return ArmInterval(fixed, anytime, None if fixed else "too_few_units", None if anytime else "too_few_units")


def wilson(share: float, count: int, alpha: float) -> Interval:
    """Wilson's score interval, at level 1 - alpha, of a share that was seen among `count` units."""
    z = -float(special.ndtri(alpha / 2.0))
    scale = 1.0 + z * z / count
    centre = (share + z * z / (2.0 * count)) / scale
    half = z / scale * math.sqrt(share * (1.0 - share) / count + z * z / (4.0 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)
