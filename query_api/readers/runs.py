"""Runs of experiments: which there are, and what the telemetry of one says of its state, its metrics and its checkpoints."""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from query_api.readers.batches import batches
from query_api.readers.rows import Rows, integer
from schemas.run_sql import EPOCH, IS_CHECKPOINT, NO_METRICS, STEP

_FOUND: Final = """
SELECT run_id, toUnixTimestamp64Micro(min(began)) AS began_us, argMaxIfMerge(status) AS said FROM runs
WHERE tenant = {{tenant:String}}{of}
GROUP BY run_id HAVING {having}
"""
_PAGE: Final = f"{_FOUND} ORDER BY began_us DESC, run_id DESC LIMIT {{{{limit:UInt32}}}} OFFSET {{{{offset:UInt64}}}}"
_COUNT: Final = f"SELECT count() AS total FROM ({_FOUND})"
_OF_EXPERIMENT: Final = " AND run_id IN (SELECT run_id FROM runs WHERE tenant = {tenant:String} GROUP BY run_id HAVING max(experiment) = {experiment:String})"
# A run of which no event told its state runs.
_STATUS: Final = "if(said = '', 'running', said)"
_BEHIND: Final = "(began_us, run_id) < ({after_us:Int64}, {after_run:String})"

_STATE: Final = """
SELECT run_id, max(experiment) AS of_experiment, toUnixTimestamp64Micro(min(began)) AS began_us, argMaxIfMerge(status) AS said,
       toUnixTimestamp64Micro(minIfMerge(started)) AS started_us, toUnixTimestamp64Micro(maxIfMerge(ended)) AS ended_us,
       argMaxMerge(progress) AS done, max(step) AS last_step, max(epoch) AS last_epoch,
       arrayMap(told -> told.2, arraySort(groupUniqArrayIfMerge(1000)(hyperparameters))) AS named
FROM runs WHERE tenant = {tenant:String} AND run_id IN {runs:Array(String)} GROUP BY run_id
"""
_METRICS: Final = """
SELECT run_id, name, argMaxMerge(last) AS value, max(highest) AS most FROM run_metrics
WHERE tenant = {tenant:String} AND run_id IN {runs:Array(String)} GROUP BY run_id, name ORDER BY run_id, name
"""
_CHECKPOINTS: Final = f"""
SELECT run_id, event_id, toUnixTimestamp64Micro(time) AS at_us, {STEP} AS step, {EPOCH} AS epoch, measurements, metadata
FROM run_events FINAL WHERE tenant = {{tenant:String}} AND run_id IN {{runs:Array(String)}} AND {IS_CHECKPOINT} ORDER BY run_id, time, event_id
"""


_IDS_AT_ONCE: Final = 24_000
"""Bytes of ids that one statement names: a parameter also where all of their characters are escaped."""


class RunPlace(NamedTuple):
    """Place of a run in a list: the newest first."""

    began_us: Annotated[int, Meta(ge=-(2**62), le=2**62)]
    run_id: str


@dataclass(frozen=True)
class RunFilter:
    """Which runs; None leaves a field open."""

    status: str | None = None
    experiment: str | None = None


@dataclass
class Run:
    """What telemetry says of a run."""

    run_id: str
    experiment: str
    """Empty where no event named one."""
    began_us: int
    """Time of its first event."""
    status: str
    """pending, running, completed or failed."""
    started_us: int | None
    ended_us: int | None
    """When it completed or failed, where that is its state."""
    progress: float | None
    """As it was told last."""
    step: float | None
    """The highest so far."""
    epoch: float | None
    hyperparameters: dict[str, Any]
    """What its events named, later ones over earlier ones."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of each name the value of the last step, however late it came; of equal steps the last in time."""
    highest: dict[str, float] = field(default_factory=dict)


class Checkpoint(NamedTuple):
    """A checkpoint that a run wrote."""

    id: str
    at_us: int
    step: float | None
    epoch: float | None
    path: str
    """As the program named it; empty where it did not."""
    metrics: Mapping[str, float]


class RunReader:
    """Reads runs of a tenant. An event that came in several batches counts once, and quarantined ones do not."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def places(self, tenant: str, wanted: RunFilter, *, limit: int, offset: int = 0, after: RunPlace | None = None) -> list[RunPlace]:
        """Places of up to `limit` runs, by when they began, the newest first."""
        of, having, params = _conditions(tenant, wanted)
        if after is not None:
            having.append(_BEHIND)
            params |= {"after_us": after.began_us, "after_run": after.run_id}
        sql = _PAGE.format(of=of, having=" AND ".join(having))
        rows = await self._rows.query(sql, {**params, "limit": limit, "offset": offset})
        return [RunPlace(integer(row["began_us"]), row["run_id"]) for row in rows]

    async def total(self, tenant: str, wanted: RunFilter) -> int:
        """How many runs these are."""
        of, having, params = _conditions(tenant, wanted)
        (row,) = await self._rows.query(_COUNT.format(of=of, having=" AND ".join(having)), params)
        return integer(row["total"])

    async def runs(self, tenant: str, run_ids: Sequence[str]) -> dict[str, Run]:
        """These runs with their metrics, by id; none for ids that no event named."""
        found: dict[str, Run] = {}
        for part in batches(run_ids, _IDS_AT_ONCE):
            params = {"tenant": tenant, "runs": part}
            states = await self._rows.query(_STATE, params)
            found |= {row["run_id"]: _run(row) for row in states}
            for row in await self._rows.query(_METRICS, params) if states else ():
                # A run may have begun between the two reads.
                if row["run_id"] in found:
                    found[row["run_id"]].metrics[row["name"]] = float(row["value"])
                    found[row["run_id"]].highest[row["name"]] = float(row["most"])
        return found

    async def checkpoints(self, tenant: str, run_ids: Sequence[str]) -> dict[str, list[Checkpoint]]:
        """The checkpoints of each of these runs, the oldest first."""
        found: dict[str, list[Checkpoint]] = defaultdict(list)
        for part in batches(run_ids, _IDS_AT_ONCE):
            for row in await self._rows.query(_CHECKPOINTS, {"tenant": tenant, "runs": part}):
                found[row["run_id"]].append(_checkpoint(row))
        return found


def _conditions(tenant: str, wanted: RunFilter) -> tuple[str, list[str], dict[str, Any]]:
    """What is asked of the rows and of the runs that they make, with its parameters."""
    of, having, params = "", ["1"], {"tenant": tenant}
    if wanted.experiment is not None:
        of, params["experiment"] = _OF_EXPERIMENT, wanted.experiment
    if wanted.status is not None:
        having.append(f"{_STATUS} = {{status:String}}")
        params["status"] = wanted.status
    return of, having, params


def _run(row: Mapping[str, Any]) -> Run:
    status = row["said"] or "running"
    hyperparameters: dict[str, Any] = {}
    for text in row["named"]:
        hyperparameters |= json.loads(text)
    return Run(
        row["run_id"],
        row["of_experiment"],
        integer(row["began_us"]),
        status,
        integer(row["started_us"]) or None,
        integer(row["ended_us"]) if status in ("completed", "failed") else None,
        _number(row["done"]),
        _number(row["last_step"]),
        _number(row["last_epoch"]),
        hyperparameters,
    )


def _checkpoint(row: Mapping[str, Any]) -> Checkpoint:
    measured, told = (_object(row[name]) for name in ("measurements", "metadata"))
    path = next((told[name] for name in ("path", "checkpoint_path") if isinstance(told.get(name), str)), "")
    name = told.get("checkpoint_id")
    metrics = {name: float(value) for name, value in measured.items() if _is_number(value) and name not in NO_METRICS}
    return Checkpoint(
        name if isinstance(name, str) and name else row["event_id"], integer(row["at_us"]), _number(row["step"]), _number(row["epoch"]), path, metrics
    )


def _number(value: float | None) -> float | None:
    # Whole ones come without a point.
    return None if value is None else float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:  # an integer of thousands of digits
        value = {}
    return value if isinstance(value, dict) else {}
