"""Bounds of one arm: scipy for the fixed ones, simulation for those that hold at every look, and reasons for what is absent."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schemas.arm_interval import ArmInterval, mean_interval, order_interval
from schemas.moments import Moments, RatioMoments
from schemas.quantiles import OrderStatistics
from schemas.significance import Kind


def _all_there(interval: ArmInterval) -> None:
    json.dumps(interval.as_dict(), allow_nan=False)
    assert (interval.fixed is None) == (interval.fixed_reason is not None)
    assert (interval.anytime is None) == (interval.anytime_reason is not None)


def test_fixed_bounds_agree_with_scipy() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        values = rng.gamma(1.0, 4.0, int(rng.integers(2, 500)))
        got = mean_interval(Moments.of(values), "mean", 0.1)
        assert got.fixed == pytest.approx(stats.t.interval(0.9, values.size - 1, values.mean(), stats.sem(values)))
        hits = int(rng.integers(0, values.size + 1))
        wilson = stats.binomtest(hits, values.size).proportion_ci(0.9, method="wilson")
        assert mean_interval(Moments.proportion(hits, values.size), "proportion", 0.1).fixed == pytest.approx((wilson.low, wilson.high), abs=1e-12)
        _all_there(got)


def test_anytime_bounds_hold_at_every_look() -> None:
    rng, runs, missed = np.random.default_rng(2), 400, 0
    for _ in range(runs):
        values = rng.lognormal(0.0, 1.0, 3_000)
        looks = [mean_interval(Moments.of(values[:units]), "mean", 0.05).anytime for units in range(100, 3_001, 100)]
        missed += any(bounds is None or not bounds[0] <= np.exp(0.5) <= bounds[1] for bounds in looks)
    assert missed / runs <= 0.06


def test_bounds_of_a_proportion_stay_proportions() -> None:
    got = mean_interval(Moments.proportion(1, 150), "proportion", 0.05)
    assert got.fixed is not None and got.anytime is not None
    assert got.anytime[0] == 0.0 and 0.0 <= got.fixed[0] < got.fixed[1] < got.anytime[1] <= 1.0


@pytest.mark.parametrize(
    ("arm", "kind", "fixed", "anytime"),
    [
        (Moments(0, 0.0, 0.0), "mean", "empty_arm", "empty_arm"),
        (Moments.of([1.0]), "mean", "too_few_units", "too_few_units"),
        (Moments.of([1.0, 2.0]), "mean", None, "too_few_units"),
        (Moments.of([2.0] * 200), "mean", "no_spread", "no_spread"),
        (Moments.proportion(0, 200), "proportion", None, "no_spread"),
        (Moments(3, 9.0, 9.0), "proportion", "not_a_proportion", "not_a_proportion"),
        (RatioMoments.of([1.0, 1.0], [0.0, 0.0]), "ratio", "no_denominator", "no_denominator"),
        (Moments(3, float("inf"), 1.0), "mean", "not_finite", "not_finite"),
    ],
)
def test_what_is_absent_has_a_reason(arm: Moments | RatioMoments, kind: Kind, fixed: str | None, anytime: str | None) -> None:
    got = mean_interval(arm, kind, 0.05)
    assert (got.fixed_reason, got.anytime_reason) == (fixed, anytime)
    _all_there(got)


def test_quantiles_have_bounds_too() -> None:
    values = np.random.default_rng(3).normal(0.0, 1.0, 2_000)
    got = order_interval(OrderStatistics.of(values, 0.5), 0.05)
    assert got.fixed is not None and got.anytime is not None
    assert got.anytime[0] < got.fixed[0] < 0.05 and got.anytime[1] > got.fixed[1] > -0.05
    for few, reason in ((0, "empty_arm"), (3, "too_few_units")):
        got = order_interval(OrderStatistics.of(values[:few], 0.5), 0.05)
        assert (got.fixed_reason, got.anytime_reason) == (reason, reason)
        _all_there(got)


@given(st.integers(0, 10**9), st.floats(), st.floats(), st.sampled_from(["proportion", "mean", "count"]), st.floats(1e-9, 1 - 1e-9))
def test_no_sums_break_it(count: int, total: float, total_sq: float, kind: Kind, alpha: float) -> None:
    _all_there(mean_interval(Moments(count, total, total_sq), kind, alpha))
