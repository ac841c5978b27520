"""`experiments`: defined, listed and taken from state to state."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from query_api.access import Caller
from query_api.control.ml_experiments import MlExperimentFilter
from query_api.dependencies import Allowed, SharedParts, Waits
from query_api.domain.ml_experiments import MlExperiments, Move, SortField, Status, experiment_json
from query_api.domain.runs import Runs
from query_api.errors import error_responses
from query_api.parts import Parts
from query_api.surfaces.bodies import Body
from query_api.surfaces.crucible.answers import ONE_ERRORS, READ_ERRORS, PageMeta, WantedPage, filters, one, page_of
from query_api.surfaces.crucible.bodies import Config, Name, Tags, Text
from query_api.surfaces.crucible.policy import CRUCIBLE
from query_api.surfaces.times import micros

router = APIRouter(tags=["experiments"])

ExperimentId = Annotated[str, Path(description="Id of the experiment.", examples=["exp_8c1f0a9be2d34757"], max_length=300)]
Reader = Annotated[Caller, Allowed("experiments:read")]
Writer = Annotated[Caller, Allowed("experiments:write")]
Runner = Annotated[Caller, Allowed("experiments:run")]
Sort = Literal["name", "-name", "created_at", "-created_at", "updated_at", "-updated_at", "status", "-status"]


class NewExperiment(Body):
    """What an experiment is created with."""

    name: Name = Field(examples=["Ensemble Comparison v1"])
    description: Text = ""
    config: Config = Field({}, description="Any JSON object; kept as it is.", examples=[{"type": "ensemble", "models": ["gpt-4", "claude-3"]}])
    tags: Tags = []


class ExperimentChanges(Body):
    """Fields left out stay as they are."""

    name: Name | None = None
    description: Text | None = None
    config: Config | None = None
    tags: Tags | None = None
    status: Literal["completed", "failed", "cancelled"] | None = Field(None, description="How a running experiment ended.")


class NewExperimentBody(Body):
    experiment: NewExperiment


class ExperimentChangesBody(Body):
    experiment: ExperimentChanges


class CloneBody(Body):
    name: Name = Field(description="Of the new experiment.")


class Experiment(BaseModel):
    """A stored experiment."""

    id: str
    name: str
    description: str
    status: Status
    config: Config
    tags: list[str]
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class RunInShort(BaseModel):
    id: str
    status: str
    progress: float | None


class Summary(BaseModel):
    best_accuracy: float | None = Field(description="The highest `accuracy`, `val_accuracy` or `test_accuracy` that a run measured.")
    total_runs: int


class DetailedExperiment(Experiment):
    """An experiment with its newest runs, at most a thousand."""

    runs: list[RunInShort]
    results_summary: Summary


class One(BaseModel):
    data: Experiment


class Detailed(BaseModel):
    data: DetailedExperiment


class Several(BaseModel):
    data: list[Experiment]
    meta: PageMeta


_EXAMPLE: Final[dict[str, Any]] = {
    "id": "exp_8c1f0a9be2d34757",
    "name": "Ensemble Comparison v1",
    "description": "Comparing voting strategies",
    "status": "running",
    "config": {"type": "ensemble", "models": ["gpt-4", "claude-3"], "voting_strategy": "weighted"},
    "tags": ["ensemble"],
    "started_at": "2026-01-15T10:30:00Z",
    "completed_at": None,
    "created_at": "2026-01-15T10:00:00Z",
    "updated_at": "2026-01-15T10:30:00Z",
}
_DETAILED: Final = {
    **_EXAMPLE,
    "runs": [{"id": "run_xyz789", "status": "running", "progress": 0.45}],
    "results_summary": {"best_accuracy": 0.92, "total_runs": 3},
}
_META: Final = {"total": 45, "page": 1, "per_page": 25, "next_cursor": None, "has_more": False}


def _responses(*errors: str, example: Any = None, status: int = 200) -> dict[int | str, dict[str, Any]]:
    answer: dict[str, Any] = {} if example is None else {"content": {"application/json": {"example": example}}}
    return {status: answer, **error_responses(CRUCIBLE, *errors)}


@router.get(
    "/experiments",
    response_model=Several,
    operation_id="list_experiments",
    summary="List experiments",
    responses=_responses(*READ_ERRORS, example={"data": [_EXAMPLE], "meta": _META}),
    dependencies=[Depends(filters("status", "name", "created_after", "created_before"))],
)
async def list_(
    parts: SharedParts,
    caller: Reader,
    page: WantedPage,
    status: Annotated[Status | None, Query(alias="filter[status]", description="Only those in this state.")] = None,
    name: Annotated[str | None, Query(alias="filter[name]", description="Only those with this in their name.", max_length=300)] = None,
    created_after: Annotated[AwareDatetime | None, Query(alias="filter[created_after]", description="Only those created after this.")] = None,
    created_before: Annotated[AwareDatetime | None, Query(alias="filter[created_before]", description="Only those created before this.")] = None,
    sort: Annotated[Sort, Query(description="Field to sort by; with `-` from high to low.")] = "-created_at",
) -> Response:
    """The newest first unless sorted otherwise."""
    wanted = MlExperimentFilter(status, name, micros(created_after), micros(created_before))
    field: SortField = sort.removeprefix("-")  # type: ignore[assignment]
    return page_of(await MlExperiments(parts).page(caller.tenant, wanted, field, sort.startswith("-"), page))


@router.post(
    "/experiments",
    response_model=One,
    status_code=201,
    operation_id="create_experiment",
    summary="Create an experiment",
    responses=_responses(*READ_ERRORS, status=201),
)
async def create(parts: SharedParts, caller: Writer, body: NewExperimentBody) -> Response:
    """It is pending until it is started."""
    return one(experiment_json(await MlExperiments(parts).create(caller, body.experiment.model_dump())), status=201)


@router.get(
    "/experiments/{experiment_id}",
    response_model=Detailed,
    operation_id="get_experiment",
    summary="Get an experiment",
    responses=_responses(*ONE_ERRORS, "query_limit", "not_visible_yet", example={"data": _DETAILED}),
)
async def get(parts: SharedParts, caller: Reader, wait: Waits, experiment_id: ExperimentId) -> Response:
    """With its runs and what they came to."""
    found = await MlExperiments(parts).get(caller.tenant, experiment_id)
    runs, summary, watermark = await Runs(parts).of_experiment(caller.tenant, experiment_id, wait)
    return one({**experiment_json(found), "runs": runs, "results_summary": summary}, watermark=watermark)


@router.patch(
    "/experiments/{experiment_id}",
    response_model=One,
    operation_id="update_experiment",
    summary="Update an experiment",
    responses=_responses(*ONE_ERRORS),
)
async def update(parts: SharedParts, caller: Writer, experiment_id: ExperimentId, body: ExperimentChangesBody) -> Response:
    """Fields that are left out or null stay as they are. Who runs an experiment says with `status` how it ended, which needs the permission
    `experiments:run`."""
    given = {name: value for name, value in body.experiment.given().items() if value is not None}
    if "status" in given:
        caller.needs("experiments:run")
    return one(experiment_json(await MlExperiments(parts).update(caller, experiment_id, given)))


@router.delete(
    "/experiments/{experiment_id}",
    status_code=204,
    response_class=Response,
    operation_id="delete_experiment",
    summary="Delete an experiment",
    responses=error_responses(CRUCIBLE, *ONE_ERRORS),
)
async def delete(parts: SharedParts, caller: Writer, experiment_id: ExperimentId) -> Response:
    """For good. Its telemetry and the statistical results stay."""
    await MlExperiments(parts).delete(caller, experiment_id)
    return Response(status_code=204)


@router.post(
    "/experiments/{experiment_id}/start",
    response_model=One,
    operation_id="start_experiment",
    summary="Start an experiment",
    responses=_responses(*ONE_ERRORS),
)
async def start(parts: SharedParts, caller: Runner, experiment_id: ExperimentId) -> Response:
    """From pending to running."""
    return await _moved(parts, caller, experiment_id, "start")


@router.post(
    "/experiments/{experiment_id}/pause",
    response_model=One,
    operation_id="pause_experiment",
    summary="Pause an experiment",
    responses=_responses(*ONE_ERRORS),
)
async def pause(parts: SharedParts, caller: Runner, experiment_id: ExperimentId) -> Response:
    """From running to paused."""
    return await _moved(parts, caller, experiment_id, "pause")


@router.post(
    "/experiments/{experiment_id}/resume",
    response_model=One,
    operation_id="resume_experiment",
    summary="Resume an experiment",
    responses=_responses(*ONE_ERRORS),
)
async def resume(parts: SharedParts, caller: Runner, experiment_id: ExperimentId) -> Response:
    """From paused to running."""
    return await _moved(parts, caller, experiment_id, "resume")


@router.post(
    "/experiments/{experiment_id}/cancel",
    response_model=One,
    operation_id="cancel_experiment",
    summary="Cancel an experiment",
    responses=_responses(*ONE_ERRORS),
)
async def cancel(parts: SharedParts, caller: Runner, experiment_id: ExperimentId) -> Response:
    """For good, from any state in which it has not ended."""
    return await _moved(parts, caller, experiment_id, "cancel")


@router.post(
    "/experiments/{experiment_id}/clone",
    response_model=One,
    status_code=201,
    operation_id="clone_experiment",
    summary="Clone an experiment",
    responses=_responses(*ONE_ERRORS, status=201),
)
async def clone(parts: SharedParts, caller: Writer, experiment_id: ExperimentId, body: CloneBody) -> Response:
    """A pending experiment with another name and the same description, config and tags."""
    return one(experiment_json(await MlExperiments(parts).clone(caller, experiment_id, body.name)), status=201)


async def _moved(parts: Parts, caller: Caller, experiment_id: str, move: Move) -> Response:
    return one(experiment_json(await MlExperiments(parts).move(caller, experiment_id, move)))
