"""Moments merge in any order and agree with numpy on the pooled data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.moments import Moments, RatioMoments

_VALUES = st.lists(st.floats(min_value=-1e6, max_value=1e6, allow_nan=False), max_size=30)
_PAIRS = st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(0, 1e4)), max_size=30)
_SHIFTS = st.sampled_from([0.0, 1.5, 100.0])


def _close(left: Moments, right: Moments) -> None:
    assert left.count == right.count
    a, b = left.around(0.0), right.around(0.0)
    magnitude = 1.0 + max(a.total_sq, b.total_sq)
    assert a.total == pytest.approx(b.total, rel=1e-9, abs=1e-9 * math.sqrt(magnitude * (1 + a.count)))
    assert a.total_sq == pytest.approx(b.total_sq, rel=1e-9, abs=1e-6)


@given(_VALUES, _VALUES, _VALUES, _SHIFTS, _SHIFTS)
def test_merging_is_associative_and_commutative(x: list[float], y: list[float], z: list[float], one: float, two: float) -> None:
    a, b, c = Moments.of(x, one), Moments.of(y, two), Moments.of(z)
    assert a + b == b + a
    _close((a + b) + c, a + (b + c))
    _close(a + b + c, Moments.of(x + y + z))


@given(_VALUES, _VALUES, _SHIFTS)
def test_agrees_with_numpy_on_the_pooled_data(x: list[float], y: list[float], shift: float) -> None:
    merged, pooled = Moments.of(x, shift) + Moments.of(y, shift), np.array(x + y)
    if pooled.size == 0:
        assert merged.mean is None
    else:
        assert merged.mean == pytest.approx(pooled.mean(), rel=1e-9, abs=1e-6)
    if pooled.size < 2:
        assert merged.variance is None
    else:
        assert merged.variance is not None
        assert merged.variance >= 0.0
        assert merged.variance == pytest.approx(pooled.var(ddof=1), rel=1e-9, abs=1e-12 * (1.0 + np.square(pooled).sum()))


def test_the_empty_set_is_neutral_whatever_its_reference() -> None:
    data = Moments.of([1e9 + 1, 1e9 + 2], shift=1e9)
    assert data + Moments(0, 0.0, 0.0) == data == Moments(0, 0.0, 0.0, 2e9) + data


def test_a_reference_value_saves_a_small_spread_on_a_large_mean() -> None:
    values = [1e9 + n % 7 for n in range(1000)]
    expected = np.var(np.array(values) - 1e9, ddof=1)
    assert Moments.of(values, shift=1e9).variance == pytest.approx(expected, rel=1e-12)
    merged = Moments.of(values[:400], shift=1e9) + Moments.of(values[400:], shift=1e9 + 3)
    assert merged.variance == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1e-200, 123456.789, -7.7e150, 1e12 + 0.1])
def test_constants_have_no_variance(constant: float) -> None:
    total = total_sq = 0.0
    for _ in range(5000):
        total += constant
        total_sq += constant * constant
    assert Moments(5000, total, total_sq).variance == 0.0
    assert Moments(5000, total, total_sq - abs(total_sq) * 1e-16).variance == 0.0


def test_proportion() -> None:
    moments = Moments.proportion(8502, 44700)
    assert moments.mean == 8502 / 44700
    assert moments == Moments.of([1.0] * 8502 + [0.0] * (44700 - 8502))
    with pytest.raises(ValueError, match="successes"):
        Moments.proportion(3, 2)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Moments(-1, 0.0, 0.0)
    with pytest.raises(ValueError, match="negative"):
        RatioMoments(-1, 0.0, 0.0, 0.0, 0.0, 0.0)


@given(_PAIRS, _PAIRS, _PAIRS)
def test_ratio_merging(x: list[tuple[float, float]], y: list[tuple[float, float]], z: list[tuple[float, float]]) -> None:
    a, b, c = (RatioMoments.of([n for n, _ in pairs], [d for _, d in pairs]) for pairs in (x, y, z))
    assert a + b == b + a
    left, right = (a + b) + c, a + (b + c)
    for name in ("numerator", "denominator", "numerator_sq", "denominator_sq", "cross"):
        assert getattr(left, name) == pytest.approx(getattr(right, name), rel=1e-9, abs=1e-4)
    assert left.count == right.count == len(x) + len(y) + len(z)


def test_ratio_variance_is_that_of_the_linearised_residuals() -> None:
    rng = np.random.default_rng(5)
    sessions = rng.poisson(3.0, 4000) + 1.0
    clicks = rng.binomial(sessions.astype(int), 0.3).astype(float)
    moments = RatioMoments.of(clicks[:1500], sessions[:1500]) + RatioMoments.of(clicks[1500:], sessions[1500:])
    ratio = clicks.sum() / sessions.sum()
    assert moments.mean == pytest.approx(ratio, rel=1e-12)
    assert moments.variance == pytest.approx(np.var((clicks - ratio * sessions) / sessions.mean(), ddof=1), rel=1e-9)


def test_ratio_without_an_answer() -> None:
    assert RatioMoments.of([1.0, 2.0], [0.0, 0.0]).mean is None
    assert RatioMoments.of([1.0, 2.0], [0.0, 0.0]).variance is None
    assert RatioMoments.of([1.0], [2.0]).variance is None
    assert RatioMoments.of([2.0, 4.0, 0.2], [1.0, 2.0, 0.1]).variance == 0.0
    with pytest.raises(ValueError, match="pair"):
        RatioMoments.of([1.0], [])
