"""Comparisons: published and textbook values, agreement with scipy, and absent answers with their reasons."""

from __future__ import annotations

import csv
import gzip
import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schemas.moments import Moments, RatioMoments
from schemas.significance import REASONS, Comparison, Kind, Reason, compare

_COOKIE_CATS = Path(__file__).parents[4] / "shared" / "data" / "cookie_cats.csv.gz"


def _interval(bounds: tuple[float, float] | None) -> tuple[float, float]:
    assert bounds is not None
    return bounds


def _all_there(comparison: Comparison) -> None:
    """Nothing is NaN or infinite, no p-value is 0, and what is absent has a reason."""
    json.dumps(comparison.as_dict(), allow_nan=False)
    for reading in (comparison.fixed, comparison.anytime):
        assert (reading.p_value is None) == (reading.interval is None) == (reading.reason is not None)
        assert (reading.relative_interval is None) == (reading.relative_reason is not None)
        assert reading.p_value is None or 0.0 < reading.p_value <= 1.0


@pytest.mark.skipif(not _COOKIE_CATS.exists(), reason="the Cookie Cats data set is not beside this checkout")
@pytest.mark.parametrize(
    ("column", "successes", "difference", "p", "digits"),
    [("retention_7", (8502, 8279), -0.0082, 0.0016, 4), ("retention_1", (20034, 20119), -0.0059, 0.074, 3)],
)
def test_cookie_cats(column: str, successes: tuple[int, int], difference: float, p: float, digits: int) -> None:
    with gzip.open(_COOKIE_CATS, "rt") as lines:
        rows = [(row["version"], row[column] == "TRUE") for row in csv.DictReader(lines)]
    control, treatment = (Moments.of(value for version, value in rows if version == arm) for arm in ("gate_30", "gate_40"))
    assert (control, treatment) == (Moments.proportion(successes[0], 44_700), Moments.proportion(successes[1], 45_489))
    comparison = compare(control, treatment, "proportion")
    assert comparison.difference == pytest.approx(difference, abs=5e-5)
    assert comparison.fixed.p_value is not None
    assert round(comparison.fixed.p_value, digits) == p
    _all_there(comparison)


def test_means_agree_with_scipy() -> None:
    rng = np.random.default_rng(1)
    for case in range(250):
        sizes = rng.integers(2, 400, size=2)
        x, y = (rng.gamma(rng.uniform(0.3, 5.0), rng.uniform(0.1, 50.0), size=int(n)) for n in sizes)
        alpha = float(rng.choice([0.01, 0.05, 0.2]))
        kind: Kind = "mean" if case % 2 else "count"
        got = compare(Moments.of(x), Moments.of(y), kind, alpha)
        expected: Any = stats.ttest_ind_from_stats(y.mean(), y.std(ddof=1), y.size, x.mean(), x.std(ddof=1), x.size, equal_var=False)
        interval = stats.ttest_ind(y, x, equal_var=False).confidence_interval(1 - alpha)
        assert got.fixed.p_value == pytest.approx(float(expected.pvalue), abs=1e-9)
        assert _interval(got.fixed.interval) == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-9)
        assert got.standard_error == pytest.approx(math.sqrt(stats.sem(x) ** 2 + stats.sem(y) ** 2), rel=1e-9)
        _all_there(got)


def test_proportions_agree_with_the_textbook() -> None:
    rng = np.random.default_rng(2)
    for _ in range(250):
        n_c, n_t = (int(n) for n in rng.integers(20, 100_000, size=2))
        s_c, s_t = int(rng.binomial(n_c, 0.2)), int(rng.binomial(n_t, 0.2))
        got = compare(Moments.proportion(s_c, n_c), Moments.proportion(s_t, n_t), "proportion")
        p_c, p_t, pooled = s_c / n_c, s_t / n_t, (s_c + s_t) / (n_c + n_t)
        z = (p_t - p_c) / math.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_t))
        half = stats.norm.ppf(0.975) * math.sqrt(p_c * (1 - p_c) / n_c + p_t * (1 - p_t) / n_t)
        assert got.fixed.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), abs=1e-9)
        assert _interval(got.fixed.interval) == pytest.approx((p_t - p_c - half, p_t - p_c + half), abs=1e-9)
        _all_there(got)


def test_ratios_follow_the_delta_method() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        arms, value, error = [], [], []
        for _arm in range(2):
            x = rng.poisson(4.0, int(rng.integers(50, 2000))) + 1.0
            y = rng.binomial(x.astype(int), 0.25).astype(float)
            arms.append(RatioMoments.of(y, x))
            value.append(y.mean() / x.mean())
            cov = np.cov(y, x)
            error.append((cov[0, 0] - 2 * value[-1] * cov[0, 1] + value[-1] ** 2 * cov[1, 1]) / x.mean() ** 2 / x.size)
        got = compare(arms[0], arms[1], "ratio")
        z = (value[1] - value[0]) / math.sqrt(sum(error))
        assert got.difference == pytest.approx(value[1] - value[0], abs=1e-12)
        assert got.fixed.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), abs=1e-9)
        relative = math.sqrt(error[1] / value[0] ** 2 + value[1] ** 2 * error[0] / value[0] ** 4) * stats.norm.ppf(0.975)
        assert got.relative_difference is not None
        expected = (got.relative_difference - relative, got.relative_difference + relative)
        assert _interval(got.fixed.relative_interval) == pytest.approx(expected, abs=1e-9)
        _all_there(got)


def test_the_anytime_reading_is_one_story() -> None:
    """p at most alpha, 0 outside the interval and 0 outside the relative interval are the same event."""
    rng, told = np.random.default_rng(4), set()
    for _ in range(300):
        control = Moments.of(rng.exponential(1.0, int(rng.integers(100, 5000))))
        treatment = Moments.of(rng.exponential(rng.uniform(0.8, 1.25), int(rng.integers(100, 5000))))
        got = compare(control, treatment, "mean")
        low, high = _interval(got.anytime.interval)
        assert got.significant == (not low <= 0.0 <= high)
        if got.anytime.relative_interval is not None:
            low, high = got.anytime.relative_interval
            assert got.significant == (not low <= 0.0 <= high)
            assert got.relative_difference is not None
            assert low < got.relative_difference < high
        told.add(got.significant)
        fixed_low, fixed_high = _interval(got.fixed.interval)
        low, high = _interval(got.anytime.interval)
        assert low < fixed_low < fixed_high < high
    assert told == {True, False}


def test_swapping_the_arms_mirrors_the_answer() -> None:
    a, b = Moments.proportion(130, 1000), Moments.proportion(420, 2500)
    one, other = compare(a, b, "proportion"), compare(b, a, "proportion")
    assert one.difference is not None
    assert other.difference == -one.difference
    assert one.fixed.p_value == pytest.approx(other.fixed.p_value or 0, rel=1e-12)
    assert one.anytime.p_value == pytest.approx(other.anytime.p_value or 0, rel=1e-12)


def test_the_anytime_p_value_does_not_depend_on_the_level_it_is_read_at() -> None:
    a, b = Moments.proportion(1300, 10_000), Moments.proportion(1500, 10_000)
    assert compare(a, b, "proportion", 0.05).anytime.p_value == compare(a, b, "proportion", 0.001).anytime.p_value


_EMPTY, _ONE, _SAME = Moments(0, 0.0, 0.0), Moments.of([3.0]), Moments.of([2.0] * 200)
_NO_SESSIONS = RatioMoments.of([0.0] * 200, [0.0] * 200)
_SESSIONS = RatioMoments.of([1.0, 0.0] * 100, [2.0, 1.0] * 100)


@pytest.mark.parametrize(
    ("control", "treatment", "kind", "fixed", "anytime"),
    [
        (_EMPTY, _SAME, "mean", "empty_arm", "empty_arm"),
        (Moments.proportion(2, 9), _EMPTY, "proportion", "empty_arm", "empty_arm"),
        (_ONE, Moments.of([1.0, 2.0]), "mean", "too_few_units", "too_few_units"),
        (Moments.of([1.0, 2.0]), Moments.of([1.0, 3.0]), "count", None, "too_few_units"),
        (_SAME, Moments.of([2.5] * 200), "mean", "no_spread", "no_spread"),
        (Moments.proportion(0, 500), Moments.proportion(0, 700), "proportion", "no_spread", "no_spread"),
        (Moments.proportion(0, 500), Moments.proportion(700, 700), "proportion", "no_spread", "no_spread"),
        (Moments(200, math.nan, 1.0), _SAME, "mean", "not_finite", "not_finite"),
        (_SAME, Moments(200, 1e308, math.inf), "mean", "not_finite", "not_finite"),
        (_SAME, _SAME, "proportion", "not_a_proportion", "not_a_proportion"),
        (_NO_SESSIONS, _SESSIONS, "ratio", "no_denominator", "no_denominator"),
        (_SESSIONS, RatioMoments(200, 1.0, math.nan, 1.0, 1.0, 1.0), "ratio", "not_finite", "not_finite"),
    ],
)
def test_what_cannot_be_said_has_a_reason(
    control: Moments | RatioMoments, treatment: Moments | RatioMoments, kind: Kind, fixed: str | None, anytime: str | None
) -> None:
    got = compare(control, treatment, kind)
    assert (got.fixed.reason, got.anytime.reason) == (fixed, anytime)
    assert not got.significant
    _all_there(got)


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(get_args(Reason))


@pytest.mark.parametrize(("baseline", "reason"), [(0.0, "baseline_not_positive"), (-1.0, "baseline_not_positive"), (0.001, "baseline_uncertain")])
def test_relative_differences_need_a_baseline(baseline: float, reason: str) -> None:
    values = np.random.default_rng(6).normal(0.0, 1.0, 1000)
    values -= values.mean()
    got = compare(Moments.of(values + baseline), Moments.of(values + 2.0), "mean")
    assert got.anytime.relative_reason == reason
    assert got.anytime.p_value is not None
    assert (got.relative_difference is None) == (reason == "baseline_not_positive")
    _all_there(got)


def test_certainty_is_never_claimed() -> None:
    got = compare(Moments.proportion(1, 10**9), Moments.proportion(10**9 - 1, 10**9), "proportion")
    assert got.fixed.p_value == got.anytime.p_value == pytest.approx(2.2e-308, rel=0.02)
    assert got.significant


def test_an_arm_that_never_converts_is_found() -> None:
    assert compare(Moments.proportion(200, 2000), Moments.proportion(0, 2000), "proportion").significant


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.floats(), st.floats()), min_size=2, max_size=2),
    st.sampled_from(["proportion", "mean", "count"]),
    st.floats(1e-12, 1 - 1e-12),
)
def test_no_sums_break_it(arms: list[tuple[int, float, float]], kind: Kind, alpha: float) -> None:
    _all_there(compare(Moments(*arms[0]), Moments(*arms[1]), kind, alpha))


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(), st.floats(), st.floats(), st.floats(), st.floats()), min_size=2, max_size=2))
def test_no_ratio_sums_break_it(arms: list[tuple[int, float, float, float, float, float]]) -> None:
    _all_there(compare(RatioMoments(*arms[0]), RatioMoments(*arms[1]), "ratio"))


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        compare(_SAME, _SAME, "mean", 1.0)
    with pytest.raises(TypeError, match="RatioMoments"):
        compare(_SAME, _SAME, "ratio")
    with pytest.raises(TypeError, match="Moments"):
        compare(_SESSIONS, _SESSIONS, "mean")


def test_as_dict_carries_both_readings() -> None:
    got = compare(Moments.proportion(20, 200), Moments.proportion(30, 200), "proportion").as_dict()
    assert got["control_value"] == 0.1
    assert got["significant"] is False
    assert isinstance(got["fixed"], dict)
    assert set(got["fixed"]) == {"p_value", "interval", "relative_interval", "reason", "relative_reason"}
