"""The error rate of an analysis that is looked at after every block, by simulation.

Each simulation runs 2,000 experiments side by side and looks at all of them after each of 120 blocks of varying size. The
looks use the vectorised functions that `compare` is built of, and a sample of them is held to `compare` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from schemas.confidence_sequence import MIN_UNITS, SMALLEST_P, TUNED_UNITS, boundary, p_value, pooled_inflation, two_arms
from schemas.moments import Moments, RatioMoments
from schemas.significance import Kind, compare

RUNS, LOOKS, ALPHA = 2_000, 120, 0.05
Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Array]
"""Values of that many units in every run: shape (RUNS, units)."""


@dataclass
class Outcome:
    """What happened at any of the looks, as a share of the runs; `found` is at the last look."""

    rejected: float
    missed: float
    relative_missed: float
    fixed_rejected: float
    unpooled_rejected: float


def _simulate(kind: Kind, control: Draw, treatment: Draw, truth: tuple[float, float], share: float = 0.5, largest: int = 120) -> Outcome:
    """Look after every block; `truth` is the mean of each arm, `share` the part of a block that is control."""
    rng = np.random.default_rng(20240613)
    total, total_sq, units = np.zeros((2, RUNS)), np.zeros((2, RUNS)), np.zeros(2, dtype=np.int64)
    rejected, missed, relative_missed, fixed_rejected, unpooled_rejected = (np.zeros(RUNS, dtype=np.bool_) for _ in range(5))
    difference, relative = truth[1] - truth[0], truth[1] / truth[0] - 1.0
    for look in range(LOOKS):
        block = int(rng.integers(2, largest))
        for arm, (draw, part) in enumerate(((control, share), (treatment, 1.0 - share))):
            size = max(1, round(block * 2 * part))
            values = draw(rng, size)
            total[arm] += values.sum(axis=1)
            total_sq[arm] += np.square(values).sum(axis=1)
            units[arm] += size
        if units.min() < MIN_UNITS:
            continue
        n_c, n_t = int(units[0]), int(units[1])
        mean = total / units[:, None]
        variance = mean * (1.0 - mean) if kind == "proportion" else (total_sq - mean * total) / (units[:, None] - 1)
        seen = variance.max(axis=0) > 0.0
        variance = np.where(seen, variance, 1.0)
        squared = variance[0] / n_c + variance[1] / n_t
        inflation = pooled_inflation(n_c, variance[0], n_t, variance[1])
        error, gap = np.sqrt(squared * inflation), mean[1] - mean[0]
        size_now, tuned = two_arms(n_c, n_t), TUNED_UNITS / 2
        p = p_value(gap / error, size_now, tuned)
        width = boundary(size_now, ALPHA, tuned)
        rejected |= seen & (p <= ALPHA)
        missed |= seen & (np.abs(gap - difference) > width * error)
        combined = mean[1] - (1.0 + relative) * mean[0]
        relative_squared = inflation * (variance[1] / n_t + (1.0 + relative) ** 2 * variance[0] / n_c)
        bounded = width**2 * inflation * variance[0] / n_c < mean[0] ** 2
        relative_missed |= seen & bounded & (np.abs(combined) > width * np.sqrt(relative_squared))
        unpooled_rejected |= seen & (p_value(gap / np.sqrt(squared), size_now, tuned) <= ALPHA)
        fixed_rejected |= seen & (2.0 * special.ndtr(-np.abs(gap) / np.sqrt(squared)) <= ALPHA)
        if look % 10 == 9:
            for run in np.flatnonzero(seen)[:5]:
                arms = [Moments(int(units[arm]), float(total[arm, run]), float(total_sq[arm, run])) for arm in range(2)]
                got = compare(arms[0], arms[1], kind, ALPHA)
                assert got.anytime.p_value == pytest.approx(max(float(p[run]), SMALLEST_P), rel=1e-6)
                half = float(width * error[run])
                assert got.anytime.interval == pytest.approx((float(gap[run]) - half, float(gap[run]) + half), rel=1e-9, abs=1e-12)
                if got.anytime.relative_interval is not None:
                    low, high = got.anytime.relative_interval
                    inside = abs(float(combined[run])) <= float(width * np.sqrt(relative_squared[run]))
                    assert bounded[run]
                    assert (low <= relative <= high) == inside
    return Outcome(*(float(hit.mean()) for hit in (rejected, missed, relative_missed, fixed_rejected, unpooled_rejected)))


def _bernoulli(p: float) -> Draw:
    return lambda rng, size: (rng.random((RUNS, size), dtype=np.float32) < p).astype(np.float64)


def _lognormal(sigma: float, scale: float = 1.0) -> Draw:
    return lambda rng, size: scale * rng.lognormal(0.0, sigma, (RUNS, size))


def _negative_binomial(shape: float, mean: float) -> Draw:
    return lambda rng, size: rng.negative_binomial(shape, shape / (shape + mean), (RUNS, size)).astype(np.float64)


@pytest.mark.parametrize(
    ("kind", "draw", "mean"),
    [
        ("proportion", _bernoulli(0.05), 0.05),
        ("mean", _lognormal(1.0), float(np.exp(0.5))),
        ("count", _negative_binomial(0.5, 2.0), 2.0),
    ],
    ids=["proportion", "lognormal mean", "negative binomial count"],
)
def test_a_a_runs_keep_their_error_rate(kind: Kind, draw: Draw, mean: float) -> None:
    outcome = _simulate(kind, draw, draw, (mean, mean))
    assert outcome.rejected <= 0.06
    assert outcome.missed == outcome.rejected
    assert outcome.relative_missed <= 0.06
    assert outcome.fixed_rejected >= 0.15, "a fixed test read at every look must be seen to fail here"


@pytest.mark.parametrize(
    ("kind", "control", "treatment", "truth"),
    [
        ("proportion", _bernoulli(0.05), _bernoulli(0.075), (0.05, 0.075)),
        ("mean", _lognormal(1.0), _lognormal(1.0, 1.15), (float(np.exp(0.5)), 1.15 * float(np.exp(0.5)))),
        ("count", _negative_binomial(0.5, 2.0), _negative_binomial(0.5, 2.4), (2.0, 2.4)),
    ],
    ids=["proportion", "lognormal mean", "negative binomial count"],
)
def test_real_effects_are_found_and_covered_at_every_look(kind: Kind, control: Draw, treatment: Draw, truth: tuple[float, float]) -> None:
    outcome = _simulate(kind, control, treatment, truth)
    assert outcome.rejected > 0.80
    assert outcome.missed <= 0.06
    assert outcome.relative_missed <= 0.06


def test_rare_events_in_an_uneven_split_keep_the_error_rate() -> None:
    """Nine of ten units in control and one event in 500: without pooling, the small arm's missing events look certain."""
    outcome = _simulate("proportion", _bernoulli(0.002), _bernoulli(0.002), (0.002, 0.002), share=0.9, largest=200)
    assert outcome.rejected <= 0.06
    assert outcome.missed <= 0.06
    assert outcome.unpooled_rejected >= 0.10


def test_a_real_effect_in_an_uneven_split_is_still_found() -> None:
    outcome = _simulate("proportion", _bernoulli(0.05), _bernoulli(0.09), (0.05, 0.09), share=0.9)
    assert outcome.rejected > 0.80
    assert outcome.missed <= 0.06


def test_ratios_keep_their_error_rate() -> None:
    """Clicks per session, with visitors of very different habits; from `compare` itself, at fewer runs and looks."""
    rng, alarms, runs = np.random.default_rng(77), 0, 150
    for _ in range(runs):
        arms = [RatioMoments(0, 0.0, 0.0, 0.0, 0.0, 0.0)] * 2
        hit = False
        for _look in range(60):
            size = int(rng.integers(5, 80))
            for arm in range(2):
                sessions = rng.geometric(0.4, size)
                clicks = rng.binomial(sessions, rng.beta(0.5, 2.0, size))
                arms[arm] = arms[arm] + RatioMoments.of(clicks, sessions)
            hit = hit or compare(arms[0], arms[1], "ratio").significant
        alarms += hit
    assert alarms / runs <= 0.06


def test_p_value_and_boundary_are_one_statement() -> None:
    sizes = np.array([50.0, 500.0, 2500.0, 1e6])
    for alpha in (0.2, 0.05, 1e-9):
        edge = boundary(sizes, alpha, 2500.0)
        assert p_value(edge, sizes, 2500.0) == pytest.approx(np.full(4, alpha), rel=1e-9)
        assert p_value(-edge, sizes, 2500.0) == pytest.approx(np.full(4, alpha), rel=1e-9)


def test_the_interval_is_tightest_at_the_tuned_size() -> None:
    sizes = np.geomspace(100.0, 1e6, 2001)
    widest_against_fixed = boundary(sizes, 0.05, 2500.0)
    assert sizes[widest_against_fixed.argmin()] == pytest.approx(2500.0, rel=0.01)
    assert widest_against_fixed.min() == pytest.approx(1.55 * 1.96, rel=0.005)


def test_the_clock_of_two_arms() -> None:
    assert two_arms(100, 100) == 50.0
    assert two_arms(10**9, 100) == pytest.approx(100.0, rel=1e-6)


def test_extremes_stay_probabilities() -> None:
    p = p_value(np.array([0.0, 1e-300, 40.0, 1e200, np.inf]), 1e6, 2500.0)
    assert np.all((p > 0.0) & (p <= 1.0))
    assert p[-1] == SMALLEST_P
