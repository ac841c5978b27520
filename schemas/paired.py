"""A paired comparison: the mean of differences, one per pair, read once at the end or at any time.

`fixed` is Student's t for paired samples, right for a single look at a size decided in advance. `anytime` is the t-test of the same differences
under a normal mixture, which may be read after every pair and keeps its error rate over all looks together:

    e-value  = r^(1/2) * ((1 + x) / (1 + r x))^(n / 2),      x = t^2 / (n - 1),  r = 1 / (1 + n g)
    p-value  = min(1, 1 / e-value)
    interval = mean +- se * sqrt((n - 1) * (c - 1) / (1 - c r)),      c = (1 / (alpha^2 r))^(1 / n), unbounded while c r >= 1

It is the Bayes factor of a standardised difference drawn from N(0, g) against none, with the scale left open (Goenen, Johnson, Lu and Westfall,
American Statistician 2005), whose running value is a martingale for normal differences of unknown variance at every size (Lindon, Ham, Tingley
and Bojinov, "Anytime-valid inference in linear models", 2022). Unlike the sequence of `schemas.confidence_sequence` it needs no guess of the
variance to be good, and so speaks from few pairs: datasets of examples are small. For differences that are far from normal (a rare large loss
among many small wins) the first looks promise less, which is why nothing is said below `MIN_PAIRS`.

The mixture is fixed before the data: tuned to `TUNED_PAIRS` as the platform's sequence is to its size. Pure and non-blocking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from schemas.confidence_sequence import SMALLEST_P, prior_units

MIN_PAIRS: Final = 20
"""Pairs before the anytime reading says anything: before them a rare kind of difference has often not been seen once."""

TUNED_PAIRS: Final = 40
"""Pairs for which the mixture is tuned: a dataset that somebody wrote by hand. There the interval is 1.6 times as wide as the fixed one, at 20 and at
1,000 pairs 1.7 times."""

VARIANCE: Final = 1.0 / (prior_units(TUNED_PAIRS) + 1.0)
"""Variance of the standardised difference under the mixture."""

Reason = Literal["too_few_pairs", "no_spread", "not_bounded_yet"]
REASONS: Final[dict[Reason, str]] = {
    "too_few_pairs": "there are fewer pairs than this reading needs",
    "no_spread": "every difference is the same, so there is no spread to judge their mean by",
    "not_bounded_yet": "the pairs are too few for an interval at this level; the p-value holds",
}
"""Each reason in words."""


@dataclass(frozen=True, slots=True)
class PairedReading:
    """One way to judge the mean difference; what is absent is so for a reason."""

    p_value: float | None = None
    interval: tuple[float, float] | None = None
    """At level 1 - alpha."""
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Differences of pairs: treatment minus control."""

    pairs: int
    alpha: float
    difference: float | None
    """Their mean; None without pairs."""
    standard_error: float | None
    wins: int
    """Pairs whose difference is above 0."""
    losses: int
    ties: int
    fixed: PairedReading
    anytime: PairedReading

    @property
    def significant(self) -> bool:
        """Whether the anytime p-value is at most alpha: the answer that survives looking often."""
        return self.anytime.p_value is not None and self.anytime.p_value <= self.alpha


def compare_pairs(differences: Sequence[float], alpha: float = 0.05) -> PairedComparison:
    """Compare by the differences of pairs, which must be finite. Raises ValueError for an alpha outside (0, 1)."""
    if not 0.0 < alpha < 1.0:
        raise ValueError("alpha must lie between 0 and 1")
    values = np.asarray(differences, dtype=np.float64)
    n = int(values.size)
    mean = float(values.mean()) if n else None
    error = _standard_error(values) if n >= 2 else None
    fixed, anytime = _readings(n, mean or 0.0, error, alpha)
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    return PairedComparison(n, alpha, mean, error, wins, losses, n - wins - losses, fixed, anytime)


def _standard_error(values: NDArray[np.float64]) -> float:
    # Differences of decimal scores (0.3 - 0.1, 0.7 - 0.5) vary in their last digits where they are meant to be the same.
    noise = 8.0 * np.finfo(np.float64).eps * float(np.abs(values).max(initial=0.0))
    spread = float(values.std(ddof=1))
    return spread / math.sqrt(values.size) if spread > noise else 0.0


def _readings(n: int, mean: float, error: float | None, alpha: float) -> tuple[PairedReading, PairedReading]:
    if error is None:
        return PairedReading(reason="too_few_pairs"), PairedReading(reason="too_few_pairs")
    if error == 0.0:
        return PairedReading(reason="no_spread"), PairedReading(reason="no_spread" if n >= MIN_PAIRS else "too_few_pairs")
    t, freedom = abs(mean) / error, n - 1
    half = -float(special.stdtrit(freedom, alpha / 2.0)) * error
    fixed = PairedReading(max(2.0 * float(special.stdtr(freedom, -t)), SMALLEST_P), (mean - half, mean + half))
    if n < MIN_PAIRS:
        return fixed, PairedReading(reason="too_few_pairs")
    p, wide = anytime_p(t, n), anytime_boundary(n, alpha)
    if wide is None:
        return fixed, PairedReading(p, reason="not_bounded_yet")
    return fixed, PairedReading(p, (mean - wide * error, mean + wide * error))


def anytime_p(t: float, n: int) -> float:
    """The p-value of a t statistic of n pairs at any look, in [SMALLEST_P, 1]."""
    r = 1.0 / (1.0 + n * VARIANCE)
    x = min(t, 1e100) ** 2 / (n - 1)
    log_e = 0.5 * math.log(r) + 0.5 * n * (math.log1p(x) - math.log1p(r * x))
    return min(1.0, max(math.exp(-log_e), SMALLEST_P))


def anytime_boundary(n: int, alpha: float) -> float | None:
    """Half width of the interval in standard errors after n pairs; None while it is unbounded. `anytime_p` is at most alpha exactly beyond it."""
    r = 1.0 / (1.0 + n * VARIANCE)
    c = math.exp(-(2.0 * math.log(alpha) + math.log(r)) / n)
    return math.sqrt((n - 1) * (c - 1.0) / (1.0 - c * r)) if c * r < 1.0 else None
