"""`projects`: listed, read, created, described and deleted."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy
from query_api.domain.projects import Projects, project_json
from query_api.errors import error_responses
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import json_response, list_response

router = APIRouter(tags=["projects"])

_READ = ("unauthenticated", "forbidden", "validation_failed", "unavailable", "internal")
_CHANGE = (*_READ, "not_found", "not_visible_yet")
_FORBIDDEN_IN_NAMES = r"^[^/?#]+$"

Identifier = Annotated[str, Path(description="Name of the project, or its GlobalID. A name here holds no `/`, `?` or `#`.", examples=["default"])]


class NewProject(BaseModel):
    """A project to create."""

    name: str = Field(min_length=1, max_length=300, pattern=_FORBIDDEN_IN_NAMES, examples=["my-agent"])
    description: str | None = Field(None, max_length=10_000)


class Description(BaseModel):
    """What of a project can change."""

    description: str | None = Field(None, max_length=10_000, description="Null leaves it as it is.")


class Project(BaseModel):
    """A project."""

    id: str
    name: str
    description: str | None


class One(BaseModel):
    """One project."""

    data: Project


class Several(BaseModel):
    """A page of projects."""

    data: list[Project]
    next_cursor: str | None


_EXAMPLE: dict[str, Any] = {"data": {"id": "UHJvamVjdDox", "name": "default", "description": None}}


@router.get("/projects", response_model=Several, operation_id="getProjects", summary="List all projects", responses=error_responses(LLM, *_READ))
async def projects(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Annotated[Caller, Allowed("traces:read")],
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before: the id of a project.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most projects in the answer.")] = 100,
    include_experiment_projects: Annotated[bool, Query(description="Also those that hold the traces of experiments.")] = False,
) -> Response:
    """Newest first. A project that only spans have named is listed too."""
    return list_response(policy, await Projects(parts).page(caller.tenant, limit=limit, cursor=cursor, of_experiments=include_experiment_projects))


@router.post("/projects", response_model=One, operation_id="createProject", summary="Create a project", responses=error_responses(LLM, *_READ, "conflict"))
async def create(parts: SharedParts, caller: Annotated[Caller, Allowed("traces:write")], body: NewProject) -> Response:
    """Needed only for a description: spans make the project they name."""
    return json_response({"data": project_json(await Projects(parts).create(caller, body.name, body.description))})


@router.get(
    "/projects/{project_identifier}",
    response_model=One,
    operation_id="getProject",
    summary="Get a project by id or name",
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}, **error_responses(LLM, *_READ, "not_found")},
)
async def project(parts: SharedParts, caller: Annotated[Caller, Allowed("traces:read")], project_identifier: Identifier) -> Response:
    """One project."""
    return json_response({"data": project_json(await Projects(parts).get(caller.tenant, project_identifier))})


@router.put(
    "/projects/{project_identifier}",
    response_model=One,
    operation_id="updateProject",
    summary="Change the description of a project",
    responses=error_responses(LLM, *_CHANGE),
)
async def update(parts: SharedParts, caller: Annotated[Caller, Allowed("traces:write")], project_identifier: Identifier, body: Description) -> Response:
    """The name of a project cannot be changed; a `name` in the body is left out of account."""
    return json_response({"data": project_json(await Projects(parts).describe(caller, project_identifier, body.description))})


@router.delete(
    "/projects/{project_identifier}", status_code=204, operation_id="deleteProject", summary="Delete a project", responses=error_responses(LLM, *_CHANGE)
)
async def remove(parts: SharedParts, caller: Annotated[Caller, Allowed("traces:delete")], project_identifier: Identifier) -> Response:
    """With every span in it that began before now; a late or repeated one stays deleted. The default project cannot be deleted."""
    await Projects(parts).delete(caller, project_identifier)
    return Response(status_code=204)
