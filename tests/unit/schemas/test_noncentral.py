"""Noncentral distributions and limits, against scipy where scipy answers, and against closed forms where it does not."""

import math

import pytest
from scipy import stats

from schemas.noncentral import f_below, f_limits, t_below, t_limits


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 9, 98, 12_345.6])
@pytest.mark.parametrize("t", [-300.0, -2.0, -0.1, 0.0, 0.5, 3.0, 40.0])
@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.001])
def test_limits_of_t_are_where_the_statistic_is_a_quantile(t: float, freedom: float, alpha: float) -> None:
    low, high = t_limits(t, freedom, alpha)
    assert low < high
    assert stats.nct.cdf(t, freedom, low) == pytest.approx(1 - alpha / 2, abs=1e-6)
    assert stats.nct.cdf(t, freedom, high) == pytest.approx(alpha / 2, abs=1e-6)
    assert t_limits(-t, freedom, alpha) == pytest.approx((-high, -low), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("between", "within"), [(1, 2), (2, 10), (3, 500), (20, 80), (4, 1e6)])
@pytest.mark.parametrize("f", [0.0, 0.01, 0.9, 3.0, 200.0])
def test_limits_of_f_are_where_the_statistic_is_a_quantile(f: float, between: float, within: float) -> None:
    low, high = f_limits(f, between, within, 0.05)
    for limit, quantile in ((low, 0.975), (high, 0.025)):
        if limit:
            assert f_below(f, between, within, limit) == pytest.approx(quantile, abs=1e-9)
            assert stats.ncf.cdf(f, between, within, limit) == pytest.approx(quantile, abs=1e-6)
        else:
            assert stats.f.cdf(f, between, within) <= quantile


def test_without_noncentrality_they_are_the_central_ones() -> None:
    for value in (0.3, 2.0, 50.0):
        assert t_below(value, 7, 0.0) == pytest.approx(stats.t.cdf(value, 7), abs=1e-12)
        assert f_below(value, 3, 7, 0.0) == pytest.approx(stats.f.cdf(value, 3, 7), abs=1e-12)


@pytest.mark.parametrize(("t", "freedom"), [(1e5, 1e6), (1e6, 50), (1e12, 3), (1e15, 2e6)])
def test_limits_of_huge_statistics_are_those_of_the_spread_alone(t: float, freedom: float) -> None:
    """(z + n) / s: where t is huge, z is nothing against n, and s is a scaled chi."""
    low, high = t_limits(t, freedom, 0.05)
    expected = [t * math.sqrt(stats.chi2.ppf(quantile, freedom) / freedom) for quantile in (0.025, 0.975)]
    assert (low, high) == pytest.approx(expected, rel=1e-4 if t < 1e6 else 1e-9)


@pytest.mark.parametrize(("f", "between", "within"), [(1e9, 2, 30), (1e11, 2, 30), (1e30, 5, 4), (1e11, 3, 1e6)])
def test_limits_of_a_huge_f_too(f: float, between: float, within: float) -> None:
    expected = [between * f * stats.chi2.ppf(quantile, within) / within for quantile in (0.025, 0.975)]
    assert f_limits(f, between, within, 0.05) == pytest.approx(expected, rel=1e-4)
