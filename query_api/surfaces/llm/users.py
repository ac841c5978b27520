"""`users` and `user`: who has access, and who is asking."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, SecretStr
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, Reader, SharedParts, SurfacePolicy
from query_api.domain import llm_users
from query_api.domain.llm_users import LlmRole
from query_api.errors import error_responses
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import json_response, list_response
from schemas.user import EMAIL_MAX, AuthMethod

router = APIRouter(tags=["users"])

_ERRORS: Final = ("unauthenticated", "forbidden", "validation_failed", "unavailable", "internal")


class UserData(BaseModel):
    """Somebody to give access. What proves who a person is stays elsewhere: give the user an API key."""

    email: str = Field(min_length=3, max_length=EMAIL_MAX, examples=["new.user@example.com"])
    username: str = Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$", examples=["New User"])
    role: LlmRole = Field(description="SYSTEM is refused.", examples=["MEMBER"])
    auth_method: AuthMethod = Field(description="Kept and shown; it decides nothing.")
    password: SecretStr | None = Field(None, description="Left out of account and never stored: access is by API keys.")


class NewUser(BaseModel):
    """A user to create."""

    user: UserData
    send_welcome_email: bool = Field(True, description="No e-mail is ever sent.")


class User(BaseModel):
    """A user."""

    id: str
    created_at: datetime
    updated_at: datetime
    email: str
    username: str
    role: LlmRole
    auth_method: AuthMethod
    password_needs_reset: bool | None = Field(None, description="False, and there only for LOCAL.")


class Anonymous(BaseModel):
    """A caller without a key."""

    auth_method: Literal["ANONYMOUS"]


class OneUser(BaseModel):
    """One user."""

    data: User


class Viewer(BaseModel):
    """Who is asking."""

    data: User | Anonymous


class Users(BaseModel):
    """A page of users."""

    data: list[User]
    next_cursor: str | None


_EXAMPLE: Final[dict[str, Any]] = {"data": {"auth_method": "ANONYMOUS"}}


@router.get(
    "/user",
    response_model=Viewer,
    operation_id="getViewer",
    summary="Get the user who is asking",
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}, **error_responses(LLM, *_ERRORS)},
)
async def viewer(parts: SharedParts, caller: Reader) -> Response:
    """The user whose key it is; the system user for a program's key."""
    return json_response({"data": await llm_users.viewer(parts, caller)})


@router.get("/users", response_model=Users, operation_id="getUsers", summary="List all users", responses=error_responses(LLM, *_ERRORS))
async def users(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Annotated[Caller, Allowed("users:read")],
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=LLM.paging.maximum, description="Most users in the answer.")] = LLM.paging.default,
) -> Response:
    """Newest first. Two are always there: `admin` stands for the first key of the installation, `system` for programs."""
    return list_response(policy, await llm_users.list_users(parts, caller.tenant, limit=limit, cursor=cursor))


@router.post(
    "/users",
    response_model=OneUser,
    status_code=201,
    operation_id="createUser",
    summary="Create a user",
    responses=error_responses(LLM, *_ERRORS, "invalid_argument", "conflict"),
)
async def create(parts: SharedParts, caller: Annotated[Caller, Allowed("users:write")], body: NewUser) -> Response:
    """Address and name must be free, else 409. The user gets API keys on the experimentation surface."""
    given = body.user
    return json_response({"data": await llm_users.create(parts, caller, given.email, given.username, given.role, given.auth_method)}, status=201)


@router.delete(
    "/users/{user_id}", status_code=204, operation_id="deleteUser", summary="Delete a user", responses=error_responses(LLM, *_ERRORS, "not_found", "conflict")
)
async def remove(
    parts: SharedParts,
    caller: Annotated[Caller, Allowed("users:write")],
    user_id: Annotated[str, Path(description="GlobalID of the user.", examples=["VXNlcjox"])],
) -> Response:
    """The user's API keys are revoked with it."""
    await llm_users.delete(parts, caller, user_id)
    return Response(status_code=204)
