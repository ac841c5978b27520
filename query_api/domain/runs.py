"""Runs of the crucible surface: made by their telemetry, and shown as it says."""

from collections.abc import Mapping
from typing import Any, Final

from infra.runtime.errors import NotFound
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.ml_experiments import instant
from query_api.domain.sorted_page import Listed, Wanted
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.run_logs import LogLine, RunLogReader
from query_api.readers.runs import Checkpoint, Run, RunFilter, RunPlace, RunReader
from schemas.position import Positions

_SUMMARISED: Final = 1_000
"""Runs of an experiment that are shown with it and that its summary looks at, the newest."""
_ACCURACIES: Final = ("accuracy", "val_accuracy", "test_accuracy")
_TOTALS: Final = (("epoch", ("epochs", "num_epochs", "total_epochs", "max_epochs")), ("step", ("steps", "total_steps", "max_steps", "num_steps")))
"""What tells how far a run is that does not say it: its place, and the hyperparameters that may say where it ends."""


class Runs:
    """The runs of a tenant."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reader = RunReader(parts.rows)
        self._logs = RunLogReader(parts.rows)

    async def page(self, tenant: str, wanted: RunFilter, page: Wanted, wait: Wait) -> tuple[Listed, Positions]:
        """One page, the newest first, once what the caller waits for is in it. Raises ValidationFailed for a cursor of another list."""
        after = None if page.cursor is None else decode_cursor(page.cursor, RunPlace)
        watermark = await self._parts.freshness.raw(wait)
        offset = 0 if after else (page.page - 1) * page.per_page
        places, total = await self._reader.page(tenant, wanted, limit=page.per_page + 1, offset=offset, after=after)
        shown = places[: page.per_page]
        cursor = encode_cursor(shown[-1]) if len(places) > page.per_page else None
        ids = [place.run_id for place in shown]
        runs, checkpoints = await self._reader.runs(tenant, ids), await self._reader.checkpoints(tenant, ids)
        return Listed([run_json(runs[id], checkpoints.get(id, [])) for id in ids if id in runs], total, page, cursor), watermark

    async def get(self, tenant: str, run_id: str, wait: Wait) -> tuple[dict[str, Any], Positions]:
        """One run. Raises NotFound."""
        watermark = await self._parts.freshness.raw(wait)
        run = await self._run(tenant, run_id)
        return run_json(run, await self._checkpoints(tenant, run_id)), watermark

    async def logs(self, tenant: str, run_id: str, level: str | None, since_us: int | None, tail: int, wait: Wait) -> tuple[list[dict[str, Any]], Positions]:
        """The most recent lines of its log, the oldest of them first. Raises NotFound."""
        watermark = await self._parts.freshness.raw(wait)
        lines = await self._logs.last(tenant, run_id, level=level, since_us=since_us, tail=tail)
        if not lines:
            await self._run(tenant, run_id)
        return [_line_json(line) for line in lines], watermark

    async def checkpoints(self, tenant: str, run_id: str, wait: Wait) -> tuple[list[dict[str, Any]], Positions]:
        """Its checkpoints, the oldest first. Raises NotFound."""
        watermark = await self._parts.freshness.raw(wait)
        found = await self._checkpoints(tenant, run_id)
        if not found:
            await self._run(tenant, run_id)
        return [checkpoint_json(each) for each in found], watermark

    async def checkpoint(self, tenant: str, run_id: str, checkpoint_id: str) -> Checkpoint:
        """One checkpoint; of several with its id the last. Raises NotFound."""
        found = [each for each in await self._checkpoints(tenant, run_id) if each.id == checkpoint_id]
        if not found:
            raise NotFound(f"the run has no checkpoint {checkpoint_id[:100]}")
        return found[-1]

    async def of_experiment(self, tenant: str, experiment: str, wait: Wait) -> tuple[list[dict[str, Any]], dict[str, Any], Positions]:
        """Its newest runs in short, what they came to, and how far both go."""
        watermark = await self._parts.freshness.raw(wait)
        places, total = await self._reader.page(tenant, RunFilter(experiment=experiment), limit=_SUMMARISED)
        runs = await self._reader.runs(tenant, [place.run_id for place in places])
        best = max((run.highest[name] for run in runs.values() for name in _ACCURACIES if name in run.highest), default=None)
        short = [{"id": id, "status": runs[id].status, "progress": _progress(runs[id])} for _, id in places if id in runs]
        return short, {"best_accuracy": best, "total_runs": total}, watermark

    async def _run(self, tenant: str, run_id: str) -> Run:
        found = await self._reader.runs(tenant, [run_id])
        if run_id not in found:
            raise NotFound(f"no telemetry names a run {run_id[:100]}")
        return found[run_id]

    async def _checkpoints(self, tenant: str, run_id: str) -> list[Checkpoint]:
        return (await self._reader.checkpoints(tenant, [run_id])).get(run_id, [])


def run_json(run: Run, checkpoints: list[Checkpoint]) -> dict[str, Any]:
    """As the surface shows a run."""
    place = {f"current_{name}": _whole(value) for name, value in (("epoch", run.epoch), ("step", run.step)) if value is not None}
    return {
        "id": run.run_id,
        "experiment_id": run.experiment or None,
        "status": run.status,
        "progress": _progress(run),
        "hyperparameters": run.hyperparameters,
        "metrics": {**place, **{name: _whole(value) for name, value in run.metrics.items()}},
        "started_at": instant(run.started_us or run.began_us),
        "completed_at": instant(run.ended_us),
        "checkpoints": [checkpoint_json(each) for each in checkpoints],
    }


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


def _line_json(line: LogLine) -> dict[str, Any]:
    return {"timestamp": instant(line.at_us), "level": line.level, "message": line.message, "event_name": line.event_name.split(".")}


def _progress(run: Run) -> float | None:
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
