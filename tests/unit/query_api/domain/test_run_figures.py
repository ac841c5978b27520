"""What runs came to together, and how a mean with its interval is written."""

import math

import numpy as np
import pytest
from scipy import stats

from query_api.domain.plus_minus import formula, text
from query_api.domain.run_figures import MeanOfRuns, figures_of
from query_api.readers.runs import Run


def run(status: str, **metrics: float) -> Run:
    return Run("r", "exp", 0, status, None, None, None, None, None, {}, metrics)


def of(mean: float | None, half: float | None, n: int = 5) -> MeanOfRuns:
    return MeanOfRuns(n, mean, None if mean is None or half is None else (mean - half, mean + half))


def test_counts_and_means() -> None:
    values = [0.91, 0.93, 0.9, 0.92]
    runs = [*(run("completed", accuracy=value) for value in values), run("failed", loss=3.0), run("running")]
    found = figures_of(runs, 2_000)
    assert (found.total, found.counted, found.completed, found.failed) == (2_000, 6, 4, 1)
    assert list(found.metrics) == ["accuracy", "loss"]
    accuracy = found.metrics["accuracy"]
    assert accuracy.n == 4 and accuracy.mean == pytest.approx(np.mean(values), rel=1e-14)
    assert accuracy.interval == pytest.approx(stats.t.interval(0.95, 3, np.mean(values), stats.sem(values)), rel=1e-12)
    assert found.metrics["loss"] == MeanOfRuns(1, 3.0, None)
    assert figures_of([], 0).metrics == {}


@pytest.mark.parametrize(("values", "mean"), [([0.1, 0.1, 0.1], 0.1), ([1e200, -1e200], 0.0), ([1e308, -1e308, 1.5e308], None)])
def test_without_an_interval(values: list[float], mean: float | None) -> None:
    """No spread, squares that are no numbers, and a sum that is none."""
    assert figures_of([run("completed", m=value) for value in values], 3).metrics["m"] == MeanOfRuns(len(values), mean, None)


@pytest.mark.parametrize("base", [1e9, -1e9])
def test_a_small_spread_around_a_large_value_is_not_lost(base: float) -> None:
    found = figures_of([run("completed", m=base + each) for each in (0.0, 0.001, 0.002)], 3).metrics["m"]
    assert found.interval is not None and found.interval[1] - found.interval[0] == pytest.approx(2 * 4.302652730 * 0.001 / math.sqrt(3), rel=1e-3)


@pytest.mark.parametrize(
    ("value", "written", "latex"),
    [
        (of(0.9123, 0.01264), "0.912 ± 0.013 (n=5)", r"0.912 \pm 0.013\ (n = 5)"),
        (of(-0.9123, 0.0996), "-0.91 ± 0.10 (n=5)", r"-0.91 \pm 0.10\ (n = 5)"),
        (of(-0.0004, 0.13), "0.00 ± 0.13 (n=5)", r"0.00 \pm 0.13\ (n = 5)"),
        (of(12_345.6, 134.0), "12346 ± 134 (n=5)", r"12346 \pm 134\ (n = 5)"),
        (of(24.0, 9.96), "24 ± 10 (n=5)", r"24 \pm 10\ (n = 5)"),
        (of(3.004e-9, 1.2e-10), "(3.00 ± 0.12)e-09 (n=5)", r"(3.00 \pm 0.12) \times 10^{-9}\ (n = 5)"),
        (of(2e12, 3e13, 2), "(0.2 ± 3.0)e+13 (n=2)", r"(0.2 \pm 3.0) \times 10^{13}\ (n = 2)"),
        (of(0.0, 4e-320), "(0.0 ± 4.0)e-320 (n=5)", r"(0.0 \pm 4.0) \times 10^{-320}\ (n = 5)"),
        (of(0.91, None, 1), "0.91 (n=1)", r"0.91\ (n = 1)"),
        (of(45.0, None), "45 (n=5)", r"45\ (n = 5)"),
        (of(0.0, None), "0 (n=5)", r"0\ (n = 5)"),
        (of(999_999.9, None), "1e+06 (n=5)", r"1 \times 10^{6}\ (n = 5)"),
        (of(1.5e300, None), "1.5e+300 (n=5)", r"1.5 \times 10^{300}\ (n = 5)"),
        (of(None, None), "(n=5)", "(n = 5)"),
    ],
)
def test_how_it_is_written(value: MeanOfRuns, written: str, latex: str) -> None:
    assert text(value) == written and formula(value) == latex
