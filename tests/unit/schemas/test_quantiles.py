"""Quantiles: estimates and fixed readings against numpy and the binomial, and the promises of the always-valid reading by simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schemas.quantiles import LEVELS, OrderStatistics, Z, compare_quantiles, quantile_interval, rank
from schemas.significance import Comparison

RUNS, LOOKS, BLOCK = 120, 20, 120


def _all_there(comparison: Comparison) -> None:
    json.dumps(comparison.as_dict(), allow_nan=False)
    for reading in (comparison.fixed, comparison.anytime):
        assert (reading.p_value is None) == (reading.interval is None) == (reading.reason is not None)
        assert (reading.relative_interval is None) == (reading.relative_reason is not None)
        assert reading.p_value is None or 0.0 < reading.p_value <= 1.0


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9, 0.99])
def test_the_estimate_is_the_quantile(quantile: float) -> None:
    rng = np.random.default_rng(1)
    for count in (1, 2, 7, 100, 1234):
        values = rng.lognormal(0.0, 1.0, count)
        arm = OrderStatistics.of(values, quantile)
        assert arm.value == np.quantile(values, quantile, method="inverted_cdf")
        assert len(arm.ranks) <= len(LEVELS)


def test_the_standard_error_is_that_of_repeated_samples() -> None:
    rng = np.random.default_rng(2)
    samples = rng.exponential(1.0, (400, 2_000))
    estimates = [OrderStatistics.of(each, 0.9) for each in samples]
    spread = np.std([arm.value for arm in estimates if arm.value is not None])
    claimed = np.mean([arm.standard_error for arm in estimates if arm.standard_error is not None])
    assert claimed == pytest.approx(spread, rel=0.1)
    assert spread == pytest.approx(math.sqrt(0.9 * 0.1 / 2_000) / 0.1, rel=0.1)  # 1 / density, asymptotically


def test_the_fixed_reading_is_normal() -> None:
    rng = np.random.default_rng(3)
    for _ in range(100):
        a, b = (OrderStatistics.of(rng.lognormal(1.0, 0.7, int(rng.integers(100, 2000))), 0.5) for _ in range(2))
        got = compare_quantiles(a, b, 0.1)
        errors = [(arm.values[arm.ranks.index(rank(arm.count, 0.5, Z))] - arm.values[arm.ranks.index(rank(arm.count, 0.5, -Z))]) / (2 * Z) for arm in (a, b)]
        assert got.difference is not None and got.standard_error == pytest.approx(math.hypot(*errors))
        assert got.fixed.p_value == pytest.approx(2 * stats.norm.sf(abs(got.difference) / math.hypot(*errors)), rel=1e-9)
        half = stats.norm.ppf(0.95) * math.hypot(*errors)
        assert got.fixed.interval == pytest.approx((got.difference - half, got.difference + half))
        _all_there(got)


def test_the_anytime_reading_is_one_story() -> None:
    rng, told = np.random.default_rng(4), set()
    for _ in range(200):
        count = int(rng.integers(100, 4000))
        a, b = rng.lognormal(1.0, 0.5, count), rng.lognormal(1.0 + rng.uniform(-0.3, 0.3), 0.5, count)
        got = compare_quantiles(OrderStatistics.of(a, 0.5), OrderStatistics.of(b, 0.5))
        assert got.anytime.interval is not None and got.difference is not None
        low, high = got.anytime.interval
        assert low < got.difference < high
        assert got.significant == (not low <= 0.0 <= high)
        if got.anytime.relative_interval is not None:
            low, high = got.anytime.relative_interval
            assert got.significant == (not low <= 0.0 <= high)
        told.add(got.significant)
        _all_there(got)
    assert told == {True, False}


def test_swapping_the_arms_mirrors_the_answer() -> None:
    rng = np.random.default_rng(5)
    a, b = OrderStatistics.of(rng.normal(0.0, 1.0, 900), 0.7), OrderStatistics.of(rng.normal(0.4, 1.0, 500), 0.7)
    one, other = compare_quantiles(a, b), compare_quantiles(b, a)
    assert one.anytime.interval is not None and other.anytime.interval is not None
    assert one.anytime.p_value == pytest.approx(other.anytime.p_value or 0)
    assert one.anytime.interval == pytest.approx((-other.anytime.interval[1], -other.anytime.interval[0]))


_SPREAD = list(np.random.default_rng(6).normal(0.0, 1.0, 400))


@pytest.mark.parametrize(
    ("control", "treatment", "quantile", "fixed", "anytime"),
    [
        ([], _SPREAD, 0.5, "empty_arm", "empty_arm"),
        (_SPREAD, [], 0.5, "empty_arm", "empty_arm"),
        (_SPREAD[:20], _SPREAD, 0.5, None, "too_few_units"),
        (_SPREAD[:3], _SPREAD, 0.5, "too_few_units", "too_few_units"),
        (_SPREAD, _SPREAD, 0.999, "too_few_units", "too_few_units"),
        ([0.0] * 400, [0.0] * 500, 0.5, "tied_quantile", "tied_quantile"),
        ([*_SPREAD, *[math.inf] * 800], _SPREAD, 0.5, "not_finite", "not_finite"),
    ],
)
def test_what_cannot_be_said_has_a_reason(control: list[float], treatment: list[float], quantile: float, fixed: str | None, anytime: str | None) -> None:
    got = compare_quantiles(OrderStatistics.of(control, quantile), OrderStatistics.of(treatment, quantile))
    assert (got.fixed.reason, got.anytime.reason) == (fixed, anytime)
    assert not got.significant
    _all_there(got)


@pytest.mark.parametrize(("shift", "fixed", "anytime"), [(-5.0, "baseline_not_positive", "baseline_not_positive"), (0.05, None, "baseline_uncertain")])
def test_relative_differences_need_a_baseline(shift: float, fixed: str | None, anytime: str) -> None:
    values = np.array(_SPREAD) - float(np.quantile(_SPREAD, 0.5, method="inverted_cdf"))
    got = compare_quantiles(OrderStatistics.of(values + shift, 0.5), OrderStatistics.of(values + 1.0, 0.5))
    assert (got.fixed.relative_reason, got.anytime.relative_reason) == (fixed, anytime)
    assert got.anytime.interval is not None
    _all_there(got)


def test_misuse_is_refused() -> None:
    arm = OrderStatistics.of(_SPREAD, 0.5)
    with pytest.raises(ValueError, match="alpha"):
        compare_quantiles(arm, arm, 0.0)
    with pytest.raises(ValueError, match="different quantiles"):
        compare_quantiles(arm, OrderStatistics.of(_SPREAD, 0.6))


@given(
    st.lists(st.lists(st.floats(), max_size=120), min_size=2, max_size=2),
    st.floats(0.001, 0.999),
    st.floats(1e-9, 1 - 1e-9),
    st.integers(1, 3),
)
def test_no_values_break_it(arms: list[list[float]], quantile: float, alpha: float, times: int) -> None:
    _all_there(compare_quantiles(OrderStatistics.of(arms[0] * times, quantile), OrderStatistics.of(arms[1] * times, quantile), alpha))


def _looked_at(quantile: float, factor: float, seed: int, *, whole: bool = False) -> tuple[float, float, float]:
    """Of runs read after every block: significant at any look, true difference ever missed, true quantile of control ever missed."""
    rng = np.random.default_rng(seed)
    truth = float(np.exp(stats.norm.ppf(quantile)))
    if whole:
        truth = math.floor(4 * truth)
    hits = missed = arm_missed = 0
    for _ in range(RUNS):
        x = rng.lognormal(0.0, 1.0, LOOKS * BLOCK)
        y = factor * rng.lognormal(0.0, 1.0, LOOKS * BLOCK)
        if whole:
            x, y = np.floor(4 * x), np.floor(4 * y)
        hit = miss = arm_miss = False
        for units in range(BLOCK, LOOKS * BLOCK + 1, BLOCK):
            a, b = OrderStatistics.of(x[:units], quantile), OrderStatistics.of(y[:units], quantile)
            got = compare_quantiles(a, b)
            hit = hit or got.significant
            if got.anytime.interval is not None:
                miss = miss or not got.anytime.interval[0] <= (factor - 1.0) * truth <= got.anytime.interval[1]
            bounds = quantile_interval(a, 0.05)
            arm_miss = arm_miss or (bounds is not None and not bounds[0] <= truth <= bounds[1])
        hits, missed, arm_missed = hits + hit, missed + miss, arm_missed + arm_miss
    return hits / RUNS, missed / RUNS, arm_missed / RUNS


@pytest.mark.parametrize(("quantile", "whole"), [(0.5, False), (0.9, False), (0.5, True)], ids=["median", "p90", "tied values"])
def test_looking_all_the_time_keeps_the_error_rate(quantile: float, whole: bool) -> None:
    hits, missed, arm_missed = _looked_at(quantile, 1.0, 20, whole=whole)
    assert hits <= 0.05
    assert missed <= 0.05
    assert arm_missed <= 0.05


def test_real_effects_are_found_and_covered_at_every_look() -> None:
    hits, missed, _ = _looked_at(0.5, 1.25, 21)
    assert hits >= 0.8
    assert missed <= 0.05


def test_fixed_intervals_cover() -> None:
    rng, runs, covered = np.random.default_rng(22), 1_000, 0
    for _ in range(runs):
        got = compare_quantiles(OrderStatistics.of(rng.exponential(1.0, 1_000), 0.75), OrderStatistics.of(rng.exponential(1.5, 1_000), 0.75))
        assert got.fixed.interval is not None
        covered += got.fixed.interval[0] <= 0.5 * math.log(4.0) <= got.fixed.interval[1]
    assert covered / runs >= 0.935  # 0.95 less two standard errors of the simulation
