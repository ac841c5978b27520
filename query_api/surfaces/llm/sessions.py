"""Sessions: listed, read and deleted."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy, Waits
from query_api.domain.session_list import Sessions
from query_api.errors import error_responses
from query_api.surfaces.llm import span_models as models
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.llm.projects import Identifier
from query_api.surfaces.llm.spans import Cursor, Limit
from query_api.surfaces.policy import json_response, list_response

router = APIRouter(tags=["sessions"])

_CHANGE = ("unauthenticated", "forbidden", "not_found", "validation_failed", "unavailable", "not_visible_yet", "internal")
_READ = (*_CHANGE, "query_limit")

Order = Literal["asc", "desc"]
SessionIdentifier = Annotated[str, Path(description="GlobalID, or the id that the program gave: `session.id` of its spans.")]


@router.get(
    "/projects/{project_identifier}/sessions",
    response_model=models.Sessions,
    operation_id="listProjectSessions",
    summary="List sessions of a project",
    responses=error_responses(LLM, *_READ),
)
async def sessions(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Annotated[Caller, Allowed("traces:read")],
    wait: Waits,
    project_identifier: Identifier,
    order: Annotated[Order, Query(description="The oldest first, or the newest.")] = "asc",
    cursor: Cursor = None,
    limit: Limit = LLM.paging.default,
) -> Response:
    """By the start of their first span."""
    page = await Sessions(parts).page(caller.tenant, project_identifier, descending=order == "desc", limit=limit, cursor=cursor, wait=wait)
    return list_response(policy, page)


@router.get(
    "/sessions/{session_identifier:path}",
    response_model=models.OneSession,
    operation_id="getSession",
    summary="Get a session",
    responses=error_responses(LLM, *_READ),
)
async def session(parts: SharedParts, caller: Annotated[Caller, Allowed("traces:read")], session_identifier: SessionIdentifier) -> Response:
    """With its traces, the oldest first. Of a session with traces in several projects, those of the project in which it was active last."""
    return json_response({"data": await Sessions(parts).get(caller.tenant, session_identifier)})


@router.post("/sessions/delete", status_code=204, operation_id="deleteSessions", summary="Delete sessions", responses=error_responses(LLM, *_CHANGE))
async def remove_several(parts: SharedParts, caller: Annotated[Caller, Allowed("traces:delete")], body: models.SessionsToDelete) -> Response:
    """Every trace of each; unknown sessions are passed over."""
    await Sessions(parts).delete_several(caller, body.session_identifiers)
    return Response(status_code=204)


@router.delete(
    "/sessions/{session_identifier:path}", status_code=204, operation_id="deleteSession", summary="Delete a session", responses=error_responses(LLM, *_CHANGE)
)
async def remove(parts: SharedParts, caller: Annotated[Caller, Allowed("traces:delete")], session_identifier: SessionIdentifier) -> Response:
    """Every trace with a span that names it, also spans of these traces that come later."""
    await Sessions(parts).delete(caller, session_identifier)
    return Response(status_code=204)
