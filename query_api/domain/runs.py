"""Runs of the crucible surface: made by their telemetry, and shown as it says."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from infra.runtime.errors import NotFound
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.run_view import checkpoint_json, line_json, progress_of, run_json
from query_api.domain.sorted_page import Listed, Wanted
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.run_logs import RunLogReader
from query_api.readers.runs import Checkpoint, Run, RunFilter, RunPlace, RunReader
from schemas.position import Positions

SUMMARISED: Final = 1_000
"""Runs of an experiment that are shown with it and that summaries look at, the newest."""
_PART: Final = 100
"""Runs that are held at once where all are read."""
_ACCURACIES: Final = ("accuracy", "val_accuracy", "test_accuracy")


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
        places = await self._reader.places(tenant, wanted, limit=page.per_page + 1, offset=offset, after=after)
        total = await self._reader.total(tenant, wanted)
        shown = places[: page.per_page]
        cursor = encode_cursor(shown[-1]) if len(places) > page.per_page else None
        return Listed(await self._shown(tenant, shown), total, page, cursor), watermark

    async def whole(self, tenant: str, experiment: str) -> AsyncGenerator[list[dict[str, Any]]]:
        """Every run of an experiment, in parts of a hundred, the newest first; waits for nothing. Raises QueryLimit and Unavailable, also in the middle."""
        after: RunPlace | None = None
        while True:
            places = await self._reader.places(tenant, RunFilter(experiment=experiment), limit=_PART, after=after)
            yield await self._shown(tenant, places)
            if len(places) < _PART:
                return
            after = places[-1]

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
        return [line_json(line) for line in lines], watermark

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
        runs, total = await self.newest(tenant, experiment)
        best = max((run.highest[name] for run in runs for name in _ACCURACIES if name in run.highest), default=None)
        short = [{"id": run.run_id, "status": run.status, "progress": progress_of(run)} for run in runs]
        return short, {"best_accuracy": best, "total_runs": total}, watermark

    async def newest(self, tenant: str, experiment: str) -> tuple[list[Run], int]:
        """The newest `SUMMARISED` runs of an experiment, those that began last first, and how many it has altogether; waits for nothing."""
        wanted = RunFilter(experiment=experiment)
        places, total = await self._reader.places(tenant, wanted, limit=SUMMARISED), await self._reader.total(tenant, wanted)
        runs = await self._reader.runs(tenant, [place.run_id for place in places])
        return [runs[id] for _, id in places if id in runs], total

    async def _shown(self, tenant: str, places: Sequence[RunPlace]) -> list[dict[str, Any]]:
        ids = [place.run_id for place in places]
        runs, checkpoints = await self._reader.runs(tenant, ids), await self._reader.checkpoints(tenant, ids)
        return [run_json(runs[id], checkpoints.get(id, [])) for id in ids if id in runs]

    async def _run(self, tenant: str, run_id: str) -> Run:
        found = await self._reader.runs(tenant, [run_id])
        if run_id not in found:
            raise NotFound(f"no telemetry names a run {run_id[:100]}")
        return found[run_id]

    async def _checkpoints(self, tenant: str, run_id: str) -> list[Checkpoint]:
        return (await self._reader.checkpoints(tenant, [run_id])).get(run_id, [])
