"""`api-keys`: what programs and people authenticate with."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts
from query_api.domain.api_keys import WantedKey, create_api_key, list_api_keys, revoke_api_key
from query_api.errors import error_responses
from query_api.parts import Parts
from query_api.surfaces.bodies import NAME_FORM, Body, Instant, Name
from query_api.surfaces.experimentation.answers import READ_ERRORS, WRITE_ERRORS, Nothing, instant, one
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from schemas.definition_kinds import Key, Role, Scope, Tier
from schemas.permissions import Permission, permissions_of

router = APIRouter(tags=["API keys"])

_ROLES = "`member`, `ingest` and `read` are for programs; a member sends events, evaluates flags and reads, but changes nothing. See the permission table."


class NewKey(Body):
    """A key to create."""

    name: Name = Field(description="What it is for.", examples=["New API Key"])
    role: Role | None = Field(None, description=f"What it may do, `member` when left out. {_ROLES} A user's key has the role of the user.")
    scopes: list[Scope] = Field([], max_length=3, description="Stand in place of the role: `ingest`, `read` or both, or `admin`.")
    tier: Literal["standard", "enterprise"] = Field(
        "standard", description="How many requests it may make: 10 a second and 10,000 a day, or 100 and 1,000,000."
    )
    expires_at: Instant | None = Field(None, description="When it stops working; never when left out.")
    user_id: Name | None = Field(None, description="The user it is for: it has that user's role and is revoked when the user is deleted.")


class KeyModel(BaseModel):
    """A key, without what opens anything."""

    id: str
    name: str
    prefix: str = Field(description="How the key begins; empty for one that an operator chose.", examples=["ms_4k2j9x7q1p0z"])
    created_at: datetime | None
    last_used_at: datetime | None = Field(description="Up to some ten seconds late.")
    role: Role
    scopes: list[Scope]
    permissions: list[Permission]
    tier: Tier
    expires_at: datetime | None
    user_id: str | None
    revoked: bool
    revoked_at: datetime | None


class CreatedKeyModel(KeyModel):
    """A new key."""

    key: str = Field(description="The whole key. It is shown only now; the platform keeps a hash.")


class CreatedKeyAnswer(BaseModel):
    """A new key."""

    data: CreatedKeyModel
    meta: Nothing


class Keys(BaseModel):
    """All keys."""

    data: list[KeyModel]
    meta: Nothing


class Revoked(BaseModel):
    """A key that works no more."""

    id: str
    revoked: Literal[True]
    revoked_at: datetime


class RevokedAnswer(BaseModel):
    """A key that works no more."""

    data: Revoked
    meta: Nothing


@router.get("/api-keys", response_model=Keys, operation_id="list_api_keys", summary="List API keys", responses=error_responses(EXPERIMENTATION, *READ_ERRORS))
async def list_(parts: SharedParts, caller: Annotated[Caller, Allowed("keys:read")]) -> Response:
    """Oldest first, all on one page, revoked ones too."""
    return one([_view(parts, key) for key in await list_api_keys(parts.stored, caller.tenant)])


@router.post(
    "/api-keys",
    response_model=CreatedKeyAnswer,
    status_code=201,
    operation_id="create_api_key",
    summary="Create an API key",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def create(parts: SharedParts, caller: Annotated[Caller, Allowed("keys:write")], body: NewKey) -> Response:
    """A key makes no key that may do more than itself, and only an admin makes one of a higher tier. It works within two seconds."""
    wanted = WantedKey(body.name, body.role, tuple(dict.fromkeys(body.scopes)), body.tier, body.expires_at, body.user_id)
    created = await create_api_key(parts, caller, wanted)
    return one(_view(parts, created.key) | {"key": created.text}, status=201)


@router.delete(
    "/api-keys/{key_id}",
    response_model=RevokedAnswer,
    operation_id="revoke_api_key",
    summary="Revoke an API key",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def revoke(
    parts: SharedParts,
    caller: Annotated[Caller, Allowed("keys:write")],
    key_id: Annotated[str, Path(pattern=NAME_FORM, description="Id of the key.", examples=["4k2j9x7q1p0z"])],
) -> Response:
    """Within two seconds nothing accepts it any more. Revoking again changes nothing. A key revokes none that may do more than itself."""
    revoked_at = await revoke_api_key(parts, caller, key_id)
    return one({"id": key_id, "revoked": True, "revoked_at": instant(revoked_at)})


def _view(parts: Parts, key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "created_at": instant(key.created_at),
        "last_used_at": instant(parts.key_usage.last_used_at(key.tenant, key.id)),
        "role": key.role,
        "scopes": list(key.scopes),
        "permissions": sorted(permissions_of(key.role, key.scopes)),
        "tier": key.tier,
        "expires_at": instant(key.expires_at),
        "user_id": key.user or None,
        "revoked": key.revoked_at is not None,
        "revoked_at": instant(key.revoked_at),
    }
