"""`prompts` and `prompt_versions`: created, versioned, tagged, changed and deleted."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy
from query_api.domain.prompts import Prompts, prompt_json, version_json
from query_api.errors import error_responses
from query_api.surfaces.llm import prompt_models as models
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import json_response, list_response

router = APIRouter(tags=["prompts"])

_ERRORS: Final = ("unauthenticated", "forbidden", "validation_failed", "unavailable", "internal")
_FOUND: Final = (*_ERRORS, "not_found")

Reader = Annotated[Caller, Allowed("prompts:read")]
Writer = Annotated[Caller, Allowed("prompts:write")]
Identifier = Annotated[str, Path(description="Name of the prompt, or its GlobalID.", examples=["support-reply"])]
VersionId = Annotated[str, Path(description="GlobalID of the version.", examples=["UHJvbXB0VmVyc2lvbjox"])]
TagName = Annotated[str, Path(description="Name of the tag.", examples=["production"])]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before: the id of its first item.")]
Limit = Annotated[int, Query(ge=1, le=LLM.paging.maximum, description="Most items in the answer.")]


@router.get("/prompts", response_model=models.Prompts, operation_id="getPrompts", summary="List all prompts", responses=error_responses(LLM, *_ERRORS))
async def prompts(parts: SharedParts, policy: SurfacePolicy, caller: Reader, cursor: Cursor = None, limit: Limit = LLM.paging.default) -> Response:
    """Newest first."""
    return list_response(policy, await Prompts(parts).page(caller.tenant, limit=limit, cursor=cursor))


@router.post(
    "/prompts",
    response_model=models.OneVersion,
    operation_id="postPromptVersion",
    summary="Create a prompt, or the next version of one",
    responses=error_responses(LLM, *_FOUND),
)
async def create(parts: SharedParts, caller: Writer, body: models.NewVersion) -> Response:
    """The answer is the version. A prompt that exists already keeps its description and metadata."""
    given = body.prompt.model_dump(exclude={"name"})
    return json_response({"data": version_json(await Prompts(parts).create(caller, body.prompt.name, given, body.version.sent()))})


@router.patch(
    "/prompts/{prompt_identifier}",
    response_model=models.OnePrompt,
    operation_id="patchPrompt",
    summary="Change description and metadata of a prompt",
    responses=error_responses(LLM, *_FOUND),
)
async def change(parts: SharedParts, caller: Writer, prompt_identifier: Identifier, body: models.PromptChanges) -> Response:
    """A field that is left out stays."""
    fields = body.model_dump(exclude_unset=True)
    return json_response({"data": prompt_json(await Prompts(parts).change(caller, prompt_identifier, fields))})


@router.delete("/prompts/{prompt_identifier}", status_code=204, operation_id="deletePrompt", summary="Delete a prompt", responses=error_responses(LLM, *_FOUND))
async def remove(parts: SharedParts, caller: Writer, prompt_identifier: Identifier) -> Response:
    """With its versions and tags."""
    await Prompts(parts).delete(caller, prompt_identifier)
    return Response(status_code=204)


@router.get(
    "/prompts/{prompt_identifier}/versions",
    response_model=models.PromptVersions,
    operation_id="listPromptVersions",
    summary="List the versions of a prompt",
    responses=error_responses(LLM, *_FOUND),
)
async def versions(
    parts: SharedParts, policy: SurfacePolicy, caller: Reader, prompt_identifier: Identifier, cursor: Cursor = None, limit: Limit = LLM.paging.default
) -> Response:
    """Newest first."""
    return list_response(policy, await Prompts(parts).versions(caller.tenant, prompt_identifier, limit=limit, cursor=cursor))


@router.post(
    "/prompts/{prompt_identifier}/versions",
    response_model=models.OneVersion,
    status_code=201,
    operation_id="createPromptVersion",
    summary="Create the next version of a prompt",
    responses=error_responses(LLM, *_FOUND),
)
async def add(parts: SharedParts, caller: Writer, prompt_identifier: Identifier, body: models.NextVersion) -> Response:
    """With tags, which leave the version they pointed to before."""
    tags = [(tag.name, tag.description) for tag in body.tags or ()]
    return json_response({"data": version_json(await Prompts(parts).add(caller, prompt_identifier, body.version.sent(), tags))}, status=201)


@router.get(
    "/prompts/{prompt_identifier}/latest",
    response_model=models.OneVersion,
    operation_id="getPromptVersionLatest",
    summary="Get the newest version of a prompt",
    responses=error_responses(LLM, *_FOUND),
)
async def latest(parts: SharedParts, caller: Reader, prompt_identifier: Identifier) -> Response:
    """One version."""
    return json_response({"data": version_json(await Prompts(parts).latest(caller.tenant, prompt_identifier))})


@router.get(
    "/prompts/{prompt_identifier}/tags/{tag_name}",
    response_model=models.OneVersion,
    operation_id="getPromptVersionByTagName",
    summary="Get the version of a prompt that has a tag",
    responses=error_responses(LLM, *_FOUND),
)
async def tagged(parts: SharedParts, caller: Reader, prompt_identifier: Identifier, tag_name: TagName) -> Response:
    """One version."""
    return json_response({"data": version_json(await Prompts(parts).tagged(caller.tenant, prompt_identifier, tag_name))})


@router.get(
    "/prompt_versions/{prompt_version_id}",
    response_model=models.OneVersion,
    operation_id="getPromptVersionByPromptVersionId",
    summary="Get a version of a prompt",
    responses=error_responses(LLM, *_FOUND),
)
async def version(parts: SharedParts, caller: Reader, prompt_version_id: VersionId) -> Response:
    """One version."""
    return json_response({"data": version_json(await Prompts(parts).version(caller.tenant, prompt_version_id))})


@router.get(
    "/prompt_versions/{prompt_version_id}/tags",
    response_model=models.Tags,
    operation_id="getPromptVersionTags",
    summary="List the tags of a version",
    responses=error_responses(LLM, *_FOUND),
)
async def tags(
    parts: SharedParts, policy: SurfacePolicy, caller: Reader, prompt_version_id: VersionId, cursor: Cursor = None, limit: Limit = LLM.paging.default
) -> Response:
    """Newest first."""
    return list_response(policy, await Prompts(parts).tags(caller.tenant, prompt_version_id, limit=limit, cursor=cursor))


@router.post(
    "/prompt_versions/{prompt_version_id}/tags",
    status_code=204,
    operation_id="createPromptVersionTag",
    summary="Tag a version",
    responses=error_responses(LLM, *_FOUND),
)
async def tag(parts: SharedParts, caller: Writer, prompt_version_id: VersionId, body: models.TagData) -> Response:
    """A tag points to one version of its prompt: another version that had it loses it."""
    await Prompts(parts).tag(caller, prompt_version_id, body.name, body.description)
    return Response(status_code=204)


@router.delete(
    "/prompt_versions/{prompt_version_id}/tags/{tag_name}",
    status_code=204,
    operation_id="deletePromptVersionTag",
    summary="Remove a tag",
    responses=error_responses(LLM, *_FOUND),
)
async def untag(parts: SharedParts, caller: Writer, prompt_version_id: VersionId, tag_name: TagName) -> Response:
    """From the prompt of the version, whichever version has it."""
    await Prompts(parts).untag(caller, prompt_version_id, tag_name)
    return Response(status_code=204)
