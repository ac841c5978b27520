"""The sample-ratio check: exact values, error rates under looking after every batch, and finding the fault."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from schemas.sample_ratio import ALPHA, CONCENTRATION, check, chi_square, diagnose, sequential

_EVEN = {"control": 0.5, "treatment": 0.5}
_COOKIE_CATS = Path(__file__).parents[4] / "shared" / "data" / "cookie_cats.csv.gz"


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.5, 0.3, 0.2], [90.0, 10.0], [1.0, 2.0, 3.0, 4.0]])
def test_chi_square_agrees_with_scipy(weights: list[float]) -> None:
    rng = np.random.default_rng(11)
    shares = np.array(weights) / sum(weights)
    for _ in range(50):
        counts = rng.multinomial(int(rng.integers(10, 100_000)), shares)
        expected = stats.chisquare(counts, counts.sum() * shares).pvalue
        named = {str(i): int(n) for i, n in enumerate(counts)}
        assert chi_square(named, {str(i): w for i, w in enumerate(weights)}) == pytest.approx(expected, abs=1e-9)


def test_sequential_is_one_over_the_bayes_factor() -> None:
    """Against the product of predictive probabilities, unit by unit, in two orders."""
    prior, shares = [2.0, 6.0], [0.25, 0.75]
    for order in ([0] * 9 + [1] * 4, [1, 0, 0, 1] * 3 + [0]):
        seen, log_factor = [0, 0], 0.0
        for unit in order:
            log_factor += math.log((prior[unit] + seen[unit]) / (sum(prior) + sum(seen)) / shares[unit])
            seen[unit] += 1
        p = sequential({"a": seen[0], "b": seen[1]}, {"a": 1, "b": 3}, concentration=8.0)
        assert p == pytest.approx(min(1.0, math.exp(-log_factor)), rel=1e-12)


def test_sequential_is_a_fair_bet_under_the_plan() -> None:
    """The Bayes factor has expectation 1 over all outcomes, which is what bounds false alarms for any number of looks."""
    n = np.arange(61)
    factors = [1 / sequential({"a": int(k), "b": int(60 - k)}, {"a": 0.3, "b": 0.7}, 5.0) for k in n]
    capped = float((stats.binom.pmf(n, 60, 0.3) * factors).sum())
    assert 1.0 <= capped < 2.0  # p is capped at 1, so 1/p is the factor or 1, whichever is larger
    above = [factor if factor > 1 else 0.0 for factor in factors]
    assert float((stats.binom.pmf(n, 60, 0.3) * above).sum()) <= 1.0


def _sequential_p(counts: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The closed form over many count vectors at once; held to `sequential` below."""
    prior = CONCENTRATION * shares
    log_factor = special.gammaln(CONCENTRATION) - special.gammaln(CONCENTRATION + counts.sum(axis=-1))
    log_factor = log_factor + (special.gammaln(prior + counts) - special.gammaln(prior) - counts * np.log(shares)).sum(axis=-1)
    return np.asarray(np.exp(-np.maximum(log_factor, 0.0)))


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.9, 0.1], [0.4, 0.3, 0.3]])
def test_false_alarms_when_looked_at_after_every_batch(weights: list[float]) -> None:
    rng, shares, runs = np.random.default_rng(2022), np.array(weights), 2000
    seen = np.zeros((runs, len(weights)), dtype=np.int64)
    lowest, lowest_chi_square = np.ones(runs), np.ones(runs)
    for look in range(300):
        seen += rng.multinomial(int(rng.integers(1, 400)), shares, size=runs)
        p = _sequential_p(seen, shares)
        lowest = np.minimum(lowest, p)
        expected = seen.sum(axis=1, keepdims=True) * shares
        lowest_chi_square = np.minimum(lowest_chi_square, special.chdtrc(len(weights) - 1, ((seen - expected) ** 2 / expected).sum(axis=1)))
        if look % 100 == 7:
            counts = {str(i): int(n) for i, n in enumerate(seen[look])}
            assert sequential(counts, {str(i): w for i, w in enumerate(weights)}) == pytest.approx(float(p[look]), rel=1e-9)
    assert (lowest <= 0.05).mean() <= 0.06
    assert (lowest <= ALPHA).mean() <= 0.015
    assert (lowest_chi_square <= ALPHA).mean() >= 0.05, "a fixed test read at every look must be seen to fail here"


def test_a_52_to_48_split_is_found() -> None:
    rng, shares, runs = np.random.default_rng(52), np.array([0.5, 0.5]), 1000
    seen, found = np.zeros((runs, 2), dtype=np.int64), np.zeros(runs, dtype=np.bool_)
    for _ in range(100):
        seen += rng.multinomial(200, [0.52, 0.48], size=runs)
        found |= _sequential_p(seen, shares) <= ALPHA
    assert found.mean() > 0.95


@pytest.mark.parametrize(
    ("counts", "weights"),
    [({}, _EVEN), ({"control": 0, "treatment": 0}, _EVEN), ({"control": 900}, {"control": 1.0}), ({"control": 900}, {"control": 1.0, "paused": 0.0})],
)
def test_nothing_to_compare_is_no_alarm(counts: dict[str, int], weights: dict[str, float]) -> None:
    ratio = check(counts, weights)
    assert (ratio.chi_square_p, ratio.sequential_p, ratio.flag) == (1.0, 1.0, False)


def test_few_units_raise_no_suspicion() -> None:
    ratio = check({"control": 8, "treatment": 0}, _EVEN)
    assert ratio.chi_square_p < ALPHA
    assert not ratio.flag


def test_an_arm_that_gets_nobody_is_found_and_never_reported_as_impossible() -> None:
    ratio = check({"control": 10**9}, _EVEN)
    assert ratio.mismatch
    assert ratio.suspicious
    assert 0.0 < ratio.sequential_p < 1e-300
    assert 0.0 < ratio.chi_square_p < 1e-300


def test_unplanned_variants_are_counted_beside_the_test() -> None:
    ratio = check({"control": 500, "treatment": 500, "stray": 3, "paused": 4}, {**_EVEN, "paused": 0.0})
    assert (ratio.unplanned, ratio.flag) == (7, False)
    assert ratio.counts == {"control": 500, "treatment": 500}
    assert json.loads(json.dumps(ratio.as_dict()))["flag"] is False


@pytest.mark.parametrize("weights", [{}, {"control": 0.0}, {"control": -1.0, "treatment": 1.0}, {"control": math.nan}, {"control": math.inf}])
def test_weights_that_are_no_plan_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        check({"control": 1}, weights)


def test_other_refusals() -> None:
    with pytest.raises(ValueError, match="negative"):
        chi_square({"control": -1}, _EVEN)
    with pytest.raises(ValueError, match="concentration"):
        sequential({"control": 1}, _EVEN, concentration=0.0)


def test_weights_count_by_proportion() -> None:
    assert check({"a": 700, "b": 300}, {"a": 70, "b": 30}) == check({"a": 700, "b": 300}, {"a": 0.7, "b": 0.3})


def test_the_fault_is_named() -> None:
    rng = np.random.default_rng(9)
    breakdown: dict[str, dict[str, dict[str, int]]] = {"sdk": {}, "hour": {str(h): {"control": 0, "treatment": 0} for h in range(24)}}
    for sdk, share in (("web", 0.5), ("ios", 0.5), ("android", 0.4), ("server", 0.5)):
        breakdown["sdk"][sdk] = {"control": 0, "treatment": 0}
        for hour in range(24):
            control = int(rng.binomial(200, share))
            for cell in (breakdown["sdk"][sdk], breakdown["hour"][str(hour)]):
                cell["control"] += control
                cell["treatment"] += 200 - control
    suspects = diagnose(breakdown, _EVEN)
    assert len(suspects) == 28
    assert (suspects[0].dimension, suspects[0].value, suspects[0].explains) == ("sdk", "android", True)
    assert suspects[0].ratio.mismatch
    assert [suspect.value for suspect in suspects if suspect.explains] == ["android"]


def test_diagnosis_of_sound_data_rarely_accuses() -> None:
    rng, accused = np.random.default_rng(10), 0
    for _ in range(300):
        cells = {str(value): dict(zip(_EVEN, map(int, rng.multinomial(500, [0.5, 0.5])), strict=True)) for value in range(30)}
        accused += any(suspect.ratio.flag for suspect in diagnose({"source": cells}, _EVEN, alpha=0.05))
    assert accused / 300 <= 0.08


def test_a_mismatch_everywhere_has_no_single_culprit() -> None:
    cells = {value: {"control": 4500, "treatment": 5500} for value in ("web", "ios", "android")}
    suspects = diagnose({"sdk": cells}, _EVEN)
    assert all(suspect.ratio.flag and not suspect.explains for suspect in suspects)
    assert diagnose({}, _EVEN) == []
    assert all(a.value < b.value for a, b in itertools.pairwise(suspects))


@pytest.mark.skipif(not _COOKIE_CATS.exists(), reason="the Cookie Cats data set is not beside this checkout")
def test_the_cookie_cats_split_is_flagged() -> None:
    with gzip.open(_COOKIE_CATS, "rt") as lines:
        counts = Counter(row["version"] for row in csv.DictReader(lines))
    ratio = check(counts, {"gate_30": 0.5, "gate_40": 0.5})
    assert ratio.counts == {"gate_30": 44_700, "gate_40": 45_489}
    assert ratio.chi_square_p == pytest.approx(0.0086, abs=5e-5)
    assert ratio.suspicious
    assert ratio.flag
    assert not ratio.mismatch
