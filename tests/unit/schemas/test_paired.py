"""Paired comparisons, against scipy and by simulation."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from schemas.paired import MIN_PAIRS, VARIANCE, anytime_boundary, anytime_p, compare_pairs


@pytest.mark.parametrize("n", [2, 3, 10, 250])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_fixed_reading_is_the_paired_t_test(n: int, alpha: float) -> None:
    rng = np.random.default_rng(n)
    baseline, experiment = rng.normal(0.5, 0.2, n), rng.normal(0.55, 0.3, n)
    found = compare_pairs(list(experiment - baseline), alpha)
    expected = stats.ttest_rel(experiment, baseline)
    interval = expected.confidence_interval(1 - alpha)
    assert found.fixed.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.fixed.interval == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.difference == pytest.approx((experiment - baseline).mean())
    assert (found.wins, found.losses, found.ties) == ((experiment > baseline).sum(), (experiment < baseline).sum(), 0)


def test_the_anytime_reading_is_the_marginal_likelihood_ratio() -> None:
    """The e-value against direct integration over the mixture: of noncentral t densities, against the central one."""
    n, t = 40, 2.5
    g = VARIANCE
    effects = np.linspace(-8 * math.sqrt(g), 8 * math.sqrt(g), 4_001)
    weight = stats.norm.pdf(effects, scale=math.sqrt(g))
    mixed = np.trapezoid(stats.nct.pdf(t, n - 1, effects * math.sqrt(n)) * weight, effects)
    assert 1.0 / anytime_p(t, n) == pytest.approx(mixed / stats.t.pdf(t, n - 1), rel=1e-6)


@pytest.mark.parametrize("n", [MIN_PAIRS, 25, 100, 5_000])
def test_p_value_and_interval_agree(n: int) -> None:
    wide = anytime_boundary(n, 0.05)
    assert wide is not None and wide > -stats.t.ppf(0.025, n - 1)
    assert anytime_p(wide, n) == pytest.approx(0.05, rel=1e-9)
    assert anytime_p(wide * 1.01, n) < 0.05 < anytime_p(wide * 0.99, n)


def test_the_price_of_looking_is_least_around_the_tuned_size() -> None:
    price = {n: (anytime_boundary(n, 0.05) or math.inf) / -stats.t.ppf(0.025, n - 1) for n in (20, 40, 100, 1_000)}
    assert price[40] < 1.01 * min(price.values())
    assert [round(price[n], 1) for n in (20, 40, 1_000)] == [1.7, 1.6, 1.7]


def _first_crossing(differences: NDArray[np.float64], alpha: float) -> bool:
    """Whether the interval leaves out 0 at any look after each pair."""
    count = np.arange(1, differences.size + 1)
    sums, squares = np.cumsum(differences), np.cumsum(differences**2)
    for n in count[MIN_PAIRS - 1 :]:
        mean = sums[n - 1] / n
        spread = math.sqrt(max(squares[n - 1] - n * mean * mean, 0.0) / (n - 1) / n)
        if spread and anytime_p(abs(mean) / spread, int(n)) <= alpha:
            return True
    return False


@pytest.mark.parametrize("kind", ["normal", "votes"])
def test_looking_after_every_pair_keeps_the_error_rate(kind: str) -> None:
    """Without an effect, 300 looks each: the share that ever calls one stays below alpha, where a t-test looked at as often would call one in a third."""
    rng = np.random.default_rng(7)
    runs, alpha = 400, 0.1
    size = (runs, 300)
    drawn = rng.normal(size=size) if kind == "normal" else rng.choice([-1.0, 0.0, 1.0], size, p=[0.2, 0.6, 0.2])
    wrong = sum(_first_crossing(differences, alpha) for differences in drawn)
    assert wrong / runs <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert wrong / runs < 0.2


def test_a_true_effect_is_found_and_covered() -> None:
    rng = np.random.default_rng(3)
    found = [compare_pairs(list(rng.normal(0.2, 0.4, 150))) for _ in range(200)]
    assert sum(each.significant for each in found) > 180
    covered = sum(each.anytime.interval is not None and each.anytime.interval[0] <= 0.2 <= each.anytime.interval[1] for each in found)
    assert covered >= 190


def test_what_cannot_be_said_has_a_reason() -> None:
    nothing = compare_pairs([])
    assert nothing.difference is None and nothing.fixed.reason == nothing.anytime.reason == "too_few_pairs" and not nothing.significant
    one = compare_pairs([0.5])
    assert one.difference == 0.5 and one.standard_error is None and one.fixed.reason == "too_few_pairs" and one.wins == 1
    few = compare_pairs([0.1, 0.2, 0.3])
    assert few.fixed.p_value is not None and few.anytime.reason == "too_few_pairs"
    same = compare_pairs([0.3 - 0.1, 0.7 - 0.5] * 10)
    assert same.fixed.reason == same.anytime.reason == "no_spread" and same.fixed.p_value is None
    ties = compare_pairs([0.0] * 20)
    assert ties.ties == 20 and ties.difference == 0.0 and ties.fixed.reason == "no_spread"
    strict = compare_pairs(list(np.random.default_rng(1).normal(size=MIN_PAIRS)), alpha=1e-12)
    assert strict.anytime.p_value is not None and strict.anytime.interval is None and strict.anytime.reason == "not_bounded_yet"
    huge = compare_pairs(list(1e6 + np.random.default_rng(1).normal(size=50)))
    assert huge.anytime.p_value is not None and 0 < huge.anytime.p_value < 1e-20
    with pytest.raises(ValueError, match="alpha"):
        compare_pairs([1.0, 2.0], alpha=1.0)
