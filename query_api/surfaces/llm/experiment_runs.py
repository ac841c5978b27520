"""The runs of `experiments` and their evaluations: stored, listed, completed and downloaded."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from query_api.dependencies import SharedParts, SurfacePolicy
from query_api.domain.dataset_exports import file_headers
from query_api.domain.llm_experiments import LlmExperiments
from query_api.domain.llm_runs import LlmRuns
from query_api.errors import error_responses
from query_api.surfaces.llm import experiment_models as models
from query_api.surfaces.llm.experiments import Cursor, ExperimentId, Limit, Reader, Writer
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import json_response, list_response

router = APIRouter(tags=["experiments"])

_FOUND: Final = ("unauthenticated", "forbidden", "validation_failed", "unavailable", "internal", "not_found")


@router.post(
    "/experiments/{experiment_id}/runs",
    response_model=models.OneId,
    operation_id="createExperimentRun",
    summary="Create run for an experiment",
    responses=error_responses(LLM, *_FOUND, "conflict"),
)
async def add(parts: SharedParts, caller: Writer, experiment_id: ExperimentId, body: models.NewRun) -> Response:
    """A failed run of the same example and repetition is replaced, and its evaluations go; a successful one stays, with 409."""
    return json_response({"data": {"id": await LlmRuns(parts).add(caller.tenant, experiment_id, body.model_dump())}})


@router.get(
    "/experiments/{experiment_id}/runs",
    response_model=models.Runs,
    operation_id="listExperimentRuns",
    summary="List runs for an experiment",
    responses=error_responses(LLM, *_FOUND),
)
async def runs(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Reader,
    experiment_id: ExperimentId,
    cursor: Cursor = None,
    limit: Annotated[int | None, Query(ge=1, le=100_000, description="Most runs in the answer; all when left out.")] = None,
) -> Response:
    """Newest first."""
    return list_response(policy, await LlmRuns(parts).page(caller.tenant, experiment_id, limit=limit, cursor=cursor))


@router.get(
    "/experiments/{experiment_id}/incomplete-runs",
    response_model=models.IncompleteRuns,
    operation_id="getIncompleteExperimentRuns",
    summary="Get incomplete runs for an experiment",
    responses=error_responses(LLM, *_FOUND),
)
async def incomplete_runs(
    parts: SharedParts, policy: SurfacePolicy, caller: Reader, experiment_id: ExperimentId, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Examples with the repetitions that failed or were never run."""
    return list_response(policy, await LlmExperiments(parts).incomplete_runs(caller.tenant, experiment_id, limit=limit, cursor=cursor))


@router.get(
    "/experiments/{experiment_id}/incomplete-evaluations",
    response_model=models.IncompleteEvaluations,
    operation_id="getIncompleteExperimentEvaluations",
    summary="Get incomplete evaluations for an experiment",
    responses=error_responses(LLM, *_FOUND, "invalid_argument"),
)
async def incomplete_evaluations(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Reader,
    experiment_id: ExperimentId,
    evaluation_name: Annotated[list[str] | None, Query(description="Names of evaluations; at least one, may be repeated.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Successful runs with the names of the evaluations that failed or were never made."""
    return list_response(policy, await LlmRuns(parts).unjudged(caller.tenant, experiment_id, evaluation_name or (), limit=limit, cursor=cursor))


@router.get(
    "/experiments/{experiment_id}/json",
    operation_id="getExperimentJSON",
    summary="Download experiment runs as a JSON file",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **error_responses(LLM, *_FOUND)},
    response_class=Response,
)
async def as_json(parts: SharedParts, caller: Reader, experiment_id: ExperimentId) -> Response:
    """An array with one object per run: the example, the output and the evaluations."""
    experiment, content = await LlmRuns(parts).as_json(caller.tenant, experiment_id)
    return Response(content, headers=file_headers(experiment.name, "json"), media_type="text/plain")


@router.get(
    "/experiments/{experiment_id}/csv",
    operation_id="getExperimentCSV",
    summary="Download experiment runs as a CSV file",
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **error_responses(LLM, *_FOUND)},
    response_class=Response,
)
async def as_csv(parts: SharedParts, caller: Reader, experiment_id: ExperimentId) -> Response:
    """One line per run, with columns `annotation_<name>_*` for each evaluation."""
    experiment, content = await LlmRuns(parts).as_csv(caller.tenant, experiment_id)
    return Response(content, headers=file_headers(experiment.name, "csv"), media_type="text/csv")


@router.post(
    "/experiment_evaluations",
    response_model=models.OneId,
    operation_id="upsertExperimentEvaluation",
    summary="Create or update evaluation for an experiment run",
    responses=error_responses(LLM, *_FOUND),
)
async def evaluate(parts: SharedParts, caller: Writer, body: models.NewEvaluation) -> Response:
    """Takes the place of the run's evaluation of the same name, as a whole."""
    return json_response({"data": {"id": await LlmRuns(parts).evaluate(caller.tenant, body.model_dump())}})
