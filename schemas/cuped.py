"""CUPED: differences between units that were there before the experiment are taken out of the comparison.

Each unit's value `y` is read as `y - theta * (x - mean(x))`, where `x` is the same unit's value before its first exposure.
The experiment cannot have moved `x`, so the difference between arms keeps its expectation, and its variance falls by the
square of the correlation of `x` and `y` (Deng, Xu, Kohavi and Walker, WSDM 2013, "Improving the sensitivity of online
controlled experiments by utilizing pre-experiment data"). One `theta = cov(x, y) / var(x)` and one mean, both over the units
of all arms together, serve every comparison of a metric, so that control has one value. Any finite theta is right, an estimated one
changes the result by less than its standard error shrinks: of order 1 / units. Pure and non-blocking.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from schemas.moments import Moments, spread

Unadjusted = Literal["no_pre_exposure_spread", "no_spread", "not_finite"]
"""Why nothing was adjusted: the covariate, or the value, is the same for all units; or the sums are not numbers."""


@dataclass(frozen=True, slots=True)
class CovariateMoments:
    """Sums over units of a value `y`, of its pre-exposure covariate `x`, of their squares and of their product."""

    count: int
    total: float
    covariate: float
    total_sq: float
    covariate_sq: float
    cross: float

    @classmethod
    def of(cls, values: Iterable[float], covariates: Iterable[float]) -> CovariateMoments:
        """The sums of paired values, one pair per unit; raises ValueError when the lengths differ."""
        y, x = np.asarray(list(values), dtype=np.float64), np.asarray(list(covariates), dtype=np.float64)
        if y.shape != x.shape:
            raise ValueError("values and covariates must pair up")
        return cls(int(y.size), float(y.sum()), float(x.sum()), float(y @ y), float(x @ x), float(x @ y))

    @property
    def plain(self) -> Moments:
        """The value without the covariate."""
        return Moments(self.count, self.total, self.total_sq)

    def __add__(self, other: CovariateMoments) -> CovariateMoments:
        """The sums of both sets of units together."""
        if not isinstance(other, CovariateMoments):
            return NotImplemented
        return CovariateMoments(
            self.count + other.count,
            self.total + other.total,
            self.covariate + other.covariate,
            self.total_sq + other.total_sq,
            self.covariate_sq + other.covariate_sq,
            self.cross + other.cross,
        )


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The arms with their values adjusted, to be compared as means."""

    arms: dict[str, Moments]
    theta: float
    """0 when nothing was adjusted."""
    reduction: float
    """Share of the variance that went away, the square of the correlation over all arms."""
    reason: Unadjusted | None = None
    """Why nothing was adjusted."""

    def as_dict(self) -> dict[str, object]:
        """What was done, as values JSON can carry."""
        return {"theta": self.theta, "variance_reduction": self.reduction, "reason": self.reason}


def adjust(arms: Mapping[str, CovariateMoments]) -> Adjusted:
    """Adjust the arms of one metric. Never raises for what the sums contain; then the plain values come back with a reason."""
    joint = sum(arms.values(), CovariateMoments(0, 0.0, 0.0, 0.0, 0.0, 0.0))
    plain = {name: arm.plain for name, arm in arms.items()}
    if not all(map(math.isfinite, (joint.total, joint.covariate, joint.total_sq, joint.covariate_sq, joint.cross))):
        return Adjusted(plain, 0.0, 0.0, "not_finite")
    squares, covariate_squares, products = _centred(joint)
    if not covariate_squares > 0.0:
        return Adjusted(plain, 0.0, 0.0, "no_pre_exposure_spread")
    if not squares > 0.0:
        return Adjusted(plain, 0.0, 0.0, "no_spread")
    theta, centre = products / covariate_squares, joint.covariate / joint.count
    reduction = (products / squares) * theta
    if not (math.isfinite(theta) and math.isfinite(reduction)):
        return Adjusted(plain, 0.0, 0.0, "not_finite")
    return Adjusted({name: _adjusted(arm, theta, centre) for name, arm in arms.items()}, theta, min(reduction, 1.0))


def _centred(arm: CovariateMoments) -> tuple[float, float, float]:
    """Sums of squares of value and covariate, and of their products, around their means; 0 where rounding is all there is."""
    if arm.count < 2:
        return 0.0, 0.0, 0.0
    squares = spread(arm.total_sq, arm.total / arm.count * arm.total, arm.count, arm.total_sq)
    covariate_squares = spread(arm.covariate_sq, arm.covariate / arm.count * arm.covariate, arm.count, arm.covariate_sq)
    return squares, covariate_squares, arm.cross - arm.total / arm.count * arm.covariate


def _adjusted(arm: CovariateMoments, theta: float, centre: float) -> Moments:
    if not arm.count:
        return arm.plain
    squares, covariate_squares, products = _centred(arm)
    mean = arm.total / arm.count - theta * (arm.covariate / arm.count - centre)
    grown = squares + theta * theta * covariate_squares
    left = spread(grown, 2.0 * theta * products, arm.count, arm.total_sq + theta * theta * arm.covariate_sq)
    return Moments(arm.count, 0.0, left, mean)
