"""Comparisons as files: what the runs of experiments came to, in each format."""

import csv
import io
from typing import Any

import orjson
import pytest

from query_api.control.ml_experiments import MlExperiment
from query_api.domain.comparison_report import Comparison, comparison_of, rendered
from query_api.domain.run_figures import MeanOfRuns, RunFigures


def experiment(id: str) -> MlExperiment:
    return MlExperiment(1, "acme", id, f"of {id}", "", "running", {}, [], None, None, 0, 0)


FIRST = RunFigures(
    1_500, 1_000, 998, 2, {"val_acc": MeanOfRuns(5, 0.9123, (0.8996, 0.9250)), "loss": MeanOfRuns(1, 0.25, None), "own": MeanOfRuns(1, 1.0, None)}
)
SECOND = RunFigures(3, 3, 1, 0, {"val_acc": MeanOfRuns(1, 0.5, None), "odd": MeanOfRuns(1, 1.0, None)})
THIRD = RunFigures(0, 0, 0, 0, {})
FOURTH = RunFigures(1, 1, 1, 0, {"loss": MeanOfRuns(1, 0.5, None)})


@pytest.fixture
def four() -> Comparison:
    return comparison_of([experiment(id) for id in "abcd"], [FIRST, SECOND, THIRD, FOURTH])


def test_json(four: Comparison) -> None:
    data = orjson.loads(rendered(four, "json", "plain"))["data"]
    assert data["shared_metrics"] == ["loss", "val_acc"], "what one experiment has alone compares nothing"
    first, second, third, _ = data["experiments"]
    assert first["runs"] == {"total": 1_500, "counted": 1_000, "completed": 998, "failed": 2}
    assert first["metrics"] == {"val_acc": {"n": 5, "mean": 0.9123, "interval": [0.8996, 0.9250]}, "loss": {"n": 1, "mean": 0.25, "interval": None}}
    assert list(second["metrics"]) == ["val_acc"] and third["metrics"] == {} and third["runs"]["total"] == 0


def test_csv(four: Comparison) -> None:
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(rendered(four, "csv", "plain").decode(), newline="")))
    assert list(rows[0])[6:] == ["runs.total", "runs.counted", "runs.completed", "runs.failed", "metrics.loss", "metrics.val_acc"]
    assert list(rows[0].values())[6:] == ["1500", "1000", "998", "2", "0.25 (n=1)", "0.912 ± 0.013 (n=5)"]
    assert list(rows[2].values())[6:] == ["0", "0", "0", "0", "", ""]


def test_markdown(four: Comparison) -> None:
    titles, _, first, second, *_ = rendered(four, "markdown", "plain").decode().splitlines()
    assert titles.endswith("| Tags | Runs | Runs counted (the newest 1,000) | Runs completed | Runs failed | loss | val\\_acc |")
    assert first.endswith("| 1500 | 1000 | 998 | 2 | 0.25 (n=1) | 0.912 ± 0.013 (n=5) |") and second.endswith("| 3 | 3 | 1 | 0 |  | 0.5 (n=1) |")


@pytest.mark.parametrize("template", ["plain", "publication"])
def test_latex(four: Comparison, template: Any) -> None:
    text = rendered(four, "latex", template).decode()
    first = next(line for line in text.splitlines() if line.startswith("a &"))
    assert first.endswith(r" & 998 & 2 & $0.25\ (n = 1)$ & $0.912 \pm 0.013\ (n = 5)$ \\") and r"val\_acc" in text and text.isascii()
    assert (r"half width of their 95\% confidence interval" in text) == (template == "publication")


def test_of_few_runs_all_count() -> None:
    """Which is then not said."""
    text = rendered(comparison_of([experiment("b"), experiment("c")], [SECOND, THIRD]), "markdown", "plain").decode()
    assert "| Runs | Runs completed | Runs failed |\n" in text and "val" not in text
