"""`datasets`: listed, read in any version, uploaded into, downloaded and deleted."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from infra.runtime.errors import NotFound, ValidationFailed
from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy
from query_api.domain.dataset_exports import Lines, as_csv, as_lines, file_headers
from query_api.domain.dataset_upload import Limits, Upload, from_form, from_json
from query_api.domain.datasets import Datasets, Held, dataset_json, held_json, written_json
from query_api.errors import error_responses
from query_api.parts import Parts
from query_api.surfaces.llm import dataset_models as models
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.llm.upload_form import read_form
from query_api.surfaces.policy import json_response, list_response

router = APIRouter(tags=["datasets"])

_READ: Final = ("unauthenticated", "forbidden", "validation_failed", "unavailable", "internal")
_FOUND: Final = (*_READ, "not_found")

Reader = Annotated[Caller, Allowed("datasets:read")]
Writer = Annotated[Caller, Allowed("datasets:write")]
DatasetId = Annotated[str, Path(description="GlobalID of the dataset.", examples=["RGF0YXNldDox"])]
VersionId = Annotated[str | None, Query(description="GlobalID of a version; the newest when left out.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before: the id of its first item.")]
Limit = Annotated[int, Query(ge=1, le=100_000, description="Most items in the answer.")]


@router.get("/datasets", response_model=models.Datasets, operation_id="listDatasets", summary="List datasets", responses=error_responses(LLM, *_READ))
async def datasets(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Reader,
    cursor: Cursor = None,
    name: Annotated[str | None, Query(description="Only the dataset of this name.")] = None,
    limit: Limit = 10,
) -> Response:
    """Newest first."""
    return list_response(policy, await Datasets(parts).page(caller.tenant, name=name or None, limit=limit, cursor=cursor))


@router.post(
    "/datasets/upload",
    response_model=models.Uploaded | None,
    operation_id="uploadDataset",
    summary="Upload dataset from JSON, CSV, JSONL, or PyArrow",
    responses=error_responses(LLM, *_READ, "conflict", "too_large", "unsupported_media_type"),
    openapi_extra={"requestBody": models.UPLOAD_BODY},
)
async def upload(
    request: Request,
    parts: SharedParts,
    caller: Writer,
    sync: Annotated[bool, Query(description="Whether the answer says what was done; without it the answer is `null`.")] = False,
) -> Response:
    """Stored as a whole or not at all, before the answer in either case. An upload that changes no example makes no version."""
    written = await Datasets(parts).upload(caller, await _read(request, parts))
    return json_response({"data": written_json(written)} if sync else None)


@router.get("/datasets/{id}", response_model=models.OneDataset, operation_id="getDataset", summary="Get dataset by ID", responses=error_responses(LLM, *_FOUND))
async def dataset(parts: SharedParts, caller: Reader, id: DatasetId) -> Response:
    """One dataset."""
    return json_response({"data": dataset_json(await Datasets(parts).get(caller.tenant, id))})


@router.delete(
    "/datasets/{id}",
    status_code=204,
    operation_id="deleteDatasetById",
    summary="Delete dataset by ID",
    responses=error_responses(LLM, *_FOUND, "not_visible_yet"),
)
async def remove(parts: SharedParts, caller: Writer, id: DatasetId) -> Response:
    """With its versions and examples, the experiments on it and the traces of their tasks."""
    await Datasets(parts).delete(caller, id)
    return Response(status_code=204)


@router.get(
    "/datasets/{id}/versions",
    response_model=models.Versions,
    operation_id="listDatasetVersionsByDatasetId",
    summary="List dataset versions",
    responses=error_responses(LLM, *_FOUND),
)
async def versions(parts: SharedParts, policy: SurfacePolicy, caller: Reader, id: DatasetId, cursor: Cursor = None, limit: Limit = 10) -> Response:
    """Newest first."""
    return list_response(policy, await Datasets(parts).versions(caller.tenant, id, limit=limit, cursor=cursor))


@router.get(
    "/datasets/{id}/examples",
    response_model=models.Examples,
    operation_id="getDatasetExamples",
    summary="Get examples from a dataset",
    responses=error_responses(LLM, *_FOUND),
)
async def examples(
    parts: SharedParts,
    caller: Reader,
    id: DatasetId,
    version_id: VersionId = None,
    split: Annotated[list[str] | None, Query(description="Only examples in any of these splits, by GlobalID or name; may be repeated.")] = None,
) -> Response:
    """All that a version holds, in the order of upload."""
    held = await Datasets(parts).held(caller.tenant, id, version_id, split or ())
    return await asyncio.to_thread(lambda: json_response({"data": held_json(held)}))


@router.get(
    "/datasets/{id}/csv",
    operation_id="getDatasetCsv",
    summary="Download dataset examples as CSV file",
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **error_responses(LLM, *_READ)},
    response_class=Response,
)
async def csv(parts: SharedParts, caller: Reader, id: DatasetId, version_id: VersionId = None) -> Response:
    """Columns `id`, `node_id`, `input.*`, `output.*` and `metadata.*`; an upload takes the same form."""
    held = await _held(parts, caller, id, version_id)
    content = await asyncio.to_thread(as_csv, held.examples, await Datasets(parts).split_names(held.dataset))
    return Response(content, headers=file_headers(held.dataset.name, "csv"), media_type="text/csv")


_LINES: Final = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **error_responses(LLM, *_READ)}


@router.get(
    "/datasets/{id}/jsonl", operation_id="getDatasetJSONL", summary="Download dataset examples as JSONL file", responses=_LINES, response_class=Response
)
async def jsonl(parts: SharedParts, caller: Reader, id: DatasetId, version_id: VersionId = None) -> Response:
    """One example per line, with its splits."""
    return await _lines(parts, caller, id, version_id, "jsonl")


@router.get(
    "/datasets/{id}/jsonl/openai_ft",
    operation_id="getDatasetJSONLOpenAIFineTuning",
    summary="Download dataset examples as OpenAI fine-tuning JSONL file",
    responses=_LINES,
    response_class=Response,
)
async def openai_ft(parts: SharedParts, caller: Reader, id: DatasetId, version_id: VersionId = None) -> Response:
    """`messages` of the input followed by those of the output, and `tools` of the input."""
    return await _lines(parts, caller, id, version_id, "openai_ft")


@router.get(
    "/datasets/{id}/jsonl/openai_evals",
    operation_id="getDatasetJSONLOpenAIEvals",
    summary="Download dataset examples as OpenAI evals JSONL file",
    responses=_LINES,
    response_class=Response,
)
async def openai_evals(parts: SharedParts, caller: Reader, id: DatasetId, version_id: VersionId = None) -> Response:
    """`messages` of the input, and as `ideal` the content of the output's last message."""
    return await _lines(parts, caller, id, version_id, "openai_evals")


async def _lines(parts: Parts, caller: Caller, id: str, version_id: str | None, form: Lines) -> Response:
    held = await _held(parts, caller, id, version_id)
    splits = await Datasets(parts).split_names(held.dataset) if form == "jsonl" else {}
    content = await asyncio.to_thread(as_lines, held.examples, form, splits)
    return Response(content, headers=file_headers(held.dataset.name, "jsonl"), media_type="text/plain")


async def _held(parts: Parts, caller: Caller, id: str, version_id: str | None) -> Held:
    try:
        return await Datasets(parts).held(caller.tenant, id, version_id)
    except NotFound as error:
        # Downloads document no 404.
        raise ValidationFailed(error.message) from error


async def _read(request: Request, parts: Parts) -> Upload:
    limits = Limits(parts.settings.ingest.max_body_bytes, parts.settings.ingest.max_rows)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "multipart/form-data"):
        raise ValidationFailed("Invalid request Content-Type: send application/json, or multipart/form-data with a file.")
    body = await request.body()
    if kind == "application/json":
        return await asyncio.to_thread(from_json, body, limits)
    form = await read_form(request.headers, body)
    return await asyncio.to_thread(from_form, form.fields, form.file, limits)
