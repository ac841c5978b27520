"""`datasets/{dataset}/splits`: created, changed and deleted."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts
from query_api.domain.dataset_splits import DatasetSplits
from query_api.errors import error_responses
from query_api.surfaces.llm import dataset_models as models
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import json_response

router = APIRouter(tags=["datasets"])

_FOUND: Final = ("unauthenticated", "forbidden", "validation_failed", "unavailable", "internal", "not_found")

Writer = Annotated[Caller, Allowed("datasets:write")]
DatasetName = Annotated[str, Path(description="GlobalID of the dataset, or its name.")]
SplitId = Annotated[str, Path(description="GlobalID of the split.")]


@router.post(
    "/datasets/{dataset_identifier}/splits",
    status_code=201,
    response_model=models.OneSplit,
    operation_id="createDatasetSplit",
    summary="Create a dataset split",
    responses=error_responses(LLM, *_FOUND, "conflict"),
)
async def create(parts: SharedParts, caller: Writer, dataset_identifier: DatasetName, body: models.NewSplit) -> Response:
    """Uploads make the splits they name; this makes one with examples that are stored already."""
    values = body.model_dump(exclude={"example_ids"})
    return json_response({"data": await DatasetSplits(parts).create(caller.tenant, dataset_identifier, values, body.example_ids)}, status=201)


@router.patch(
    "/datasets/{dataset_identifier}/splits/{split_id}",
    response_model=models.OneSplit,
    operation_id="updateDatasetSplit",
    summary="Update a dataset split",
    responses=error_responses(LLM, *_FOUND, "conflict"),
)
async def change(parts: SharedParts, caller: Writer, dataset_identifier: DatasetName, split_id: SplitId, body: models.SplitChanges) -> Response:
    """A field that is left out stays."""
    values = body.model_dump(exclude_unset=True, exclude={"add_example_ids", "remove_example_ids"})
    changed = await DatasetSplits(parts).change(caller.tenant, dataset_identifier, split_id, values, body.add_example_ids, body.remove_example_ids)
    return json_response({"data": changed})


@router.delete(
    "/datasets/{dataset_identifier}/splits/{split_id}",
    status_code=204,
    operation_id="deleteDatasetSplit",
    summary="Delete a dataset split",
    responses=error_responses(LLM, *_FOUND),
)
async def remove(parts: SharedParts, caller: Writer, dataset_identifier: DatasetName, split_id: SplitId) -> Response:
    """In every dataset that has examples in it; the examples stay."""
    await DatasetSplits(parts).delete(caller.tenant, dataset_identifier, split_id)
    return Response(status_code=204)
