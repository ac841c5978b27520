"""`users`: the people with access."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts
from query_api.domain.users import create_user, delete_user, get_user, last_uses, list_users, update_user
from query_api.errors import error_responses
from query_api.surfaces.bodies import NAME_FORM, Body, Name
from query_api.surfaces.experimentation.answers import READ_ERRORS, WRITE_ERRORS, Nothing, PageLimit, PageMeta, PageNumber, instant, numbered, on_page, one
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from schemas.user import EMAIL_FORM, EMAIL_MAX, User, UserRole

router = APIRouter(tags=["users"])

GivenRole = Literal["admin", "analyst", "developer", "viewer"]
"""The roles of this surface; a member comes from the LLM surface."""
UserId = Annotated[str, Path(pattern=NAME_FORM, description="Id of the user.", examples=["usr_5b1d2f3c9a0e4d67"])]


class NewUser(Body):
    """Somebody to give access."""

    email: str = Field(
        pattern=f"^{EMAIL_FORM}$", max_length=EMAIL_MAX, examples=["new.user@example.com"], description="One user of the tenant has it, in any case."
    )
    name: Name = Field(examples=["New User"])
    role: GivenRole = Field("viewer", description="What the user may do; see the permission table.", examples=["developer"])


class UserChanges(Body):
    """The fields to change; the others stay."""

    name: Name = Field("", examples=["New User"])
    role: GivenRole = Field("viewer", description="The user's API keys follow it at once.", examples=["analyst"])


class UserModel(BaseModel):
    """A user."""

    id: str = Field(examples=["usr_5b1d2f3c9a0e4d67"])
    email: str
    name: str
    role: UserRole
    created_at: datetime | None
    last_login: datetime | None = Field(description="When one of the user's API keys was used last, up to some ten seconds late; null before the first use.")


class UserAnswer(BaseModel):
    """One user."""

    data: UserModel
    meta: Nothing


class UserPage(BaseModel):
    """A page of users."""

    data: list[UserModel]
    meta: PageMeta


class DeletedUser(BaseModel):
    """Who is gone."""

    id: str
    deleted: Literal[True]


class DeletedUserAnswer(BaseModel):
    """Who is gone."""

    data: DeletedUser
    meta: Nothing


@router.get("/users", response_model=UserPage, operation_id="list_users", summary="List users", responses=error_responses(EXPERIMENTATION, *READ_ERRORS))
async def list_(
    parts: SharedParts,
    caller: Annotated[Caller, Allowed("users:read")],
    role: Annotated[UserRole | None, Query(description="Only users with this role.")] = None,
    page: PageNumber = 1,
    limit: PageLimit = EXPERIMENTATION.paging.default,
) -> Response:
    """Oldest first."""
    users = await list_users(parts.stored, caller.tenant, role)
    uses = last_uses(parts, caller.tenant)
    return numbered([_view(user, uses.get(user.id)) for user in on_page(users, page, limit)], len(users), page, limit)


@router.get(
    "/users/{user_id}",
    response_model=UserAnswer,
    operation_id="get_user",
    summary="Get a user",
    responses=error_responses(EXPERIMENTATION, *READ_ERRORS, "not_found"),
)
async def get(parts: SharedParts, caller: Annotated[Caller, Allowed("users:read")], user_id: UserId) -> Response:
    """By id."""
    return one(_view(await get_user(parts.stored, caller.tenant, user_id), last_uses(parts, caller.tenant).get(user_id)))


@router.post(
    "/users",
    response_model=UserAnswer,
    status_code=201,
    operation_id="create_user",
    summary="Create a user",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def create(parts: SharedParts, caller: Annotated[Caller, Allowed("users:write")], body: NewUser) -> Response:
    """The address must be free in the tenant, else 409. Give the user an API key with `POST /api-keys` and `user_id`."""
    return one(_view(await create_user(parts, caller, body.email, body.name, body.role), None), status=201)


@router.put(
    "/users/{user_id}",
    response_model=UserAnswer,
    operation_id="update_user",
    summary="Update a user",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def update(parts: SharedParts, caller: Annotated[Caller, Allowed("users:write")], user_id: UserId, body: UserChanges) -> Response:
    """Changes name and role. The address is who the user is and stays: create another user for another address."""
    return one(_view(await update_user(parts, caller, user_id, body.given()), last_uses(parts, caller.tenant).get(user_id)))


@router.delete(
    "/users/{user_id}",
    response_model=DeletedUserAnswer,
    operation_id="delete_user",
    summary="Delete a user",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def delete(parts: SharedParts, caller: Annotated[Caller, Allowed("users:write")], user_id: UserId) -> Response:
    """The user's API keys are revoked with it."""
    await delete_user(parts, caller, user_id)
    return one({"id": user_id, "deleted": True})


def _view(user: User, last_login: datetime | None) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "created_at": instant(user.created_at),
        "last_login": instant(last_login),
    }
