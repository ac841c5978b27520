"""CUPED: the adjusted arms against numpy, what cannot be adjusted, and the error rate and gain of looking at adjusted results all the time."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cuped import CovariateMoments, adjust
from schemas.moments import Moments
from schemas.significance import compare

RUNS, LOOKS, BLOCK = 300, 40, 60
NOTHING = CovariateMoments(0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_the_adjusted_arms_are_those_of_the_adjusted_values() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        sizes = [int(n) for n in rng.integers(3, 400, size=3)]
        x = [rng.gamma(1.0, 5.0, n) for n in sizes]
        y = [2.0 * each + rng.normal(0.0, 3.0, each.size) + shift for each, shift in zip(x, (0.0, 0.5, -0.5), strict=True)]
        every_x, every_y = np.concatenate(x), np.concatenate(y)
        theta = np.cov(every_y, every_x)[0, 1] / every_x.var(ddof=1)
        got = adjust({str(arm): CovariateMoments.of(y[arm], x[arm]) for arm in range(3)})
        assert got.theta == pytest.approx(theta, rel=1e-9)
        assert got.reduction == pytest.approx(np.corrcoef(every_x, every_y)[0, 1] ** 2, rel=1e-9)
        for arm in range(3):
            values = y[arm] - theta * (x[arm] - every_x.mean())
            adjusted = got.arms[str(arm)]
            assert adjusted.mean == pytest.approx(values.mean(), rel=1e-9)
            assert adjusted.variance == pytest.approx(values.var(ddof=1), rel=1e-7)


def test_sums_merge_in_any_order() -> None:
    rng = np.random.default_rng(2)
    parts = [CovariateMoments.of(rng.random(10), rng.random(10)) for _ in range(3)]
    left, right = parts[0] + (parts[1] + parts[2]), (parts[2] + parts[1]) + parts[0]
    assert (left.count, left.total, left.cross) == pytest.approx((right.count, right.total, right.cross))
    with pytest.raises(ValueError, match="pair"):
        CovariateMoments.of([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (CovariateMoments.of([1.0, 2.0, 3.0], [0.0] * 3), CovariateMoments.of([1.0, 5.0], [0.0] * 2), "no_pre_exposure_spread"),
        (CovariateMoments.of([2.0] * 3, [1.0, 2.0, 3.0]), CovariateMoments.of([2.0] * 2, [4.0, 5.0]), "no_spread"),
        (CovariateMoments(3, math.nan, 1.0, 1.0, 1.0, 1.0), CovariateMoments.of([1.0], [2.0]), "not_finite"),
        (NOTHING, NOTHING, "no_pre_exposure_spread"),
    ],
)
def test_what_cannot_be_adjusted_stays_as_it_is(a: CovariateMoments, b: CovariateMoments, reason: str) -> None:
    got = adjust({"a": a, "b": b})
    assert (got.theta, got.reduction, got.reason) == (0.0, 0.0, reason)
    assert got.arms["b"] == b.plain


def test_an_empty_arm_stays_empty() -> None:
    got = adjust({"a": CovariateMoments.of([1.0, 2.0, 4.0], [1.0, 2.0, 3.0]), "b": NOTHING})
    assert got.reason is None
    assert got.arms["b"] == Moments(0, 0.0, 0.0)


def test_a_value_that_the_covariate_explains_wholly_has_no_spread_left() -> None:
    x = np.arange(100.0)
    got = adjust({"a": CovariateMoments.of(3.0 * x[:50], x[:50]), "b": CovariateMoments.of(3.0 * x[50:], x[50:])})
    assert compare(got.arms["a"], got.arms["b"], "mean").fixed.reason == "no_spread"


@given(st.lists(st.tuples(st.integers(0, 10**9), *[st.floats()] * 5), min_size=2, max_size=2))
def test_no_sums_break_it(arms: list[tuple[int, float, float, float, float, float]]) -> None:
    got = adjust({str(name): CovariateMoments(*arm) for name, arm in enumerate(arms)})
    json.dumps(got.as_dict(), allow_nan=False)
    json.dumps(compare(got.arms["0"], got.arms["1"], "mean").as_dict(), allow_nan=False)


def _looked_at(lift: float, seed: int) -> tuple[float, float, float, float]:
    """Of runs that are read after every block: significant at any look with and without the covariate, truth ever missed, mean error at the end."""
    rng = np.random.default_rng(seed)
    hits = plain_hits = missed = 0
    narrower = 0.0
    for _ in range(RUNS):
        arms = [NOTHING, NOTHING]
        hit = plain_hit = miss = False
        for _look in range(LOOKS):
            for arm in range(2):
                x = rng.lognormal(0.0, 0.8, BLOCK)
                y = x * rng.uniform(0.6, 1.4, BLOCK) + rng.exponential(0.5, BLOCK) + lift * arm
                arms[arm] = arms[arm] + CovariateMoments.of(y, x)
            adjusted = adjust({"a": arms[0], "b": arms[1]}).arms
            got, plain = compare(adjusted["a"], adjusted["b"], "mean"), compare(arms[0].plain, arms[1].plain, "mean")
            hit, plain_hit = hit or got.significant, plain_hit or plain.significant
            if got.anytime.interval is not None:
                miss = miss or not got.anytime.interval[0] <= lift <= got.anytime.interval[1]
        hits, plain_hits, missed = hits + hit, plain_hits + plain_hit, missed + miss
        assert got.standard_error is not None and plain.standard_error is not None
        narrower += got.standard_error / plain.standard_error / RUNS
    return hits / RUNS, plain_hits / RUNS, missed / RUNS, narrower


def test_looking_all_the_time_keeps_the_error_rate() -> None:
    hits, _, missed, _ = _looked_at(0.0, 10)
    assert hits <= 0.05
    assert missed <= 0.05


def test_a_small_effect_is_found_that_the_plain_values_hide() -> None:
    hits, plain_hits, missed, narrower = _looked_at(0.12, 11)
    assert hits >= 0.8
    assert plain_hits <= 0.6
    assert missed <= 0.05
    assert narrower <= 0.7
