"""Whether the units of an experiment arrive in the proportions they were assigned in.

A mismatch means that units are lost or gained unevenly, and then no difference between the arms can be trusted.
Two tests stand side by side:

- `sequential`: the Dirichlet-multinomial test of Lindon and Malek (NeurIPS 2022, "Anytime-Valid Inference For Multinomial
  Count Data"). Exact, and valid however often it is read; `mismatch` follows from it and is what an alert may use.
- `chi_square`: Pearson's goodness of fit, right for one reading at the end, where it is the more sensitive. Read after
  every batch it raises false alarms far above its level; `suspicious` follows from it and is what a report shows.

`flag` is either of them, because a report should rather warn once too often. Counts are units by first exposure, never
events. Pure and non-blocking.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from schemas.confidence_sequence import SMALLEST_P
from schemas.correction import holm

ALPHA: Final = 0.01
"""Level of both tests: stricter than a metric's, since every experiment is checked all its life."""

CONCENTRATION: Final = 1_000.0
"""Weight, in units, of the prior around the planned shares: the test is at its sharpest after some 12 times as many units
(a 52:48 split of a planned 50:50 is found after about 8,000), and slower, never wrong, elsewhere."""

MIN_EXPECTED: Final = 5.0
"""Expected units per variant below which the chi-square approximation is not believed (Cochran's rule)."""

Counts = Mapping[str, int]
"""Units per variant; a variant not named has none."""

Weights = Mapping[str, float]
"""Planned share per variant, to any total; 0 for a variant that should get nobody."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """The check of one set of counts against its plan."""

    counts: dict[str, int]
    """Units per planned variant, those with none included."""
    unplanned: int
    """Units in variants of weight 0 or without one; left out of both tests, since one stray unit would refute any plan."""
    chi_square_p: float
    sequential_p: float
    mismatch: bool
    """The sequential test refutes the plan; valid at every look."""
    suspicious: bool
    """The chi-square test refutes the plan, with enough units to be believed; valid for a single look."""

    @property
    def flag(self) -> bool:
        """Whether a reader should be warned."""
        return self.mismatch or self.suspicious

    def as_dict(self) -> dict[str, object]:
        """Every field and `flag`, as values JSON can carry."""
        return {**asdict(self), "flag": self.flag}


@dataclass(frozen=True, slots=True)
class Suspect:
    """One value of one dimension, checked by itself; both p-values are Holm-corrected over all values of all dimensions."""

    dimension: str
    value: str
    ratio: SampleRatio
    rest_p: float
    """Chi-square p-value of everything else in the dimension."""
    explains: bool
    """This value is out of proportion and the rest is not: leave it out, or look for the fault there."""


def _aligned(counts: Counts, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts and shares of the variants that should get units. Raises ValueError for what can be neither."""
    if any(count < 0 for count in counts.values()):
        raise ValueError("counts cannot be negative")
    if any(not (math.isfinite(weight) and weight >= 0) for weight in weights.values()):
        raise ValueError("weights must be finite and not negative")
    planned = [variant for variant, weight in weights.items() if weight > 0]
    if not planned:
        raise ValueError("no variant has a positive weight")
    shares = np.array([weights[variant] for variant in planned], dtype=np.float64)
    return np.array([counts.get(variant, 0) for variant in planned], dtype=np.float64), shares / shares.max() / (shares / shares.max()).sum()


def chi_square(counts: Counts, weights: Weights) -> float:
    """Pearson's p-value, in (0, 1]; 1 when there is nothing to compare. Raises ValueError for negative counts or bad weights."""
    observed, shares = _aligned(counts, weights)
    total = observed.sum()
    if not total or observed.size < 2:
        return 1.0
    expected = total * shares
    statistic = float((np.square(observed - expected) / expected).sum())
    return max(float(special.chdtrc(observed.size - 1, statistic)), SMALLEST_P)


def sequential(counts: Counts, weights: Weights, concentration: float = CONCENTRATION) -> float:
    """Anytime-valid p-value, in (0, 1]: the chance that it ever falls to alpha under the plan is at most alpha.

    It is 1 over the Bayes factor of Dirichlet(concentration * shares) against the shares themselves, so it depends on the
    counts alone and not on the order in which units came; the smallest seen so far is valid as well. The concentration
    must not depend on the data. Raises ValueError for negative counts, bad weights or a concentration not above 0.
    """
    if not concentration > 0:
        raise ValueError("concentration must be above 0")
    observed, shares = _aligned(counts, weights)
    return _sequential(observed, shares, concentration)


def _sequential(observed: NDArray[np.float64], shares: NDArray[np.float64], concentration: float) -> float:
    prior = concentration * shares
    log_factor = (
        special.gammaln(concentration)
        - special.gammaln(concentration + observed.sum())
        + (special.gammaln(prior + observed) - special.gammaln(prior) - observed * np.log(shares)).sum()
    )
    return min(1.0, max(math.exp(min(0.0, -float(log_factor))), SMALLEST_P))


def check(counts: Counts, weights: Weights, alpha: float = ALPHA, concentration: float = CONCENTRATION) -> SampleRatio:
    """Both tests of one set of counts. Raises ValueError as they do."""
    return _judge(counts, weights, alpha, chi_square(counts, weights), sequential(counts, weights, concentration))


def _judge(counts: Counts, weights: Weights, alpha: float, chi_square_p: float, sequential_p: float) -> SampleRatio:
    observed, shares = _aligned(counts, weights)
    planned = {variant: counts.get(variant, 0) for variant, weight in weights.items() if weight > 0}
    believed = bool((observed.sum() * shares >= MIN_EXPECTED).all())
    unplanned = sum(counts.values()) - sum(planned.values())
    return SampleRatio(planned, unplanned, chi_square_p, sequential_p, sequential_p <= alpha, believed and chi_square_p <= alpha)


def diagnose(
    breakdown: Mapping[str, Mapping[str, Counts]],
    weights: Weights,
    alpha: float = ALPHA,
    concentration: float = CONCENTRATION,
) -> list[Suspect]:
    """Every value of every dimension (SDK, source, hour), the most telling first.

    Flagged values that explain the mismatch alone come before flagged ones that do not, then by p-value. A mismatch
    spread over everything leaves all values flagged and none explaining. Raises ValueError as the tests do.
    """
    cells = [(dimension, value, counts) for dimension, values in breakdown.items() for value, counts in values.items()]
    chi_squares = holm([chi_square(counts, weights) for _, _, counts in cells])
    sequentials = holm([sequential(counts, weights, concentration) for _, _, counts in cells])
    suspects = []
    for (dimension, value, counts), chi_square_p, sequential_p in zip(cells, chi_squares, sequentials, strict=True):
        ratio = _judge(counts, weights, alpha, chi_square_p, sequential_p)
        others = [other for name, other in breakdown[dimension].items() if name != value]
        rest_p = chi_square({variant: sum(other.get(variant, 0) for other in others) for variant in weights}, weights)
        suspects.append(Suspect(dimension, value, ratio, rest_p, ratio.flag and bool(others) and rest_p > alpha))
    return sorted(suspects, key=lambda s: (not s.explains, not s.ratio.flag, s.ratio.chi_square_p, -s.rest_p, s.dimension, s.value))
