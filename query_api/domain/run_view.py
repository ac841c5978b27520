"""Runs, their checkpoints and the lines of their logs as the crucible surface shows them."""

from collections.abc import Mapping
from typing import Any, Final

from query_api.domain.instants import instant
from query_api.readers.run_logs import LogLine
from query_api.readers.runs import Checkpoint, Run

_TOTALS: Final = (("epoch", ("epochs", "num_epochs", "total_epochs", "max_epochs")), ("step", ("steps", "total_steps", "max_steps", "num_steps")))
"""What tells how far a run is that does not say it: its place, and the hyperparameters that may say where it ends."""


def run_json(run: Run, checkpoints: list[Checkpoint]) -> dict[str, Any]:
    """As the surface shows a run."""
    return {
        "id": run.run_id,
        "experiment_id": run.experiment or None,
        "status": run.status,
        "progress": progress_of(run),
        "hyperparameters": run.hyperparameters,
        "metrics": shown_metrics(run),
        "started_at": instant(run.started_us or run.began_us),
        "completed_at": instant(run.ended_us),
        "checkpoints": [checkpoint_json(each) for each in checkpoints],
    }


def shown_metrics(run: Run) -> dict[str, Any]:
    """Of each metric the value of the last step, and which epoch and step these are."""
    place = {f"current_{name}": _whole(value) for name, value in (("epoch", run.epoch), ("step", run.step)) if value is not None}
    return {**place, **{name: _whole(value) for name, value in run.metrics.items()}}


def checkpoint_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """As the surface shows a checkpoint."""
    return {
        **{name: _whole(value) for name, value in checkpoint.metrics.items()},
        "id": checkpoint.id,
        "epoch": _whole(checkpoint.epoch),
        "step": _whole(checkpoint.step),
        "path": checkpoint.path or None,
        "created_at": instant(checkpoint.at_us),
    }


def line_json(line: LogLine) -> dict[str, Any]:
    """As the surface shows a line of a log."""
    return {"timestamp": instant(line.at_us), "level": line.level, "message": line.message, "event_name": line.event_name.split(".")}


def progress_of(run: Run) -> float | None:
    """Between 0 and 1: what the run said, else how much of its epochs or steps is behind it; None when neither is known."""
    if run.status == "completed":
        return 1.0
    if run.progress is not None:
        return min(max(run.progress, 0.0), 1.0)
    for place, names in _TOTALS:
        reached, total = getattr(run, place), _total(run.hyperparameters, names)
        if reached is not None and total:
            return float(min(max(reached / total, 0.0), 1.0))
    return None


def _total(hyperparameters: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    return next((value for name in names if isinstance(value := hyperparameters.get(name), int | float) and value > 0), None)


def _whole(value: float | None) -> float | int | None:
    return int(value) if value is not None and value.is_integer() and abs(value) < 2**53 else value
