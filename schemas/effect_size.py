"""How large a difference between groups is, in units that do not depend on the metric, with an interval at level 1 - alpha.

Intervals have two sides whatever the test asks, and differences are the first group minus the second:

* Cohen's d, and Hedges' g, which takes the bias of d out: from the limits of the noncentrality of t (`schemas.noncentral`).
* The rank-biserial correlation, 2 U / (n m) - 1, the chance of a higher value minus that of a lower one (Kerby 2014): Newcombe's method 5 (Statistics in
  Medicine 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2"), which stays within -1 and 1.
* Eta squared, the share of the variance that lies between groups: from the limits of the noncentrality of F (Steiger 2004). Where groups are more alike
  than chance makes them, both limits may be 0.
* Cohen's h of two shares, 2 asin sqrt(p) - 2 asin sqrt(q): Wilson's limits of each share, combined as Newcombe does for a difference of shares
  (Statistics in Medicine 1998, "Interval estimation for the difference between independent proportions", method 10).

Pure; milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from scipy import special

from schemas.arm_interval import wilson
from schemas.noncentral import f_limits, t_limits
from schemas.significance import Interval

EffectSizeType = Literal["cohens_d", "hedges_g", "rank_biserial", "eta_squared", "cohens_h"]
Magnitude = Literal["negligible", "small", "medium", "large"]

BOUNDS: Final[dict[EffectSizeType, tuple[float, float, float]]] = {
    "cohens_d": (0.2, 0.5, 0.8),
    "hedges_g": (0.2, 0.5, 0.8),
    "rank_biserial": (0.1, 0.3, 0.5),
    "eta_squared": (0.01, 0.06, 0.14),
    "cohens_h": (0.2, 0.5, 0.8),
}
"""Where small, medium and large begin (Cohen 1988, "Statistical power analysis", where eta squared follows from his f and rank correlations are read as r)."""


@dataclass(frozen=True, slots=True)
class EffectSize:
    """An effect with its bounds."""

    type: EffectSizeType
    value: float
    interval: Interval

    @property
    def magnitude(self) -> Magnitude:
        """By `BOUNDS`, whatever the sign."""
        small, medium, large = BOUNDS[self.type]
        size = abs(self.value)
        return "large" if size >= large else "medium" if size >= medium else "small" if size >= small else "negligible"


def standardised(t: float, freedom: float, unit: float, alpha: float, *, unbiased_by: float | None = None) -> EffectSize:
    """Cohen's d of a t statistic with these degrees of freedom; `unit` is the d of a t of 1: the standard error over the standard deviation.

    With `unbiased_by`, the degrees of freedom of the standard deviation (at least 2), it is Hedges' g (Journal of Educational Statistics 1981), by his
    exact factor.
    """
    low, high = t_limits(t, freedom, alpha)
    factor = unit if unbiased_by is None else unit * _hedges(unbiased_by)
    return EffectSize("cohens_d" if unbiased_by is None else "hedges_g", t * factor, (low * factor, high * factor))


def _hedges(freedom: float) -> float:
    log_ratio = float(special.gammaln(freedom / 2.0) - special.gammaln((freedom - 1.0) / 2.0))
    # Of a thousand and more, gammas differ by less than they are rounded.
    return math.exp(log_ratio) / math.sqrt(freedom / 2.0) if freedom < 1_000.0 else 1.0 - 3.0 / (4.0 * freedom - 1.0)


def rank_biserial(u: float, first: int, second: int, alpha: float) -> EffectSize:
    """Of the Mann-Whitney U of the first group, which has `first` values against `second`."""
    pairs = first * second
    seen = u / pairs
    z = -float(special.ndtri(alpha / 2.0))
    half = (first + second) / 2.0 - 1.0

    def reached(share: float) -> bool:
        variance = share * (1.0 - share) * (1.0 + half * ((1.0 - share) / (2.0 - share) + share / (1.0 + share))) / pairs
        return abs(seen - share) <= z * math.sqrt(variance)

    return EffectSize("rank_biserial", 2.0 * seen - 1.0, (2.0 * _edge(reached, seen, 0.0) - 1.0, 2.0 * _edge(reached, seen, 1.0) - 1.0))


def _edge(inside: Callable[[float], bool], start: float, end: float) -> float:
    """How far from the start towards the end the interval reaches."""
    for _ in range(60):
        middle = (start + end) / 2.0
        start, end = (middle, end) if inside(middle) else (start, middle)
    return start


def eta_squared(f: float, between: int, within: int, alpha: float) -> EffectSize:
    """Of the F statistic of groups with these degrees of freedom between and within them."""
    count = between + within + 1
    low, high = (limit / (limit + count) for limit in f_limits(f, between, within, alpha))
    return EffectSize("eta_squared", between * f / (between * f + within), (low, high))


def cohens_h(first: float, first_count: int, second: float, second_count: int, alpha: float) -> EffectSize:
    """Of two shares, each of so many."""

    def angle(share: float) -> float:
        return 2.0 * math.asin(math.sqrt(share))

    return EffectSize("cohens_h", angle(first) - angle(second), difference_of_shares(first, first_count, second, second_count, alpha, angle))


def difference_of_shares(
    first: float, first_count: int, second: float, second_count: int, alpha: float, scale: Callable[[float], float] = lambda share: share
) -> Interval:
    """Newcombe's interval of the difference of two shares, on a rising scale of shares."""
    (low, high), (other_low, other_high) = wilson(first, first_count, alpha), wilson(second, second_count, alpha)
    one, other = scale(first), scale(second)
    below, above = math.hypot(one - scale(low), scale(other_high) - other), math.hypot(scale(high) - one, other - scale(other_low))
    return one - other - below, one - other + above
