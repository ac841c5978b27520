"""`experiments`: their definitions and their states."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts
from query_api.domain.experiment_lifecycle import Move
from query_api.domain.experiments import Detailed, Experiments, Order, Sort
from query_api.errors import error_responses
from query_api.parts import Parts
from query_api.surfaces.bodies import NAME_FORM
from query_api.surfaces.experimentation.answers import READ_ERRORS, WRITE_ERRORS, PageLimit, PageNumber, numbered, on_page, one
from query_api.surfaces.experimentation.experiment_bodies import ExperimentChanges, NewExperiment, Status
from query_api.surfaces.experimentation.experiment_models import (
    ChangedAnswer,
    ExperimentAnswer,
    ExperimentPage,
    RolledBackAnswer,
    StartedAnswer,
    StoppedAnswer,
    changed,
    full,
    summary,
)
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from query_api.surfaces.experimentation.versions import Expected

router = APIRouter(tags=["experiments"])

ExperimentId = Annotated[str, Path(pattern=NAME_FORM, description="Id of the experiment.", examples=["exp_8c1f0a9be2d34757"])]
Reader = Annotated[Caller, Allowed("experiments:read")]
Writer = Annotated[Caller, Allowed("experiments:write")]
Runner = Annotated[Caller, Allowed("experiments:run")]

_VARIANTS: Final = [
    {"id": "var_51c09d37a2be48f6", "name": "control", "description": "Current homepage", "allocation": 50, "is_control": True},
    {"id": "var_c1d5a80e93b74f22", "name": "treatment", "description": "New homepage design", "allocation": 50, "is_control": False},
]
_SUMMARY: Final[dict[str, Any]] = {
    "id": "exp_8c1f0a9be2d34757",
    "name": "Homepage Redesign Test",
    "description": "Testing the new homepage design",
    "hypothesis": "The new homepage design will increase conversion rates",
    "status": "ACTIVE",
    "created_at": "2026-01-01T10:30:00Z",
    "updated_at": "2026-01-02T08:00:00Z",
    "start_date": "2026-01-02T08:00:00Z",
    "end_date": None,
    "variants": _VARIANTS,
}
_PAGE: Final = {"data": [_SUMMARY], "meta": {"total": 42, "page": 1, "limit": 20, "pages": 3}}


def _responses(*errors: str, example: Any = None, status: int = 200, tagged: bool = True) -> dict[int | str, dict[str, Any]]:
    answer: dict[str, Any] = {}
    if tagged:
        answer["headers"] = {"ETag": {"description": "The version, for `If-Match`.", "schema": {"type": "string"}}}
    if example is not None:
        answer["content"] = {"application/json": {"example": example}}
    return {status: answer, **error_responses(EXPERIMENTATION, *errors)}


@router.get(
    "/experiments",
    response_model=ExperimentPage,
    operation_id="list_experiments",
    summary="List experiments",
    responses=_responses(*READ_ERRORS, example=_PAGE, tagged=False),
)
async def list_(
    parts: SharedParts,
    caller: Reader,
    status: Annotated[Status | None, Query(description="Only those in this state.")] = None,
    page: PageNumber = 1,
    limit: PageLimit = EXPERIMENTATION.paging.default,
    sort: Annotated[Sort, Query(description="Field to sort by.")] = "created_at",
    order: Annotated[Order | None, Query(description="Left out: the newest first, names and states from A to Z.")] = None,
) -> Response:
    """Without targeting and metrics. Answers also while the control store is down."""
    found = await _experiments(parts, caller).found(status.lower() if status else None, sort, order)  # type: ignore[arg-type]
    return numbered([summary(each) for each in on_page(found, page, limit)], len(found), page, limit)


@router.get(
    "/experiments/{experiment_id}",
    response_model=ExperimentAnswer,
    operation_id="get_experiment",
    summary="Get an experiment",
    responses=_responses(*READ_ERRORS, "not_found"),
)
async def get(parts: SharedParts, caller: Reader, experiment_id: ExperimentId) -> Response:
    """With targeting and metrics. Answers also while the control store is down, then without an `ETag`."""
    return _full(await _experiments(parts, caller).get(experiment_id))


@router.post(
    "/experiments",
    response_model=ExperimentAnswer,
    status_code=201,
    operation_id="create_experiment",
    summary="Create an experiment",
    responses=_responses(*WRITE_ERRORS, status=201),
)
async def create(parts: SharedParts, caller: Writer, body: NewExperiment) -> Response:
    """Metrics of the body are defined together with the experiment. Allocations must sum to 100, and one variant is the control. With the status ACTIVE
    it starts at once, which needs the permission `experiments:run`."""
    if body.status == "ACTIVE":
        caller.needs("experiments:run")
    created = await _experiments(parts, caller).create(body.fields())
    return one(full(created), status=201, version=created.stored.version)


@router.put(
    "/experiments/{experiment_id}",
    response_model=ExperimentAnswer,
    operation_id="update_experiment",
    summary="Update an experiment",
    responses=_responses(*WRITE_ERRORS, "query_limit"),
)
async def update(parts: SharedParts, caller: Writer, experiment_id: ExperimentId, body: ExperimentChanges, expected: Expected) -> Response:
    """Fields that are left out stay as they are.

    A DRAFT may change in everything but the slot in its exclusion group. While ACTIVE or PAUSED: name, description, hypothesis, end date, overrides,
    guardrails; traffic only upwards; of variants allocations and descriptions, where units that were exposed keep their variant; metrics may be added, and those there keep their definition. When COMPLETED or
    ARCHIVED: name and description. Anything else is 409, with the fields in `details.fields`. Another `status` is a transition, which needs the
    permission `experiments:run`."""
    if "status" in body.model_fields_set:
        caller.needs("experiments:run")
    return _full(await _experiments(parts, caller).update(experiment_id, body.fields(), expected))


@router.post(
    "/experiments/{experiment_id}/start",
    response_model=StartedAnswer,
    operation_id="start_experiment",
    summary="Start an experiment",
    responses=_responses(*WRITE_ERRORS),
)
async def start(parts: SharedParts, caller: Runner, experiment_id: ExperimentId, expected: Expected) -> Response:
    """From DRAFT to ACTIVE. The start date becomes now; an end date that has passed is dropped."""
    return await _moved(parts, caller, experiment_id, "start", expected, "start_date")


@router.post(
    "/experiments/{experiment_id}/stop",
    response_model=StoppedAnswer,
    operation_id="stop_experiment",
    summary="Stop an experiment",
    responses=_responses(*WRITE_ERRORS),
)
async def stop(parts: SharedParts, caller: Runner, experiment_id: ExperimentId, expected: Expected) -> Response:
    """From ACTIVE or PAUSED to COMPLETED, for good. The end date becomes now."""
    return await _moved(parts, caller, experiment_id, "stop", expected, "end_date")


@router.post(
    "/experiments/{experiment_id}/pause",
    response_model=ChangedAnswer,
    operation_id="pause_experiment",
    summary="Pause an experiment",
    responses=_responses(*WRITE_ERRORS),
)
async def pause(parts: SharedParts, caller: Runner, experiment_id: ExperimentId, expected: Expected) -> Response:
    """From ACTIVE to PAUSED."""
    return await _moved(parts, caller, experiment_id, "pause", expected)


@router.post(
    "/experiments/{experiment_id}/resume",
    response_model=ChangedAnswer,
    operation_id="resume_experiment",
    summary="Resume an experiment",
    responses=_responses(*WRITE_ERRORS),
)
async def resume(parts: SharedParts, caller: Runner, experiment_id: ExperimentId, expected: Expected) -> Response:
    """From PAUSED to ACTIVE. An end date that has passed is dropped."""
    return await _moved(parts, caller, experiment_id, "resume", expected)


@router.post(
    "/experiments/{experiment_id}/archive",
    response_model=ChangedAnswer,
    operation_id="archive_experiment",
    summary="Archive an experiment",
    responses=_responses(*WRITE_ERRORS),
)
async def archive(parts: SharedParts, caller: Runner, experiment_id: ExperimentId, expected: Expected) -> Response:
    """From COMPLETED or DRAFT to ARCHIVED, for good."""
    return await _moved(parts, caller, experiment_id, "archive", expected)


@router.post(
    "/experiments/{experiment_id}/rollback",
    response_model=RolledBackAnswer,
    operation_id="roll_back_experiment",
    summary="Roll an experiment back to control",
    responses=_responses(*WRITE_ERRORS),
)
async def rollback(parts: SharedParts, caller: Runner, experiment_id: ExperimentId, expected: Expected) -> Response:
    """Every evaluation answers the control from now on, while the experiment is ACTIVE or PAUSED. Again changes nothing."""
    done = await _experiments(parts, caller).roll_back(experiment_id, expected)
    return one(changed(done, "rolled_back"), version=done.stored.version)


@router.post(
    "/experiments/{experiment_id}/restore",
    response_model=RolledBackAnswer,
    operation_id="restore_experiment",
    summary="Undo a roll-back",
    responses=_responses(*WRITE_ERRORS),
)
async def restore(parts: SharedParts, caller: Runner, experiment_id: ExperimentId, expected: Expected) -> Response:
    """Units get their variants again. Again changes nothing."""
    done = await _experiments(parts, caller).restore(experiment_id, expected)
    return one(changed(done, "rolled_back"), version=done.stored.version)


def _experiments(parts: Parts, caller: Caller) -> Experiments:
    return Experiments(parts.stored, caller.tenant, caller.actor, parts.pinning)


def _full(detailed: Detailed) -> Response:
    return one(full(detailed), version=detailed.stored.version)


async def _moved(parts: Parts, caller: Caller, experiment_id: str, move: Move, expected: int | None, *fields: str) -> Response:
    done = await _experiments(parts, caller).move(experiment_id, move, expected)
    return one(changed(done, *fields), version=done.stored.version)
