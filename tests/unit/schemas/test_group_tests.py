"""Statistical tests, against scipy over random values and over extreme ones."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from schemas.confidence_sequence import MIN_UNITS, SMALLEST_P
from schemas.findings import interpretation
from schemas.group_tests import Alternative, Group, Outcome, TestType, Undetermined, Wanted, run
from schemas.moments import Moments
from schemas.rank_test import EXACT, mann_whitney
from schemas.significance import compare

ALTERNATIVES: tuple[Alternative, ...] = ("two_sided", "greater", "less")
SCIPY: dict[Alternative, Any] = {"two_sided": "two-sided", "greater": "greater", "less": "less"}
Values = NDArray[np.float64]


def groups(*values: ArrayLike | Sequence[float]) -> list[Group]:
    return [Group(name, np.asarray(each, dtype=np.float64)) for name, each in zip("abcdef", values, strict=False)]


def outcome_of(test: TestType, *values: ArrayLike, **wanted: Any) -> Outcome:
    return run(test, groups(*values), Wanted(**wanted))


def pairs(seed: int) -> list[tuple[Values, Values]]:
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(0.9, 0.1, 2), rng.normal(0.8, 0.2, 2)),
        (rng.normal(0, 1, 3), rng.normal(5, 0.01, 40)),
        (rng.exponential(2, 150), rng.exponential(2.2, 60)),
        (rng.integers(0, 4, 30).astype(float), rng.integers(0, 5, 25).astype(float)),
        (np.full(5, 0.1), rng.normal(0, 1, 8)),
        (rng.normal(0, 1e-9, 12), rng.normal(1e-9, 1e-9, 12)),
        (rng.normal(0, 1e9, 12), rng.normal(1e9, 1e9, 9)),
    ]


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("equal_variance", [False, True])
def test_t_test_of_two_samples(alternative: Alternative, equal_variance: bool) -> None:
    for number, (a, b) in enumerate(pairs(1)):
        found = outcome_of("two_sample_t_test", a, b, alternative=alternative, equal_variance=equal_variance)
        expected = stats.ttest_ind(a, b, equal_var=equal_variance, alternative=SCIPY[alternative])
        both = stats.ttest_ind(a, b, equal_var=equal_variance).confidence_interval(0.95)
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-9), number
        assert found.degrees_of_freedom == pytest.approx(expected.df, rel=1e-9)
        assert found.p_value == pytest.approx(max(expected.pvalue, SMALLEST_P), rel=1e-7)
        assert found.mean_difference_interval == pytest.approx((both.low, both.high), rel=1e-9)
        pooled = math.sqrt(((a.size - 1) * a.var(ddof=1) + (b.size - 1) * b.var(ddof=1)) / (a.size + b.size - 2))
        assert found.effect.value == pytest.approx((a.mean() - b.mean()) / pooled, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_interval_of_d_is_that_of_noncentral_t(alpha: float) -> None:
    for a, b in pairs(20):
        found = outcome_of("two_sample_t_test", a, b, alpha=alpha, equal_variance=True)
        unit = math.sqrt(1 / a.size + 1 / b.size)
        for limit, quantile in zip(found.effect.interval, (1 - alpha / 2, alpha / 2), strict=True):
            assert stats.nct.cdf(found.statistic, a.size + b.size - 2, limit / unit) == pytest.approx(quantile, abs=1e-6)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_t_test_of_pairs(alternative: Alternative) -> None:
    rng = np.random.default_rng(2)
    for n in (2, 3, 20, 500):
        a = rng.normal(0.9, 0.1, n)
        b = a - rng.normal(0.02, 0.05, n)
        found = outcome_of("paired_t_test", a, b, alternative=alternative)
        expected = stats.ttest_rel(a, b, alternative=SCIPY[alternative])
        assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
        both = stats.ttest_rel(a, b).confidence_interval(0.95)
        assert found.mean_difference_interval == pytest.approx((both.low, both.high), rel=1e-9)
        assert found.effect.value == pytest.approx((a - b).mean() / (a - b).std(ddof=1), rel=1e-9)
        assert found.always_valid is not None and (found.always_valid.p_value is None) == (n < 20)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_mann_whitney(alternative: Alternative) -> None:
    rng = np.random.default_rng(3)
    beside = [(rng.normal(0, 1, EXACT), rng.normal(0.5, 1, 30)), (rng.normal(0, 1, EXACT + 1), rng.normal(0.5, 1, 9)), (np.arange(2.0), np.arange(3.0, 5.0))]
    cases: list[tuple[Values, Values]] = [*pairs(3), *beside]
    for a, b in cases:
        found = outcome_of("mann_whitney_u", a, b, alternative=alternative)
        tied = np.unique(np.concatenate((a, b))).size < len(a) + len(b)
        method: Any = "asymptotic" if tied or max(len(a), len(b)) > EXACT else "exact"
        expected = stats.mannwhitneyu(a, b, alternative=SCIPY[alternative], method=method)
        assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
        assert found.effect.value == pytest.approx(2 * expected.statistic / (len(a) * len(b)) - 1, abs=1e-12)
        low, high = found.effect.interval
        assert -1.0 <= low <= found.effect.value + 1e-12 and found.effect.value - 1e-12 <= high <= 1.0
        assert found.mean_difference is None and found.always_valid is None


def test_analysis_of_variance() -> None:
    rng = np.random.default_rng(4)
    for a, b in pairs(4):
        for values in ((a, b), (a, b, rng.normal(np.mean(a), np.std(b), 17))):
            found = outcome_of("one_way_anova", *values)
            expected = stats.f_oneway(*values)
            assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, max(expected.pvalue, SMALLEST_P)), rel=1e-7)
            everything = np.concatenate(values)
            within = sum(((each - each.mean()) ** 2).sum() for each in values)
            assert found.effect.value == pytest.approx(1 - within / ((everything - everything.mean()) ** 2).sum(), rel=1e-6, abs=1e-12)
            low, high = found.effect.interval
            assert 0.0 <= low <= high < 1.0


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_proportions(alternative: Alternative) -> None:
    """The z test is the chi-square test of the table; its interval is the one scipy does not have, so its parts are checked."""
    rng = np.random.default_rng(5)
    for n, m, p, q in ((2, 2, 0.5, 0.5), (40, 60, 0.3, 0.5), (1_000, 900, 0.01, 0.02), (5, 5_000, 0.9, 0.5), (30, 30, 1.0, 0.6)):
        a, b = (rng.random(n) < p).astype(float), (rng.random(m) < q).astype(float)
        if a.sum() + b.sum() in (0, n + m):
            a[0], b[0] = 1.0, 0.0
        found = outcome_of("two_proportion_z_test", a, b, alternative=alternative)
        chi = stats.chi2_contingency([[a.sum(), n - a.sum()], [b.sum(), m - b.sum()]], correction=False)
        assert found.statistic**2 == pytest.approx(chi.statistic, rel=1e-9, abs=1e-12)
        tails = {"two_sided": 2 * stats.norm.sf(abs(found.statistic)), "greater": stats.norm.sf(found.statistic), "less": stats.norm.cdf(found.statistic)}
        assert found.p_value == pytest.approx(tails[alternative], rel=1e-9)
        assert found.effect.value == pytest.approx(2 * np.arcsin(np.sqrt(a.mean())) - 2 * np.arcsin(np.sqrt(b.mean())), abs=1e-12)
        wilson = [stats.binomtest(int(each.sum()), each.size).proportion_ci(0.95, "wilson") for each in (a, b)]
        assert found.mean_difference_interval is not None and found.mean_difference is not None
        low, high = found.mean_difference_interval
        assert found.mean_difference - low == pytest.approx(math.hypot(a.mean() - wilson[0].low, wilson[1].high - b.mean()), rel=1e-9)
        assert high - found.mean_difference == pytest.approx(math.hypot(wilson[0].high - a.mean(), b.mean() - wilson[1].low), rel=1e-9)
        assert -math.pi <= found.effect.interval[0] <= found.effect.value <= found.effect.interval[1] <= math.pi


def test_a_small_spread_around_a_large_value_is_not_lost() -> None:
    """Whole numbers around 1e9 are exact, so every figure must be that of the numbers without the 1e9."""
    rng = np.random.default_rng(6)
    a, b, c = (rng.integers(low, low + 6, 200).astype(float) for low in (0, 1, 1))
    tests: Sequence[tuple[TestType, tuple[Values, ...]]] = (
        ("two_sample_t_test", (a, b)),
        ("paired_t_test", (a, b)),
        ("mann_whitney_u", (a, b)),
        ("one_way_anova", (a, b, c)),
    )
    for test, values in tests:
        plain, moved = outcome_of(test, *values), outcome_of(test, *(each + 1e9 for each in values))
        assert moved.p_value == pytest.approx(plain.p_value, rel=1e-9), test
        assert (moved.statistic, moved.effect.value) == pytest.approx((plain.statistic, plain.effect.value), rel=1e-9)
        assert moved.effect.interval == pytest.approx(plain.effect.interval, rel=1e-6)
        assert (moved.always_valid is None) == (plain.always_valid is None)
        if moved.always_valid and plain.always_valid:
            assert moved.always_valid.p_value == pytest.approx(plain.always_valid.p_value, rel=1e-6)
            assert moved.always_valid.interval == pytest.approx(plain.always_valid.interval, rel=1e-9)


@pytest.mark.parametrize(
    ("test", "values", "says"),
    [
        ("two_sample_t_test", ([1.0, 2.0], [3.0]), "group b has 1 value; at least 2 are needed"),
        ("mann_whitney_u", ([], [3.0, 4.0]), "group a has 0 values; at least 2 are needed"),
        ("paired_t_test", ([1.0], [3.0]), "group a has 1 pair; at least 2"),
        ("two_sample_t_test", ([0.1] * 3, [0.1] * 3), "no spread"),
        ("two_sample_t_test", ([0.1] * 3, [0.7] * 9), "no spread"),
        ("paired_t_test", ([0.3, 0.7, 0.9], [0.1, 0.5, 0.7]), "no spread"),
        ("mann_whitney_u", ([2.0, 2.0], [2.0, 2.0, 2.0]), "the same"),
        ("one_way_anova", ([0.1] * 3, [0.1] * 4, [0.7] * 5), "no spread"),
        ("two_proportion_z_test", ([1.0, 0.0], [0.5, 1.0]), "group b has values other than 0 and 1"),
        ("two_proportion_z_test", ([1.0, 1.0], [1.0, 1.0]), "every value of both groups is 1"),
        ("one_way_anova", ([1e200, 2.0], [1.0, 2.0]), "too large"),
    ],
)
def test_what_cannot_be_tested_has_a_reason(test: TestType, values: tuple[list[float], ...], says: str) -> None:
    with pytest.raises(Undetermined, match=says):
        outcome_of(test, *values)


def test_options_that_do_not_fit_have_a_reason_too() -> None:
    with pytest.raises(Undetermined, match="at least 3 pairs"):
        outcome_of("paired_t_test", [1.0, 2.0], [2.0, 5.0], hedges=True)
    with pytest.raises(Undetermined, match="no direction"):
        outcome_of("one_way_anova", [1.0, 2.0], [2.0, 5.0], alternative="less")


@pytest.mark.parametrize("scale", [1e-140, 1.0, 1e148])
@pytest.mark.parametrize("test", ["two_sample_t_test", "paired_t_test", "mann_whitney_u", "one_way_anova"])
def test_figures_are_numbers_at_every_scale(test: TestType, scale: float) -> None:
    rng = np.random.default_rng(7)
    found = outcome_of(test, rng.normal(0, 1, 5) * scale, rng.normal(9, 1, 5) * scale)
    assert all(map(math.isfinite, (found.statistic, found.p_value, found.effect.value, *found.effect.interval)))
    assert 0.0 < found.p_value <= 1.0


def test_an_effect_without_bounds_of_chance_is_still_numbers() -> None:
    """Groups that hardly vary, far apart: p-values underflow and statistics have fifteen digits."""
    a, b = np.array([1.0, 1.0 + 1e-14, 1.0]), np.array([2.0, 2.0, 2.0])
    tests: tuple[TestType, ...] = ("two_sample_t_test", "one_way_anova")
    for test in tests:
        found = outcome_of(test, a, b)
        assert math.isfinite(found.statistic) and all(map(math.isfinite, found.effect.interval)) and found.p_value >= SMALLEST_P
    found = outcome_of("two_sample_t_test", np.arange(1e5), np.arange(1e5) + 1e6, equal_variance=True)
    assert found.p_value == SMALLEST_P


def test_hedges_takes_out_the_bias() -> None:
    rng = np.random.default_rng(8)
    for n in (2, 5, 400, 600):
        a, b = rng.normal(1, 1, n), rng.normal(0, 1, n)
        d, g = (outcome_of("two_sample_t_test", a, b, hedges=hedges).effect for hedges in (False, True))
        freedom = 2 * n - 2
        assert g.type == "hedges_g" and g.value / d.value == pytest.approx(1 - 3 / (4 * freedom - 1), rel=0.03 / freedom)
        assert g.interval[0] / d.interval[0] == pytest.approx(g.value / d.value)
    # On average it is the effect: of 4 + 4 values, d is a sixth too large.
    values = np.random.default_rng(9).normal(0, 1, (3_000, 8)) + np.array([1.0] * 4 + [0.0] * 4)
    spread = np.sqrt((values[:, :4].var(axis=1, ddof=1) + values[:, 4:].var(axis=1, ddof=1)) / 2)
    biased = float(((values[:, :4].mean(axis=1) - values[:, 4:].mean(axis=1)) / spread).mean())
    first = values[0]
    factor = [outcome_of("two_sample_t_test", first[:4], first[4:], hedges=hedges).effect.value for hedges in (True, False)]
    assert biased * factor[0] / factor[1] == pytest.approx(1.0, abs=0.05) and biased > 1.1


def _covers(seed: int, draw: Any, test: TestType, truth: float, rounds: int = 400, **wanted: Any) -> float:
    """How often the interval of the effect holds the truth."""
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(rounds):
        low, high = outcome_of(test, *draw(rng), **wanted).effect.interval
        held += low <= truth <= high
    return held / rounds


@pytest.mark.parametrize(("n", "m", "truth"), [(4, 4, 0.0), (5, 30, 0.8), (40, 40, 2.5)])
@pytest.mark.parametrize("equal_variance", [True, False])
def test_intervals_of_d_cover(n: int, m: int, truth: float, equal_variance: bool) -> None:
    """Of 400 rounds 0.95 has a standard error of 0.011."""
    share = _covers(10, lambda rng: (rng.normal(truth, 1, n), rng.normal(0, 1, m)), "two_sample_t_test", truth, equal_variance=equal_variance)
    assert 0.92 < share < 0.985


def test_intervals_of_d_cover_at_another_level_and_of_pairs() -> None:
    assert 0.75 < _covers(11, lambda rng: (rng.normal(1, 1, 10), rng.normal(0, 1, 10)), "two_sample_t_test", 1.0, alpha=0.2) < 0.85
    assert 0.92 < _covers(12, lambda rng: (rng.normal(0.5, 1, 8), np.zeros(8)), "paired_t_test", 0.5) < 0.98


def test_the_interval_of_welch_covers_where_variances_differ() -> None:
    """The standard deviation is pooled, so the truth is in units of the one of both groups together, by their sizes."""
    truth = 1.0 / math.sqrt((29 * 1.0 + 29 * 4.0) / 58)
    assert 0.92 < _covers(13, lambda rng: (rng.normal(1, 1, 30), rng.normal(0, 2, 30)), "two_sample_t_test", truth) < 0.98


def test_intervals_of_other_effects_cover() -> None:
    normal = 2 * stats.norm.cdf(1 / math.sqrt(2)) - 1
    assert 0.92 < _covers(14, lambda rng: (rng.normal(1, 1, 12), rng.normal(0, 1, 20)), "mann_whitney_u", normal) < 0.99
    # The share of variance between three groups whose means are -0.5, 0 and 0.5.
    assert 0.92 < _covers(15, lambda rng: tuple(rng.normal(mean, 1, 15) for mean in (-0.5, 0, 0.5)), "one_way_anova", (0.5 / 3) / (0.5 / 3 + 1)) < 0.98
    h = 2 * math.asin(math.sqrt(0.3)) - 2 * math.asin(math.sqrt(0.1))
    draw = lambda rng: tuple((rng.random(60) < share).astype(float) for share in (0.3, 0.1))  # noqa: E731
    assert 0.92 < _covers(16, draw, "two_proportion_z_test", h) < 0.985


def test_the_interval_of_d_leaves_out_0_exactly_when_the_test_rejects() -> None:
    rng = np.random.default_rng(17)
    for _ in range(60):
        found = outcome_of("two_sample_t_test", rng.normal(0.8, 1, 12), rng.normal(0, 3, 9))
        low, high = found.effect.interval
        assert (found.p_value < 0.05) == (not low <= 0.0 <= high)


def test_always_valid_is_the_sequence_of_the_platform() -> None:
    """crucible.stats.run"""
    rng = np.random.default_rng(18)
    for n, m in ((MIN_UNITS, 300), (5_000, 5_000)):
        a, b = rng.normal(1.1, 1, n), rng.normal(1, 2, m)
        found, expected = outcome_of("two_sample_t_test", a, b).always_valid, compare(Moments.of(b), Moments.of(a), "mean").anytime
        assert found is not None and found.p_value == pytest.approx(expected.p_value) and found.interval == pytest.approx(expected.interval)
    few = outcome_of("two_sample_t_test", a[: MIN_UNITS - 1], b).always_valid
    assert few is not None and few.p_value is None and few.interval is None and "fewer units" in (few.reason or "")
    shares = outcome_of("two_proportion_z_test", (a > 1).astype(float), (b > 1).astype(float)).always_valid
    assert shares is not None and shares.p_value is not None and shares.interval is not None


def test_ranks_of_nothing_but_ties() -> None:
    assert mann_whitney(np.ones(4), np.ones(3)) is None


@pytest.mark.parametrize(
    ("test", "values", "significance", "magnitude", "says"),
    [
        ("two_sample_t_test", ([0.8, 0.82, 0.81] * 9, [0.9, 0.89, 0.91] * 9), "significant", "large", "higher for b (0.9) than for a (0.81)"),
        ("two_sample_t_test", ([1.0, 2.0, 3.0], [1.01, 2.0, 3.0]), "not_significant", "negligible", "do not show that a and b differ in accuracy"),
        ("mann_whitney_u", (range(30), range(5, 35)), "significant", "medium", "tend to be higher for b than for a"),
        ("one_way_anova", (range(20), range(1, 21), range(9, 29)), "significant", "large", "Not all of a, b, c"),
        ("two_proportion_z_test", ([1] * 300 + [0] * 700, [1] * 200 + [0] * 800), "significant", "small", "higher for a (0.3) than for b (0.2)"),
    ],
)
def test_words(test: TestType, values: Sequence[Sequence[float]], significance: str, magnitude: str, says: str) -> None:
    """crucible.stats.interpretation"""
    arms = groups(*values)
    found = interpretation(test, "accuracy", arms, run(test, arms, Wanted()), Wanted())
    assert (found.significance, found.effect_magnitude) == (significance, magnitude) and says in found.practical_significance


def test_words_of_a_direction() -> None:
    """A difference in the direction that was not asked for is none that was shown."""
    arms = groups([1.0, 2.0, 3.0] * 9, [11.0, 12.0, 13.0] * 9)
    wanted = Wanted(alternative="greater")
    found = interpretation("two_sample_t_test", "latency", arms, run("two_sample_t_test", arms, wanted), wanted)
    assert found.significance == "not_significant" and "latency is greater for a than for b" in found.practical_significance
