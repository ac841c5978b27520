"""The chance to win against draws from the belief it describes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schemas.bayes import belief


@pytest.mark.parametrize(("difference", "error"), [(0.3, 0.2), (-1.0, 0.7), (0.0, 2.0), (5.0, 1.0)])
@pytest.mark.parametrize("lower", [False, True])
def test_it_describes_the_posterior(difference: float, error: float, lower: bool) -> None:
    got = belief(difference, error, alpha=0.1, lower_is_better=lower)
    assert got is not None
    truths = np.random.default_rng(1).normal(difference, error, 400_000)
    gains = -truths if lower else truths
    assert got.chance_to_win == pytest.approx((gains > 0).mean(), abs=0.003)
    assert got.expected_loss == pytest.approx(np.maximum(-gains, 0).mean(), abs=0.005)
    assert got.credible_interval == pytest.approx(stats.norm.interval(0.9, difference, error))


@pytest.mark.parametrize(("difference", "error"), [(1.0, 0.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf)])
def test_nothing_is_believed_without_an_estimate(difference: float, error: float) -> None:
    assert belief(difference, error) is None


@given(st.floats(-1e300, 1e300), st.floats(1e-300, 1e300))
def test_it_stays_a_probability(difference: float, error: float) -> None:
    got = belief(difference, error)
    assert got is not None
    assert 0.0 <= got.chance_to_win <= 1.0
    assert got.expected_loss >= 0.0 and math.isfinite(got.expected_loss)


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        belief(1.0, 1.0, alpha=1.0)
