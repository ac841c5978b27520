"""`runs`: listed and read with their logs and checkpoints. Telemetry makes them."""

import asyncio
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, RedirectResponse, Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, Waits
from query_api.domain.checkpoint_files import file_of
from query_api.domain.ml_experiments import MlExperiments
from query_api.domain.runs import Runs
from query_api.errors import error_responses
from query_api.readers.runs import RunFilter
from query_api.surfaces.crucible.answers import ONE_ERRORS, READ_ERRORS, PageMeta, WantedPage, filters, one, page_of
from query_api.surfaces.crucible.experiments import ExperimentId
from query_api.surfaces.crucible.policy import CRUCIBLE
from query_api.surfaces.times import micros

router = APIRouter(tags=["runs"])

RunStatus = Literal["pending", "running", "completed", "failed"]
Level = Literal["debug", "info", "warning", "error"]
Reader = Annotated[Caller, Allowed("experiments:read")]
RunId = Annotated[
    str,
    Path(
        description="Id of the run: `run_id` in the metadata of its events, a text of at most 512 characters or a whole number.",
        examples=["run_xyz789"],
        max_length=512,
    ),
]
_FRESH: Final = ("query_limit", "not_visible_yet")


class Checkpoint(BaseModel):
    """A checkpoint, with what was measured at it beside these fields."""

    model_config = ConfigDict(extra="allow")

    id: str
    epoch: float | None
    step: float | None
    path: str | None
    created_at: AwareDatetime


class Run(BaseModel):
    """What telemetry says of a run."""

    id: str
    experiment_id: str | None
    status: RunStatus
    progress: float | None = Field(ge=0, le=1, description="Null where nothing tells how far it is.")
    hyperparameters: dict[str, Any]
    metrics: dict[str, Any] = Field(description="Of each measurement the value of the last step, and `current_epoch`, `current_step`.")
    started_at: AwareDatetime
    completed_at: AwareDatetime | None
    checkpoints: list[Checkpoint]


class LogLine(BaseModel):
    timestamp: AwareDatetime
    level: Level
    message: str
    event_name: list[str]


class OneRun(BaseModel):
    data: Run


class SeveralRuns(BaseModel):
    data: list[Run]
    meta: PageMeta


class Lines(BaseModel):
    data: list[LogLine]


class Checkpoints(BaseModel):
    data: list[Checkpoint]


_EXAMPLE: Final[dict[str, Any]] = {
    "id": "run_xyz789",
    "experiment_id": "exp_8c1f0a9be2d34757",
    "status": "running",
    "progress": 0.45,
    "hyperparameters": {"learning_rate": 0.001, "batch_size": 32, "epochs": 100},
    "metrics": {"current_epoch": 45, "train_loss": 0.234, "val_loss": 0.256, "val_accuracy": 0.89},
    "started_at": "2026-01-15T10:30:00Z",
    "completed_at": None,
    "checkpoints": [
        {"val_accuracy": 0.88, "id": "ckpt_1", "epoch": 40, "step": None, "path": "/checkpoints/run_xyz789/epoch_40.pt", "created_at": "2026-01-15T11:10:00Z"}
    ],
}


@router.get(
    "/runs",
    response_model=SeveralRuns,
    operation_id="list_runs",
    summary="List runs",
    responses=error_responses(CRUCIBLE, *READ_ERRORS, *_FRESH),
    dependencies=[Depends(filters("status", "experiment_id"))],
)
async def list_(
    parts: SharedParts,
    caller: Reader,
    wait: Waits,
    page: WantedPage,
    status: Annotated[RunStatus | None, Query(alias="filter[status]", description="Only those in this state.")] = None,
    experiment_id: Annotated[str | None, Query(alias="filter[experiment_id]", description="Only those of this experiment.", max_length=300)] = None,
) -> Response:
    """Those that began last first."""
    found, watermark = await Runs(parts).page(caller.tenant, RunFilter(status, experiment_id), page, wait)
    return page_of(found, watermark=watermark)


@router.get(
    "/experiments/{experiment_id}/runs",
    response_model=SeveralRuns,
    operation_id="list_runs_of_experiment",
    summary="List runs of an experiment",
    responses=error_responses(CRUCIBLE, *ONE_ERRORS, *_FRESH),
    dependencies=[Depends(filters("status"))],
)
async def of_experiment(
    parts: SharedParts,
    caller: Reader,
    wait: Waits,
    page: WantedPage,
    experiment_id: ExperimentId,
    status: Annotated[RunStatus | None, Query(alias="filter[status]", description="Only those in this state.")] = None,
) -> Response:
    """Those that began last first."""
    await MlExperiments(parts).get(caller.tenant, experiment_id)
    found, watermark = await Runs(parts).page(caller.tenant, RunFilter(status, experiment_id), page, wait)
    return page_of(found, watermark=watermark)


@router.get(
    "/runs/{run_id:path}/logs",
    response_model=Lines,
    operation_id="get_run_logs",
    summary="Get the log of a run",
    responses=error_responses(CRUCIBLE, *ONE_ERRORS, *_FRESH),
)
async def logs(
    parts: SharedParts,
    caller: Reader,
    wait: Waits,
    run_id: RunId,
    level: Annotated[Level | None, Query(description="Only lines of this level.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Only lines from this time on.")] = None,
    tail: Annotated[int, Query(ge=1, le=10_000, description="How many of the most recent lines.")] = 1_000,
) -> Response:
    """The oldest line first."""
    lines, watermark = await Runs(parts).logs(caller.tenant, run_id, level, micros(since), tail, wait)
    return one(lines, watermark=watermark)


@router.get(
    "/runs/{run_id:path}/checkpoints",
    response_model=Checkpoints,
    operation_id="list_checkpoints",
    summary="List the checkpoints of a run",
    responses=error_responses(CRUCIBLE, *ONE_ERRORS, *_FRESH),
)
async def checkpoints(parts: SharedParts, caller: Reader, wait: Waits, run_id: RunId) -> Response:
    """The oldest first."""
    found, watermark = await Runs(parts).checkpoints(caller.tenant, run_id, wait)
    return one(found, watermark=watermark)


@router.get(
    "/runs/{run_id:path}/checkpoints/{checkpoint_id:path}/download",
    response_class=FileResponse,
    operation_id="download_checkpoint",
    summary="Download a checkpoint",
    responses={302: {"description": "The program named an address; the file is there."}, **error_responses(CRUCIBLE, *ONE_ERRORS, *_FRESH)},
)
async def download(
    parts: SharedParts, caller: Reader, run_id: RunId, checkpoint_id: Annotated[str, Path(description="Id of the checkpoint.", max_length=1_000)]
) -> Response:
    """The file, from the tenant's folder in the one that `MILLSTREAM_QUERY_CHECKPOINT_DIR` names; the path of the checkpoint is taken as one within it."""
    checkpoint = await Runs(parts).checkpoint(caller.tenant, run_id, checkpoint_id)
    found = await asyncio.to_thread(file_of, checkpoint, parts.settings.query.checkpoint_dir, caller.tenant)
    if isinstance(found, FilePath):
        return FileResponse(found, media_type="application/octet-stream", filename=found.name)
    return RedirectResponse(found, 302)


@router.get(
    "/runs/{run_id:path}",  # the last one: the id of a run may have slashes
    response_model=OneRun,
    operation_id="get_run",
    summary="Get a run",
    responses={200: {"content": {"application/json": {"example": {"data": _EXAMPLE}}}}, **error_responses(CRUCIBLE, *ONE_ERRORS, *_FRESH)},
)
async def get(parts: SharedParts, caller: Reader, wait: Waits, run_id: RunId) -> Response:
    """As its telemetry says: an event belongs to the run that its metadata names as `run_id`.

    `...run.start`, `...training.start` or `...pipeline.start` begin it; `stop` and `exception` of these end it, a `stop` whose metadata has the status
    `failed` too. `hyperparameters` of any event's metadata, of at most 16 KiB, are its own; measurements are its metrics, by `step` or `epoch`, so that steps which come late
    or twice change nothing; `progress` tells how far it is. `...checkpoint.saved` is a checkpoint, with `path` in its metadata; an event with a `message`
    in its metadata is a line of its log."""
    run, watermark = await Runs(parts).get(caller.tenant, run_id, wait)
    return one(run, watermark=watermark)
