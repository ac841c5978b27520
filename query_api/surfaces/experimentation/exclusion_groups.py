"""`exclusion-groups`: experiments that share no unit."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts
from query_api.domain.exclusion_groups import create_group, get_group, list_groups, update_group
from query_api.domain.stored import Stored
from query_api.errors import error_responses
from query_api.surfaces.bodies import NAME_FORM, Body, Name, Percent
from query_api.surfaces.experimentation.answers import READ_ERRORS, WRITE_ERRORS, Nothing, PageLimit, PageMeta, PageNumber, numbered, on_page, one
from query_api.surfaces.experimentation.experiment_models import number
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from query_api.surfaces.experimentation.versions import Expected
from schemas.exclusion import ExclusionGroup

router = APIRouter(tags=["exclusion groups"])

GroupId = Annotated[str, Path(pattern=NAME_FORM, description="Id of the group.", examples=["grp_8c1f0a9be2d34757"])]


class GroupChanges(Body):
    """The fields to change; the others stay."""

    name: Name = Field("", examples=["Checkout page"])
    holdout: Percent = Field(0.0, description="Percent of the units kept out of every experiment of the group; fixed once an experiment has a slot.")


class NewGroup(GroupChanges):
    """A group to create."""

    name: Name = Field(examples=["Checkout page"])


class SlotModel(BaseModel):
    """The units of one experiment."""

    experiment_id: str
    share: float = Field(description="Percent of the group's units.")


class GroupModel(BaseModel):
    """A group. What holdout and slots leave over takes part in none of its experiments."""

    id: str = Field(examples=["grp_8c1f0a9be2d34757"])
    name: str
    holdout: float
    slots: list[SlotModel] = Field(description="In the order of the units. Creating an experiment with `group` and `group_share` adds one.")


class GroupAnswer(BaseModel):
    """One group."""

    data: GroupModel
    meta: Nothing


class GroupPage(BaseModel):
    """A page of groups."""

    data: list[GroupModel]
    meta: PageMeta


@router.get(
    "/exclusion-groups",
    response_model=GroupPage,
    operation_id="list_exclusion_groups",
    summary="List exclusion groups",
    responses=error_responses(EXPERIMENTATION, *READ_ERRORS),
)
async def list_(
    parts: SharedParts, caller: Annotated[Caller, Allowed("experiments:read")], page: PageNumber = 1, limit: PageLimit = EXPERIMENTATION.paging.default
) -> Response:
    """By name."""
    groups = await list_groups(parts.stored, caller.tenant)
    return numbered([_group(each.definition) for each in on_page(groups, page, limit)], len(groups), page, limit)


@router.get(
    "/exclusion-groups/{group_id}",
    response_model=GroupAnswer,
    operation_id="get_exclusion_group",
    summary="Get an exclusion group",
    responses=error_responses(EXPERIMENTATION, *READ_ERRORS, "not_found"),
)
async def get(parts: SharedParts, caller: Annotated[Caller, Allowed("experiments:read")], group_id: GroupId) -> Response:
    """With its slots."""
    return _one(await get_group(parts.stored, caller.tenant, group_id))


@router.post(
    "/exclusion-groups",
    response_model=GroupAnswer,
    status_code=201,
    operation_id="create_exclusion_group",
    summary="Create an exclusion group",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def create(parts: SharedParts, caller: Annotated[Caller, Allowed("experiments:write")], body: NewGroup) -> Response:
    """Its experiments name it as their `group` when they are created."""
    return _one(await create_group(parts.stored, caller.tenant, caller.actor, body.given()), status=201)


@router.put(
    "/exclusion-groups/{group_id}",
    response_model=GroupAnswer,
    operation_id="update_exclusion_group",
    summary="Update an exclusion group",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def update(
    parts: SharedParts, caller: Annotated[Caller, Allowed("experiments:write")], group_id: GroupId, body: GroupChanges, expected: Expected
) -> Response:
    """The name, and the holdout as long as no experiment has a slot (409 then, because units would move)."""
    return _one(await update_group(parts.stored, caller.tenant, caller.actor, group_id, body.given(), expected))


def _one(stored: Stored[ExclusionGroup], status: int = 200) -> Response:
    return one(_group(stored.definition), status=status, version=stored.version)


def _group(group: ExclusionGroup) -> dict[str, Any]:
    slots = [{"experiment_id": slot.experiment, "share": number(slot.share)} for slot in group.slots]
    return {"id": group.id, "name": group.name or group.id, "holdout": number(group.holdout), "slots": slots}
