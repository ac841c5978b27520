"""Mergeable sums from which means, ratios and their variances are computed.

The unit is the randomised one (a visitor, a player): every sum runs over per-unit values, never over events, so the
units may be treated as independent. Merging is commutative and associative up to float rounding, which lets windows,
shards and workers be added in any order. Nothing here blocks or does I/O.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


def spread(squares: float, explained: float, count: int, scale: float) -> float:
    """`squares - explained`, or 0.0 when the difference cannot be told from the rounding of the sums.

    A sum of `count` floats carries a relative error of about `sqrt(count)` units in the last place; a difference below
    four times that of the largest term (`scale`) is noise, and reporting it would turn a constant into a tiny variance
    and a tiny variance into a tiny p-value.
    """
    left = squares - explained
    noise = 4.0 * sys.float_info.epsilon * math.sqrt(count) * scale
    return 0.0 if left <= noise else left


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squares of one value per unit.

    `total` and `total_sq` are sums of `x - shift`. With the default shift of 0 they are the plain sums a SQL `sum(x)` and
    `sum(x * x)` give; for values whose mean is large against their spread (timestamps, balances) sum around a reference
    value instead and say so in `shift`: about twelve digits of `mean / standard deviation` are lost otherwise, and a spread
    below that resolution is reported as 0.
    """

    count: int
    total: float
    total_sq: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count cannot be negative")

    @classmethod
    def of(cls, values: Iterable[float], shift: float = 0.0) -> Moments:
        """The moments of `values`, one per unit, summed around `shift`."""
        centred = np.asarray(list(values), dtype=np.float64) - shift
        return cls(int(centred.size), float(centred.sum()), float(np.square(centred).sum()), shift)

    @classmethod
    def proportion(cls, successes: int, count: int) -> Moments:
        """The moments of `count` units of which `successes` have the value 1 and the others 0."""
        if not 0 <= successes <= count:
            raise ValueError("successes must lie between 0 and count")
        return cls(count, float(successes), float(successes))

    @property
    def mean(self) -> float | None:
        """The mean per unit; None without units."""
        return self.shift + self.total / self.count if self.count else None

    @property
    def variance(self) -> float | None:
        """The unbiased variance of one unit's value, never below 0; None with fewer than two units."""
        if self.count < 2:
            return None
        return spread(self.total_sq, self.total / self.count * self.total, self.count, self.total_sq) / (self.count - 1)

    def around(self, shift: float) -> Moments:
        """The same data summed around another reference value."""
        if shift == self.shift:
            return self
        move = self.shift - shift
        total_sq = self.total_sq + 2.0 * move * self.total + self.count * move * move
        return Moments(self.count, self.total + self.count * move, total_sq, shift)

    def __add__(self, other: Moments) -> Moments:
        """The moments of both sets of units together.

        Sums around different references meet at the larger reference: the choice must not depend on the order of the
        operands, and references are chosen near the data, so either is better than 0. An empty side imposes nothing.
        """
        if not isinstance(other, Moments):
            return NotImplemented
        if not self.count or not other.count:
            return max(self, other, key=lambda side: (side.count, side.shift))
        shift = max(self.shift, other.shift)
        left, right = self.around(shift), other.around(shift)
        return Moments(left.count + right.count, left.total + right.total, left.total_sq + right.total_sq, shift)


@dataclass(frozen=True, slots=True)
class RatioMoments:
    """Sums of a numerator `y` and a denominator `x` per unit, for metrics such as clicks per session.

    `cross` is the sum of `x * y`. No reference value is needed: the residuals `y - ratio * x` sum to 0 by construction, so
    their squares are taken from the plain sums without subtracting a mean.
    """

    count: int
    numerator: float
    denominator: float
    numerator_sq: float
    denominator_sq: float
    cross: float

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count cannot be negative")

    @classmethod
    def of(cls, numerators: Iterable[float], denominators: Iterable[float]) -> RatioMoments:
        """The moments of paired values, one pair per unit; raises ValueError when the lengths differ."""
        y, x = np.asarray(list(numerators), dtype=np.float64), np.asarray(list(denominators), dtype=np.float64)
        if y.shape != x.shape:
            raise ValueError("numerators and denominators must pair up")
        return cls(int(y.size), float(y.sum()), float(x.sum()), float(y @ y), float(x @ x), float(x @ y))

    @property
    def mean(self) -> float | None:
        """The ratio of the sums; None without a positive denominator."""
        return self.numerator / self.denominator if self.denominator > 0 else None

    @property
    def variance(self) -> float | None:
        """The delta-method variance of one unit's influence on the ratio: variance of the ratio = this / count.

        That is the unbiased variance of `(y - ratio * x) / mean(x)`. None with fewer than two units or without a
        positive denominator; never below 0.
        """
        ratio = self.mean
        scale = self.denominator / self.count if self.count else 0.0
        if ratio is None or self.count < 2 or scale <= 0:
            return None
        squares = self.numerator_sq + ratio * ratio * self.denominator_sq
        residual = spread(squares, 2.0 * ratio * self.cross, self.count, squares) / (self.count - 1)
        return residual / scale / scale

    def __add__(self, other: RatioMoments) -> RatioMoments:
        """The moments of both sets of units together."""
        if not isinstance(other, RatioMoments):
            return NotImplemented
        return RatioMoments(
            self.count + other.count,
            self.numerator + other.numerator,
            self.denominator + other.denominator,
            self.numerator_sq + other.numerator_sq,
            self.denominator_sq + other.denominator_sq,
            self.cross + other.cross,
        )
