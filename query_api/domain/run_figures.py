"""What the runs of an experiment came to together: how many ended how, and of each metric the mean over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from query_api.readers.runs import Run
from schemas.arm_interval import mean_interval
from schemas.moments import Moments
from schemas.significance import Interval

_ALPHA: Final = 0.05
"""Intervals are at 1 - alpha, 95 %."""


@dataclass(frozen=True)
class MeanOfRuns:
    """Of a metric, over the last value of every run that has it."""

    n: int
    """Runs that have the metric."""
    mean: float | None
    """None beyond what a double holds."""
    interval: Interval | None
    """Student's t at 95 % (`schemas.arm_interval`), right where the runs are independent of each other; None for one run and for values that are all the
    same, which tell no spread."""


@dataclass(frozen=True)
class RunFigures:
    """Over the runs that count; means are by metric, in the order of their names."""

    total: int
    """Of the experiment, whether they count or not."""
    counted: int
    completed: int
    failed: int
    metrics: Mapping[str, MeanOfRuns]


def figures_of(runs: Sequence[Run], total: int) -> RunFigures:
    """What these runs, of so many that the experiment has, came to."""
    statuses = [run.status for run in runs]
    names = sorted({name for run in runs for name in run.metrics})
    metrics = {name: _mean([run.metrics[name] for run in runs if name in run.metrics]) for name in names}
    return RunFigures(total, len(runs), statuses.count("completed"), statuses.count("failed"), metrics)


def _mean(values: Sequence[float]) -> MeanOfRuns:
    # Values whose squares are no numbers have no interval, which is no cause for a warning.
    with np.errstate(over="ignore", invalid="ignore"):
        moments = Moments.of(values, shift=values[0])
    mean = moments.mean
    return MeanOfRuns(moments.count, mean if mean is not None and np.isfinite(mean) else None, mean_interval(moments, "mean", _ALPHA).fixed)
