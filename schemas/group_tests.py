"""Statistical tests of values in groups: what a test came to, or why it cannot be made.

Differences are the first group minus the second, and `greater` asks whether the first is greater. Intervals have two sides whatever is asked. Tests are right
for one look at the end. Since people look more often, `always_valid` stands beside them where the platform has such a reading of the mean difference: it
has two sides, and keeps its error rate over all looks together (`schemas.confidence_sequence`, `schemas.paired`).

Values are taken relative to one of them before anything is summed, so that a small spread around a large value is not lost. p-values are never 0. Pure;
up to a second for a million values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from schemas.confidence_sequence import SMALLEST_P
from schemas.effect_size import EffectSize, cohens_h, difference_of_shares, eta_squared, rank_biserial, standardised
from schemas.moments import Moments
from schemas.paired import REASONS as PAIRED_REASONS
from schemas.paired import compare_pairs
from schemas.rank_test import mann_whitney
from schemas.significance import REASONS, Interval, compare

TestType = Literal["two_sample_t_test", "paired_t_test", "mann_whitney_u", "one_way_anova", "two_proportion_z_test"]
Alternative = Literal["two_sided", "greater", "less"]

LEAST_VALUES: Final = 2
"""In every group, or pairs."""
_MOST: Final = 1e150
"""Squares of larger values are no longer numbers."""
_LEAST: Final = 1e-15
"""Smallest spread, in differences of means, that is told from rounding."""
_NO_SPREAD: Final = "every value is the same within its group, so there is no spread to judge a difference by"


class Undetermined(ValueError):
    """A test that these values do not allow; the message says why."""


@dataclass(frozen=True)
class Group:
    """Values of a group, which are finite; those of a paired test are in the order of the pairs."""

    name: str
    values: NDArray[np.float64]

    @property
    def count(self) -> int:
        return int(self.values.size)

    @property
    def base(self) -> float:
        return float(self.values[0])

    @cached_property
    def offset(self) -> float:
        """Of the mean from the base."""
        return float((self.values - self.base).mean())

    @property
    def mean(self) -> float:
        return self.base + self.offset

    @cached_property
    def squares(self) -> float:
        """Sum of squared differences from the mean; exactly 0 where all values are the same."""
        return float(np.square(self.values - self.base - self.offset).sum())

    @property
    def variance(self) -> float:
        """Unbiased; there must be two values."""
        return self.squares / (self.count - 1)

    @property
    def deviation(self) -> float:
        return math.sqrt(self.variance)


@dataclass(frozen=True)
class Wanted:
    """How to test."""

    alpha: float = 0.05
    alternative: Alternative = "two_sided"
    equal_variance: bool = False
    """Student's t in place of Welch's."""
    hedges: bool = False
    """Hedges' g in place of Cohen's d."""


@dataclass(frozen=True)
class AlwaysValid:
    """The reading that may be looked at repeatedly; what is absent is so for a reason."""

    p_value: float | None
    interval: Interval | None
    """Of the mean difference."""
    reason: str | None


@dataclass(frozen=True)
class Outcome:
    """What a test came to."""

    statistic: float
    degrees_of_freedom: float | tuple[int, int] | None
    p_value: float
    effect: EffectSize
    mean_difference: float | None = None
    """Of shares for a test of proportions; None for ranks and for several groups."""
    mean_difference_interval: Interval | None = None
    always_valid: AlwaysValid | None = None


def run(test: TestType, groups: Sequence[Group], wanted: Wanted) -> Outcome:
    """Two groups, or for `one_way_anova` at least two, which has the one alternative `two_sided`. Raises Undetermined."""
    for group in groups:
        if group.count < LEAST_VALUES:
            what = "pair" if test == "paired_t_test" else "value"
            raise Undetermined(f"group {group.name} has {group.count} {what}{'' if group.count == 1 else 's'}; at least {LEAST_VALUES} are needed")
        if float(np.abs(group.values).max()) > _MOST:
            raise Undetermined(f"group {group.name} has a value beyond {_MOST:g}, which is too large to be compared")
    return _TESTS[test](groups, wanted)


def _t_test(groups: Sequence[Group], wanted: Wanted) -> Outcome:
    a, b = groups
    difference = _difference(a, b)
    freedom = a.count + b.count - 2.0
    pooled = (a.squares + b.squares) / freedom
    squared = (pooled / a.count, pooled / b.count) if wanted.equal_variance else (a.variance / a.count, b.variance / b.count)
    error = math.sqrt(sum(squared))
    if error <= _LEAST * abs(difference):
        raise Undetermined(_NO_SPREAD)
    unit, of_deviation = error / math.sqrt(pooled), freedom
    if not wanted.equal_variance:
        # From shares, so that tiny variances do not vanish when they are squared.
        share = squared[0] / sum(squared)
        freedom = 1.0 / (share * share / (a.count - 1) + (1.0 - share) * (1.0 - share) / (b.count - 1))
    t = difference / error
    half = -float(special.stdtrit(freedom, wanted.alpha / 2.0)) * error
    effect = standardised(t, freedom, unit, wanted.alpha, unbiased_by=of_deviation if wanted.hedges else None)
    moments = [Moments(each.count, 0.0, each.squares, _difference(each, b)) for each in (a, b)]
    anytime = compare(moments[1], moments[0], "mean", wanted.alpha).anytime
    always = AlwaysValid(anytime.p_value, anytime.interval, anytime.reason and REASONS[anytime.reason])
    return Outcome(t, freedom, _t_p(t, freedom, wanted), effect, difference, (difference - half, difference + half), always)


def _paired_t_test(groups: Sequence[Group], wanted: Wanted) -> Outcome:
    a, b = groups
    found = compare_pairs(a.values - b.values, wanted.alpha)  # type: ignore[arg-type]
    difference, error = found.difference, found.standard_error
    if difference is None or not error:
        raise Undetermined(PAIRED_REASONS["no_spread"])
    freedom = found.pairs - 1.0
    if wanted.hedges and freedom < 2.0:
        raise Undetermined("hedges_g needs at least 3 pairs; ask for cohens_d")
    t = difference / error
    effect = standardised(t, freedom, 1.0 / math.sqrt(found.pairs), wanted.alpha, unbiased_by=freedom if wanted.hedges else None)
    anytime = found.anytime
    always = AlwaysValid(anytime.p_value, anytime.interval, anytime.reason and PAIRED_REASONS[anytime.reason])
    return Outcome(t, freedom, _t_p(t, freedom, wanted), effect, difference, found.fixed.interval, always)


def _mann_whitney_u(groups: Sequence[Group], wanted: Wanted) -> Outcome:
    a, b = groups
    found = mann_whitney(a.values, b.values)
    if found is None:
        raise Undetermined("every value of both groups is the same, so no group ranks higher")
    return Outcome(found.u, None, _p(found.below, found.above, wanted), rank_biserial(found.u, a.count, b.count, wanted.alpha))


def _one_way_anova(groups: Sequence[Group], wanted: Wanted) -> Outcome:
    if wanted.alternative != "two_sided":
        raise Undetermined("one_way_anova has no direction; its alternative is two_sided")
    count = sum(group.count for group in groups)
    offsets = [_difference(group, groups[0]) for group in groups]
    middle = sum(group.count * offset for group, offset in zip(groups, offsets, strict=True)) / count
    between = sum(group.count * (offset - middle) ** 2 for group, offset in zip(groups, offsets, strict=True))
    within = sum(group.squares for group in groups)
    if within <= _LEAST**2 * between:
        raise Undetermined(_NO_SPREAD)
    freedom = (len(groups) - 1, count - len(groups))
    f = between / freedom[0] / (within / freedom[1])
    p = max(float(special.fdtrc(*freedom, f)), SMALLEST_P)
    return Outcome(f, freedom, p, eta_squared(f, *freedom, wanted.alpha))


def _two_proportion_z_test(groups: Sequence[Group], wanted: Wanted) -> Outcome:
    for group in groups:
        if not np.isin(group.values, (0.0, 1.0)).all():
            raise Undetermined(f"group {group.name} has values other than 0 and 1, so they are no shares; compare means with two_sample_t_test")
    a, b = groups
    hits = [int(group.values.sum()) for group in groups]
    pooled = sum(hits) / (a.count + b.count)
    if pooled in (0.0, 1.0):
        raise Undetermined(f"every value of both groups is {pooled:g}, so there is no spread to judge a difference by")
    shares = hits[0] / a.count, hits[1] / b.count
    difference = shares[0] - shares[1]
    z = difference / math.sqrt(pooled * (1.0 - pooled) * (1.0 / a.count + 1.0 / b.count))
    anytime = compare(Moments.proportion(hits[1], b.count), Moments.proportion(hits[0], a.count), "proportion", wanted.alpha).anytime
    always = AlwaysValid(anytime.p_value, anytime.interval, anytime.reason and REASONS[anytime.reason])
    p = _p(float(special.ndtr(z)), float(special.ndtr(-z)), wanted)
    of = (shares[0], a.count, shares[1], b.count, wanted.alpha)
    return Outcome(z, None, p, cohens_h(*of), difference, difference_of_shares(*of), always)


_TESTS: Final[Mapping[TestType, Callable[[Sequence[Group], Wanted], Outcome]]] = {
    "two_sample_t_test": _t_test,
    "paired_t_test": _paired_t_test,
    "mann_whitney_u": _mann_whitney_u,
    "one_way_anova": _one_way_anova,
    "two_proportion_z_test": _two_proportion_z_test,
}


def _difference(a: Group, b: Group) -> float:
    """Of the means."""
    return (a.base - b.base) + (a.offset - b.offset)


def _t_p(t: float, freedom: float, wanted: Wanted) -> float:
    return _p(float(special.stdtr(freedom, t)), float(special.stdtr(freedom, -t)), wanted)


def _p(below: float, above: float, wanted: Wanted) -> float:
    """Of the chances of a statistic so low and so high."""
    p = {"two_sided": 2.0 * min(below, above), "greater": above, "less": below}[wanted.alternative]
    return min(1.0, max(p, SMALLEST_P))
