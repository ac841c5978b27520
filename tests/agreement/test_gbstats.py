"""Every number that GrowthBook's statistics also compute, on 300 generated data sets, to a relative 1e-6."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from schemas.bayes import belief
from schemas.confidence_sequence import TUNED_UNITS, prior_units
from schemas.cuped import CovariateMoments, adjust
from schemas.moments import Moments, RatioMoments
from schemas.quantiles import OrderStatistics, Z, compare_quantiles, rank
from schemas.sample_ratio import chi_square
from schemas.significance import Comparison, Reading, compare

Array = np.ndarray[Any, np.dtype[np.float64]]
PER_KIND = 60
KINDS = ("proportion", "mean", "ratio", "cuped", "quantile")


@dataclass
class Case:
    """A data set as gbstats takes it, and what this platform makes of it."""

    kind: str
    ours: Comparison
    sent: dict[str, Any]
    fair: bool
    """Whether both arms have the same size, so that no pooling widens the sequential interval."""


def _tuning(units: int, alpha: float) -> float:
    """gbstats' parameter at which its mixture is this platform's: theirs is tuned in all units and by an approximation that depends on alpha."""
    h = units / (prior_units(float(TUNED_UNITS)) + 1.0)
    return 2.0 * units * (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / h


def _sums(kind: str, y: Array, x: Array | None = None) -> dict[str, Any]:
    sums: dict[str, Any] = {"kind": kind, "n": int(y.size), "sum": float(y.sum()), "sum_squares": float(y @ y)}
    if x is not None:
        sums |= {"other_sum": float(x.sum()), "other_sum_squares": float(x @ x), "products": float(x @ y)}
    return sums


def _order(values: Array, nu: float) -> dict[str, Any]:
    n, ordered = int(values.size), np.sort(values)
    hat, lower, upper = (float(ordered[rank(n, nu, level) - 1]) for level in (0.0, -Z, Z))
    # gbstats takes the variance of n units for that of n - 1.
    widen = math.sqrt(n / (n - 1))
    return {"kind": "quantile", "n": n, "nu": nu, "hat": hat, "lower": lower * widen, "upper": upper * widen}


def _case(kind: str, rng: np.random.Generator, number: int) -> Case:
    alpha = float(rng.choice([0.01, 0.05, 0.2]))
    fair = number % 2 == 0
    sizes = [int(n) for n in rng.integers(150, 3000, size=2)]
    sizes = [sizes[0], sizes[0]] if fair else sizes
    lift = float(rng.uniform(0.9, 1.2))
    if kind == "proportion":
        draws = [(rng.random(n) < 0.2 * factor).astype(np.float64) for n, factor in zip(sizes, (1.0, lift), strict=True)]
        ours = compare(Moments.of(draws[0]), Moments.of(draws[1]), "proportion", alpha)
        arms = [_sums(kind, y) for y in draws]
    elif kind == "ratio":
        below: list[Array] = [rng.poisson(3.0, n).astype(np.float64) + 1.0 for n in sizes]
        above = [rng.binomial(x.astype(int), 0.3 * factor).astype(np.float64) for x, factor in zip(below, (1.0, lift), strict=True)]
        ours = compare(RatioMoments.of(above[0], below[0]), RatioMoments.of(above[1], below[1]), "ratio", alpha)
        arms = [_sums(kind, y, x) for y, x in zip(above, below, strict=True)]
    elif kind == "cuped":
        before: list[Array] = [rng.gamma(2.0, 3.0, n) for n in sizes]
        after: list[Array] = [factor * x * rng.uniform(0.5, 1.5, x.size) + rng.normal(3.0, 2.0, x.size) for x, factor in zip(before, (1.0, lift), strict=True)]
        adjusted = adjust({"a": CovariateMoments.of(after[0], before[0]), "b": CovariateMoments.of(after[1], before[1])}).arms
        ours = compare(adjusted["a"], adjusted["b"], "mean", alpha)
        arms = [_sums(kind, y, x) for y, x in zip(after, before, strict=True)]
    elif kind == "quantile":
        nu = float(rng.choice([0.25, 0.5, 0.9]))
        draws = [10.0 * factor * rng.lognormal(0.0, 1.0, n) for n, factor in zip(sizes, (1.0, lift), strict=True)]
        ours = compare_quantiles(OrderStatistics.of(draws[0], nu), OrderStatistics.of(draws[1], nu), alpha)
        arms = [_order(values, nu) for values in draws]
    else:
        draws = [factor * rng.gamma(rng.uniform(0.5, 4.0), 5.0, n) for n, factor in zip(sizes, (1.0, lift), strict=True)]
        ours = compare(Moments.of(draws[0]), Moments.of(draws[1]), "mean", alpha)
        arms = [_sums("mean", y) for y in draws]
    sent = {"control": arms[0], "treatment": arms[1], "alpha": alpha, "inverse": bool(number % 3 == 0), "tuning": _tuning(sizes[0], alpha)}
    return Case(kind, ours, sent, fair)


def _cases() -> Iterator[Case]:
    rng = np.random.default_rng(20260101)
    for kind in KINDS:
        for number in range(PER_KIND):
            yield _case(kind, rng, number)


def _close(got: Any, expected: Any) -> None:
    # 1 minus a distribution function leaves gbstats about 1e-16 of absolute accuracy in a p-value.
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-13)


def _both(reading: Reading) -> tuple[float, tuple[float, float], tuple[float, float]]:
    assert reading.p_value is not None and reading.interval is not None and reading.relative_interval is not None
    return reading.p_value, reading.interval, reading.relative_interval


@pytest.fixture(scope="module")
def computed(gbstats: Path) -> list[tuple[Case, dict[str, Any]]]:
    cases = list(_cases())
    program = Path(__file__).with_name("gbstats_figures.py")
    done = subprocess.run([str(gbstats), str(program)], input=json.dumps([case.sent for case in cases]), capture_output=True, text=True, check=True)
    return list(zip(cases, json.loads(done.stdout), strict=True))


def test_there_are_enough_data_sets(computed: list[tuple[Case, dict[str, Any]]]) -> None:
    assert len(computed) >= 200
    assert not [theirs["absolute"]["error"] for _, theirs in computed if theirs["absolute"]["error"]]
    assert {case.ours.significant for case, _ in computed} == {True, False}


def test_differences_and_fixed_horizon_readings_agree(computed: list[tuple[Case, dict[str, Any]]]) -> None:
    for case, theirs in computed:
        ours, absolute, relative = case.ours, theirs["absolute"], theirs["relative"]
        p, interval, relative_interval = _both(ours.fixed)
        _close(ours.difference, absolute["expected"])
        _close(ours.standard_error, absolute["standard_error"])
        student = case.kind in ("mean", "cuped")
        _close(interval, tuple(absolute["t_interval" if student else "z_interval"]))
        if case.kind != "cuped":  # gbstats divides an adjusted difference by the unadjusted control value
            _close(ours.relative_difference, relative["expected"])
            _close(relative_interval, tuple(relative["t_interval" if student else "z_interval"]))
        if student:
            _close(p, absolute["t_p_value"])
        elif case.kind == "proportion":
            n = [case.sent[arm]["n"] for arm in ("control", "treatment")]
            hits = [case.sent[arm]["sum"] for arm in ("control", "treatment")]
            table = [[hits[0], n[0] - hits[0]], [hits[1], n[1] - hits[1]]]
            _close(p, float(stats.chi2_contingency(table, correction=False).pvalue))
        else:
            _close(p, float(2 * stats.norm.sf(abs(absolute["expected"]) / absolute["standard_error"])))


def test_always_valid_readings_agree(computed: list[tuple[Case, dict[str, Any]]]) -> None:
    """Quantiles are left out: gbstats takes theirs as normal, here they are read without that."""
    compared = 0
    for case, theirs in computed:
        if case.fair and case.kind != "quantile":
            p, interval, _ = _both(case.ours.anytime)
            _close(interval, tuple(theirs["sequential"]["interval"]))
            _close(p, theirs["sequential"]["p_value"])
            compared += 1
    assert compared >= 100


def test_chance_to_win_and_expected_loss_agree(computed: list[tuple[Case, dict[str, Any]]]) -> None:
    for case, theirs in computed:
        assert case.ours.difference is not None and case.ours.standard_error is not None
        inverse = case.sent["inverse"]
        ours = belief(case.ours.difference, case.ours.standard_error, alpha=case.ours.alpha, lower_is_better=inverse)
        assert ours is not None
        _close(ours.chance_to_win, theirs["absolute"]["chance_to_win"])
        _close(ours.credible_interval, tuple(theirs["absolute"]["z_interval"]))
        _close(ours.expected_loss, theirs["absolute"]["risk"][1])


def test_the_sample_ratio_agrees(computed: list[tuple[Case, dict[str, Any]]]) -> None:
    for case, theirs in computed:
        counts = {arm: case.sent[arm]["n"] for arm in ("control", "treatment")}
        _close(chi_square(counts, {"control": 1.0, "treatment": 1.0}), theirs["srm"])
