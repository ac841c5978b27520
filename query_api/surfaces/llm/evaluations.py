"""`evaluations`: what earlier clients of Arize Phoenix post and read in place of annotations."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from infra.runtime.decoding import inflate
from infra.runtime.errors import InvalidArgument, UnsupportedMediaType, ValidationFailed
from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts
from query_api.domain.evaluations import Evaluations
from query_api.errors import error_responses
from query_api.surfaces.llm.annotations import POSITION_HEADER
from query_api.surfaces.llm.policy import LLM
from schemas.position import encode

router = APIRouter(tags=["evaluations"])

PROTOBUF: Final = "application/x-protobuf"
ARROW: Final = "application/x-pandas-arrow"
_ENCODINGS: Final = ("", "identity", "gzip")
_UNSUPPORTED: Final = "Unsupported content type, only gzipped protobuf and pandas-arrow are supported"
_ERRORS: Final = ("unauthenticated", "forbidden", "validation_failed", "unavailable", "internal")
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "/evaluations",
    status_code=204,
    operation_id="addEvaluations",
    summary="Add span, trace, or document evaluations",
    responses=error_responses(LLM, *_ERRORS, "unsupported_media_type", "too_large"),
    openapi_extra={"requestBody": {"required": True, "content": {PROTOBUF: _BINARY, ARROW: _BINARY}}},
)
async def add(request: Request, parts: SharedParts, caller: Annotated[Caller, Allowed("traces:write")]) -> Response:
    """One evaluation as protobuf, or a DataFrame of them as an Arrow stream, either gzipped or not. They may come before what they are about."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if content_type not in (PROTOBUF, ARROW) or encoding not in _ENCODINGS:
        raise UnsupportedMediaType(_UNSUPPORTED)
    limit = parts.settings.ingest.max_body_bytes
    try:
        body = inflate(await request.body(), encoding, limit)
    except InvalidArgument as error:
        raise ValidationFailed(error.message) from error
    evaluations = Evaluations(parts)
    positions = await (evaluations.store_protobuf if content_type == PROTOBUF else evaluations.store_arrow)(caller, body)
    return Response(status_code=204, headers={POSITION_HEADER: encode(positions)})


@router.get(
    "/evaluations",
    operation_id="getEvaluations",
    summary="Get span, trace, or document evaluations from a project",
    responses={200: {"content": {ARROW: _BINARY}}, **error_responses(LLM, *_ERRORS, "not_found")},
    response_class=StreamingResponse,
)
async def evaluations(
    request: Request,
    parts: SharedParts,
    caller: Annotated[Caller, Allowed("traces:read")],
    project_name: Annotated[str | None, Query(description="Name of the project; the default project when it is left out.")] = None,
) -> Response:
    """Arrow streams one behind the other, one for each name of the evaluations of traces, then of spans, then of documents."""
    earlier = request.query_params.get("project-name") or request.headers.get("project-name")
    project = project_name or earlier or parts.settings.default_project
    return StreamingResponse(await Evaluations(parts).streams(caller.tenant, project), media_type=ARROW)
