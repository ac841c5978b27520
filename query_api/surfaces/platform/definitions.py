"""`definitions`: what is in force."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from query_api.dependencies import Reader, SharedParts, SurfacePolicy
from query_api.domain.definition_list import list_definitions
from query_api.errors import error_responses
from query_api.surfaces.platform.models import READ_ERRORS, Meta
from query_api.surfaces.platform.policy import PLATFORM
from query_api.surfaces.policy import list_response
from schemas.definitions import DefinitionKind

router = APIRouter(tags=["definitions"], responses=error_responses(PLATFORM, *READ_ERRORS))


class DefinitionModel(BaseModel):
    """One definition."""

    kind: DefinitionKind
    id: str
    definition: dict[str, Any]


class DefinitionsPage(BaseModel):
    """A page of definitions."""

    data: list[DefinitionModel]
    next_cursor: str | None
    meta: Meta


@router.get("/definitions", response_model=DefinitionsPage, operation_id="list_definitions", summary="Definitions in force")
async def definitions(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Reader,
    kind: Annotated[DefinitionKind | None, Query(description="Only this kind.")] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=PLATFORM.paging.maximum)] = PLATFORM.paging.default,
) -> Response:
    """Tenant, keys (never their text), experiments, metrics and price lists, as ingest and streams see them. Answers also
    while the control store is down; a change is listed once it went through the control topic."""
    page = list_definitions(parts.definitions, caller.tenant, parts.clock.now_us(), kind=kind, limit=limit, cursor=cursor, watermark={})
    return list_response(policy, page)
