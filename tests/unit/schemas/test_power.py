"""The planner: the textbook formula, and the power that experiments of the planned size have."""

import math

import numpy as np
import pytest
from scipy import stats

from schemas.confidence_sequence import TUNED_UNITS, p_value, two_arms
from schemas.power import plan

RUNS = 4_000


def test_the_fixed_size_is_the_textbook_one() -> None:
    got = plan(0.1, 0.1, daily_units=1_000)
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    expected = math.ceil(z**2 * (0.1 * 0.9 + 0.11 * 0.89) / 0.01**2)
    assert (got.fixed.units_per_variant, got.fixed.units, got.fixed.days) == (expected, 2 * expected, math.ceil(2 * expected / 1000))
    assert plan(50.0, 0.02, standard_deviation=20.0).fixed.units_per_variant == math.ceil(z**2 * 2 * 400)
    assert got.fixed.units_per_variant < got.anytime.units_per_variant and got.factor == got.anytime.units_per_variant / got.fixed.units_per_variant


def test_a_decrease_and_a_negative_mean_can_be_planned() -> None:
    up, down = plan(50.0, 0.02, standard_deviation=20.0), plan(50.0, -0.02, standard_deviation=20.0)
    assert (up.fixed, up.anytime) == (down.fixed, down.anytime)
    assert plan(-50.0, 0.02, standard_deviation=20.0).fixed == up.fixed


def test_more_variants_share_the_error_rate() -> None:
    two, four = plan(0.1, 0.1), plan(0.1, 0.1, variants=4)
    assert four.alpha_per_comparison == pytest.approx(0.05 / 3)
    assert four.fixed.units_per_variant > two.fixed.units_per_variant
    assert four.fixed.units == 4 * four.fixed.units_per_variant


def test_experiments_of_the_fixed_size_have_the_power() -> None:
    size = plan(0.1, 0.2, power=0.9).fixed.units_per_variant
    rng = np.random.default_rng(1)
    a, b = rng.binomial(size, 0.1, RUNS) / size, rng.binomial(size, 0.12, RUNS) / size
    z = np.abs(b - a) / np.sqrt((a * (1 - a) + b * (1 - b)) / size)
    assert (z > stats.norm.ppf(0.975)).mean() == pytest.approx(0.9, abs=0.015)


def test_experiments_of_the_always_valid_size_have_the_power_and_most_stop_before() -> None:
    size = plan(0.1, 0.2).anytime.units_per_variant
    rng, looks = np.random.default_rng(2), 25
    units = np.linspace(size / looks, size, looks).astype(int)
    steps = np.diff(units, prepend=0)[:, None]
    a, b = (rng.binomial(steps, share, (looks, RUNS)).cumsum(axis=0) / units[:, None] for share in (0.1, 0.12))
    z = (b - a) / np.sqrt((a * (1 - a) + b * (1 - b)) / units[:, None])
    found = p_value(z, two_arms(units, units)[:, None], TUNED_UNITS / 2) <= 0.05
    assert found[-1].mean() == pytest.approx(0.8, abs=0.02)
    assert found.any(axis=0).mean() >= 0.82
    assert np.median(units[found.argmax(axis=0)][found.any(axis=0)]) < 0.75 * size


@pytest.mark.parametrize(
    ("baseline", "effect", "settings", "words"),
    [
        (0.0, 0.1, {}, "other than 0"),
        (0.1, 0.0, {}, "other than 0"),
        (math.nan, 0.1, {}, "other than 0"),
        (1.5, 0.1, {}, "standard_deviation"),
        (-0.1, 0.1, {}, "standard_deviation"),
        (0.6, 1.0, {}, "smaller"),
        (0.1, 0.1, {"alpha": 1.0}, "alpha"),
        (0.1, 0.1, {"power": 0.0}, "power"),
        (0.1, 0.1, {"power": 0.02}, "power"),
        (0.1, 0.1, {"variants": 1}, "variants"),
        (0.1, 0.1, {"daily_units": 0.5}, "daily_units"),
        (5.0, 0.1, {"standard_deviation": -1.0}, "standard_deviation"),
    ],
)
def test_what_cannot_be_planned_is_refused(baseline: float, effect: float, settings: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan(baseline, effect, **settings)  # type: ignore[arg-type]


def test_an_effect_out_of_reach_is_said() -> None:
    assert not plan(0.1, 1e-9).reachable
    assert plan(0.1, 0.01).reachable
