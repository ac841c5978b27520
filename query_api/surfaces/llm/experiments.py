"""`experiments` on datasets: created, listed, changed, deleted and compared."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy
from query_api.domain.experiment_comparison import ExperimentComparison
from query_api.domain.llm_experiments import LlmExperiments, experiment_json
from query_api.errors import error_responses
from query_api.surfaces.llm import experiment_models as models
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import json_response, list_response

router = APIRouter(tags=["experiments"])

_FOUND: Final = ("unauthenticated", "forbidden", "validation_failed", "unavailable", "internal", "not_found")

Reader = Annotated[Caller, Allowed("datasets:read")]
Writer = Annotated[Caller, Allowed("datasets:write")]
DatasetId = Annotated[str, Path(description="GlobalID of the dataset.", examples=["RGF0YXNldDox"])]
ExperimentId = Annotated[str, Path(description="GlobalID of the experiment.", examples=["RXhwZXJpbWVudDox"])]
Baseline = Annotated[str, Query(description="GlobalID of the experiment to compare with.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before: the id of its first item.")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="Most items in the answer.")]


@router.post(
    "/datasets/{dataset_id}/experiments",
    response_model=models.OneExperiment,
    operation_id="createExperiment",
    summary="Create experiment on a dataset",
    responses=error_responses(LLM, *_FOUND),
)
async def create(parts: SharedParts, caller: Writer, dataset_id: DatasetId, body: models.NewExperiment) -> Response:
    """Covers the examples that the version holds now. Traces of the task go to the project `project_name`, which lists do not show."""
    return json_response({"data": experiment_json(await LlmExperiments(parts).create(caller, dataset_id, body.model_dump()))})


@router.get(
    "/datasets/{dataset_id}/experiments",
    response_model=models.Experiments,
    operation_id="listExperiments",
    summary="List experiments by dataset",
    responses=error_responses(LLM, *_FOUND),
)
async def experiments(parts: SharedParts, policy: SurfacePolicy, caller: Reader, dataset_id: DatasetId, cursor: Cursor = None, limit: Limit = 50) -> Response:
    """Newest first."""
    return list_response(policy, await LlmExperiments(parts).page(caller.tenant, dataset_id, limit=limit, cursor=cursor))


@router.get(
    "/experiments/{experiment_id}",
    response_model=models.OneExperiment,
    operation_id="getExperiment",
    summary="Get experiment by ID",
    responses=error_responses(LLM, *_FOUND),
)
async def experiment(parts: SharedParts, caller: Reader, experiment_id: ExperimentId) -> Response:
    """With how many of its runs succeeded, failed and are missing."""
    return json_response({"data": experiment_json(await LlmExperiments(parts).get(caller.tenant, experiment_id))})


@router.patch(
    "/experiments/{experiment_id}",
    response_model=models.OneExperiment,
    operation_id="updateExperiment",
    summary="Update an experiment by ID",
    responses=error_responses(LLM, *_FOUND),
)
async def change(parts: SharedParts, caller: Writer, experiment_id: ExperimentId, body: models.ExperimentChanges) -> Response:
    """A field that is left out stays; a description of null goes."""
    return json_response({"data": experiment_json(await LlmExperiments(parts).change(caller, experiment_id, body.model_dump(exclude_unset=True)))})


@router.delete(
    "/experiments/{experiment_id}",
    status_code=204,
    operation_id="deleteExperiment",
    summary="Delete experiment by ID",
    responses=error_responses(LLM, *_FOUND, "not_visible_yet"),
)
async def remove(
    parts: SharedParts,
    caller: Writer,
    experiment_id: ExperimentId,
    delete_project: Annotated[bool, Query(description="Also delete the traces of its task.")] = False,
) -> Response:
    """With its runs and evaluations."""
    await LlmExperiments(parts).delete(caller, experiment_id, with_project=delete_project)
    return Response(status_code=204)


@router.get(
    "/experiments/{experiment_id}/compare",
    response_model=models.OneComparison,
    operation_id="compareExperiments",
    summary="Compare an evaluation's scores with those of another experiment",
    responses=error_responses(LLM, *_FOUND),
)
async def compare(
    parts: SharedParts,
    caller: Reader,
    experiment_id: ExperimentId,
    baseline: Baseline,
    evaluation: Annotated[str, Query(description="Name of the evaluation whose scores are compared.", examples=["correctness"])],
    alpha: Annotated[float, Query(gt=0, lt=1, description="Level of the intervals and of `significant`.")] = 0.05,
) -> Response:
    """Paired by example, each counted once with the mean of its repetitions. `anytime` may be read while runs still come in."""
    return json_response({"data": await ExperimentComparison(parts).compare(caller.tenant, experiment_id, baseline, evaluation, alpha)})


@router.get(
    "/experiments/{experiment_id}/diff",
    response_model=models.Diff,
    operation_id="diffExperiments",
    summary="Outputs and scores of two experiments, example by example",
    responses=error_responses(LLM, *_FOUND),
)
async def diff(
    parts: SharedParts, policy: SurfacePolicy, caller: Reader, experiment_id: ExperimentId, baseline: Baseline, cursor: Cursor = None, limit: Limit = 100
) -> Response:
    """Every example that either of them ran, in the order of upload."""
    return list_response(policy, await ExperimentComparison(parts).diff(caller.tenant, experiment_id, baseline, limit=limit, cursor=cursor))
