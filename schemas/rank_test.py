"""The Mann-Whitney U test: whether values of one group tend to be higher than those of another, whatever their distribution.

Exact where no two values are equal and no group has more than `EXACT` of them; otherwise the normal approximation with its corrections for ties and for
continuity (Hollander, Wolfe and Chicken 2014, "Nonparametric statistical methods", 4.1). Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

EXACT: Final = 50
"""Most values in each group for the exact distribution: beyond it the approximation differs in the third digit of p at most."""


@dataclass(frozen=True, slots=True)
class RankTest:
    """U of the first group, half integers for ties, and the chances of one so low and of one so high where groups do not differ."""

    u: float
    below: float
    above: float


def mann_whitney(first: NDArray[np.float64], second: NDArray[np.float64]) -> RankTest | None:
    """Compare groups that are not empty; None where every value is the same."""
    n, m = first.size, second.size
    _, place, counts = np.unique(np.concatenate((first, second)), return_inverse=True, return_counts=True)
    if counts.size < 2:
        return None
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    u = float(ranks[:n].sum()) - n * (n + 1) / 2.0
    if counts.max() == 1 and max(n, m) <= EXACT:
        return RankTest(u, _at_most(round(u), n, m), _at_most(round(n * m - u), n, m))
    size = n + m
    ties = float((counts.astype(np.float64) ** 3 - counts).sum())
    spread = math.sqrt(n * m / 12.0 * (size + 1.0 - ties / (size * (size - 1.0))))
    middle = n * m / 2.0
    return RankTest(u, float(special.ndtr((u - middle + 0.5) / spread)), float(special.ndtr((middle - u + 0.5) / spread)))


def _at_most(u: int, n: int, m: int) -> float:
    """The chance of a U of at most this: of all ways to rank n among n + m values, those that come to each U are a Gaussian binomial coefficient."""
    ways = [1] + [0] * u
    for i in range(1, n + 1):
        for k in range(u, m + i - 1, -1):
            ways[k] -= ways[k - m - i]
        for k in range(i, u + 1):
            ways[k] += ways[k - i]
    return sum(ways) / math.comb(n + m, n)
