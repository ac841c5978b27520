"""Quantiles of a value per unit, compared between two arms once at the end or at any time.

- `fixed`: the standard error of a quantile is read off the order statistics that bound it, `(Q(p + z s) - Q(p - z s)) / 2 z` with
  `s = sqrt(p (1 - p) / n)` and z = 1.96; no density is estimated (Deng, Knoblich and Lu, KDD 2018, "Applying the delta method in
  metric analytics", section 4). The difference is then taken as normal.
- `anytime`: Howard and Ramdas, Bernoulli 2022, "Sequential estimation of quantiles with applications to A/B testing and best-arm
  identification". Whether a unit lies below the p-quantile of its arm is a coin that falls with chance p, whatever the distribution; so
  the beta-binomial mixture of the number of units below a candidate q, M(q), is a martingale at the true quantile. A pair of candidates
  for the two arms is refuted when `M_control * M_treatment >= 1 / alpha`. The interval is the range of differences between pairs not
  refuted, and the p-value is the least alpha at which all pairs with equal quantiles are. Not asymptotic: it holds at every
  size, over all looks together, for any distribution.

A quantile is the smallest value that at least a share p of the units do not exceed. Tied values are safe: where a candidate is tied, the
least telling count of units below it is used. Pure and non-blocking, a millisecond a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from schemas.confidence_sequence import MIN_UNITS, SMALLEST_P, TUNED_UNITS, prior_units
from schemas.significance import Comparison, Interval, Reading, Reason

_Array = NDArray[np.float64]

Z: Final = 1.959963984540054
"""Distance of the order statistics that give the standard error, in standard errors of the rank."""
LEVELS: Final = tuple(sorted({-Z, Z, *(step / 8 for step in range(-112, 113))}))
"""Distances from the quantile, in standard errors of its rank, of the order statistics that are kept: far enough out for the widest
interval, close enough together that rounding outwards to the next one costs little."""


@dataclass(frozen=True, slots=True)
class OrderStatistics:
    """Values of an arm in order, around one quantile: all that its estimate and intervals need."""

    count: int
    """Units."""
    quantile: float
    """Which one, in (0, 1)."""
    ranks: tuple[int, ...]
    """Rising, from 1 (the smallest value) to `count`; those of `LEVELS`, see `rank`."""
    values: tuple[float, ...]
    """The values of these ranks."""

    @classmethod
    def of(cls, values: Iterable[float], quantile: float) -> OrderStatistics:
        """Those of values, one per unit."""
        ordered = np.sort(np.asarray(list(values), dtype=np.float64))
        count = int(ordered.size)
        ranks = tuple(sorted({rank(count, quantile, level) for level in LEVELS})) if count else ()
        return cls(count, quantile, ranks, tuple(float(ordered[place - 1]) for place in ranks))

    @property
    def value(self) -> float | None:
        """The quantile; None without units."""
        return self._at(0.0) if self.count else None

    @property
    def standard_error(self) -> float | None:
        """That of the quantile; None while there are too few units on one side of it."""
        reach = Z * math.sqrt(self.count * self.quantile * (1.0 - self.quantile))
        if not self.count or self.count * self.quantile - reach <= 0.0 or self.count * self.quantile + reach > self.count:
            return None
        return (self._at(Z) - self._at(-Z)) / (2.0 * Z)

    def _at(self, level: float) -> float:
        # Ranks come from the database, whose rounding may differ in the last place: the nearest one kept is meant.
        wanted = rank(self.count, self.quantile, level)
        place = min(range(len(self.ranks)), key=lambda index: abs(self.ranks[index] - wanted))
        return self.values[place]


def rank(count: int, quantile: float, level: float) -> int:
    """The rank `level` standard errors away from that of the quantile, within 1 and `count`."""
    spread = level * math.sqrt(count * quantile * (1.0 - quantile))
    return max(1, min(count, math.ceil(count * quantile + spread)))


def compare_quantiles(
    control: OrderStatistics, treatment: OrderStatistics, alpha: float = 0.05, *, min_units: int = MIN_UNITS, tuned_units: int = TUNED_UNITS
) -> Comparison:
    """Compare one quantile of two arms. `min_units` and `tuned_units` as in `schemas.significance.compare`.

    Raises ValueError for an alpha outside (0, 1) or different quantiles; never for what the values are.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError("alpha must lie between 0 and 1")
    if control.quantile != treatment.quantile:
        raise ValueError("the arms hold different quantiles")
    arms = (control, treatment)
    values = [arm.value if all(map(math.isfinite, arm.values)) else None for arm in arms]
    a, b = values
    reason: Reason | None = None
    if not (control.count and treatment.count):
        reason = "empty_arm"
    elif a is None or b is None or not math.isfinite(b - a):
        reason = "not_finite"
    if reason is not None or a is None or b is None:
        silent = Reading(reason=reason, relative_reason=reason)
        return Comparison("quantile", alpha, control.count, treatment.count, a, b, None, None, None, silent, silent)
    relative = b / a - 1.0 if a > 0 else None
    errors = [arm.standard_error for arm in arms]
    error = None if errors[0] is None or errors[1] is None else math.hypot(errors[0], errors[1])
    return Comparison(
        "quantile",
        alpha,
        control.count,
        treatment.count,
        a,
        b,
        b - a,
        relative if relative is not None and math.isfinite(relative) else None,
        error if error is not None and math.isfinite(error) else None,
        _fixed(a, b, errors, alpha),
        _anytime(control, treatment, alpha, max(2, min_units), tuned_units),
    )


def quantile_interval(arm: OrderStatistics, alpha: float, *, tuned_units: int = TUNED_UNITS) -> Interval | None:
    """Always-valid bounds of one arm's quantile; None while they reach beyond the values seen."""
    cells = _Cells.of(arm, tuned_units)
    kept = cells.log_mixture < -math.log(alpha)
    low, high = float(cells.low[kept].min()), float(cells.high[kept].max())
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _fixed(a: float, b: float, errors: list[float | None], alpha: float) -> Reading:
    if errors[0] is None or errors[1] is None:
        return Reading(reason="too_few_units", relative_reason="too_few_units")
    error = math.hypot(errors[0], errors[1])
    if not error > 0.0:
        return Reading(reason="tied_quantile", relative_reason="tied_quantile")
    z = -float(special.ndtri(alpha / 2.0))
    interval = (b - a - z * error, b - a + z * error)
    if not all(map(math.isfinite, (error, *interval))):
        return Reading(reason="not_finite", relative_reason="not_finite")
    p = max(2.0 * float(special.ndtr(-abs(b - a) / error)), SMALLEST_P)
    if a <= 0.0:
        return Reading(p, interval, None, None, "baseline_not_positive")
    half = z * math.hypot(errors[1] / a, b / a * (errors[0] / a))
    relative = (b / a - 1.0 - half, b / a - 1.0 + half)
    return Reading(p, interval, relative) if all(map(math.isfinite, relative)) else Reading(p, interval, None, None, "baseline_uncertain")


@dataclass(frozen=True, slots=True)
class _Cells:
    """The line cut at the order statistics kept: within a cell the number of units below moves between two known ranks."""

    low: _Array
    high: _Array
    log_mixture: _Array
    """The least that the logarithm of the mixture can be within the cell, ends included."""

    @classmethod
    def of(cls, arm: OrderStatistics, tuned_units: int) -> _Cells:
        edges = np.concatenate([[-np.inf], arm.values, [np.inf]])
        ranks = np.concatenate([[0.0], arm.ranks, [float(arm.count)]])
        return cls(edges[:-1], edges[1:], _least(arm, ranks[:-1], ranks[1:], prior_units(float(tuned_units))))


def _least(arm: OrderStatistics, fewest: _Array, most: _Array, weight: float) -> _Array:
    """Least logarithm of the beta-binomial mixture over `fewest` to `most` units below, of the arm's units."""
    n, p = float(arm.count), arm.quantile
    prior_low, prior_high = weight * p, weight * (1.0 - p)
    # The mixture is convex in the count, and least within half a unit of the expected one.
    below = np.clip(np.array([[n * p - 0.5], [n * p], [n * p + 0.5]]), fewest, most)
    mixed = special.betaln(prior_low + below, prior_high + n - below) - special.betaln(prior_low, prior_high)
    least: _Array = (mixed - below * math.log(p) - (n - below) * math.log1p(-p)).min(axis=0)
    return least


def _anytime(control: OrderStatistics, treatment: OrderStatistics, alpha: float, min_units: int, tuned_units: int) -> Reading:
    if min(control.count, treatment.count) < min_units:
        return Reading(reason="too_few_units", relative_reason="too_few_units")
    if control.values[0] == control.values[-1] == treatment.values[0] == treatment.values[-1]:
        return Reading(reason="tied_quantile", relative_reason="tied_quantile")
    a, b = _Cells.of(control, tuned_units), _Cells.of(treatment, tuned_units)
    log_e = a.log_mixture[:, None] + b.log_mixture[None, :]
    equal = (a.low[:, None] <= b.high[None, :]) & (b.low[None, :] <= a.high[:, None])
    p = min(1.0, max(math.exp(min(0.0, -float(log_e[equal].min()))), SMALLEST_P))
    i, j = np.nonzero(log_e < -math.log(alpha))
    low, high = float((b.low[j] - a.high[i]).min()), float((b.high[j] - a.low[i]).max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return Reading(reason="too_few_units", relative_reason="too_few_units")
    relative, reason = _relative(control, a.low[i], a.high[i], b.low[j], b.high[j])
    return Reading(p, (low, high), relative, None, reason)


def _relative(control: OrderStatistics, a_low: _Array, a_high: _Array, b_low: _Array, b_high: _Array) -> tuple[Interval | None, Reason | None]:
    """Range of b / a - 1 over the pairs of cells that are not refuted."""
    if (control.value or 0.0) <= 0.0:
        return None, "baseline_not_positive"
    if not a_low.min() > 0.0:
        return None, "baseline_uncertain"
    low = float((b_low / np.where(b_low > 0.0, a_high, a_low)).min()) - 1.0
    high = float((b_high / np.where(b_high > 0.0, a_low, a_high)).max()) - 1.0
    return ((low, high), None) if math.isfinite(low) and math.isfinite(high) else (None, "baseline_uncertain")
