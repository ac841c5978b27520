"""API keys as their owners manage them over the API: nobody hands out, or takes away, more than the own key may do."""

from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from infra.runtime.errors import Conflict, Forbidden
from query_api.access import Caller
from query_api.control.audit import audited
from query_api.control.store import Draft
from query_api.domain.change import change, wrong_field
from query_api.domain.keys import CreatedKey, new_key
from query_api.domain.stored import StoredDefinitions
from query_api.parts import Parts
from schemas.api_keys import make_key
from schemas.definition_kinds import ROLE_SCOPES, Key, Role, Scope, Tier, encode_definition
from schemas.permissions import permissions_of
from schemas.user import User

_RANK: Final = {tier: rank for rank, tier in enumerate(("standard", "enterprise", "unlimited"))}


async def list_api_keys(stored: StoredDefinitions, tenant: str) -> list[Key]:
    """The keys of a tenant, oldest first, revoked ones too."""
    keys = [each.definition for each in await stored.every(Key, tenant)]
    return sorted(keys, key=lambda key: (key.created_at is not None, key.created_at, key.id))


class WantedKey(NamedTuple):
    """What a new key shall be."""

    name: str
    role: Role | None = None
    """None is the role of the user, for a program `member`."""
    scopes: tuple[Scope, ...] = ()
    tier: Tier = "standard"
    expires_at: datetime | None = None
    user: str | None = None
    """Id of the user it is for; None for a program."""


async def create_api_key(parts: Parts, caller: Caller, wanted: WantedKey) -> CreatedKey:
    """Makes a key for a program, or for a user, whose role it then has.

    Raises `Forbidden` when it could do more than the caller, or is for another user and the caller may not change users,
    `ValidationFailed` for a time that is over, a user that does not exist, or a role or scope that the user does not have.
    """
    stored = parts.stored
    owner = await stored.get_stored(User, caller.tenant, wanted.user) if wanted.user else None
    if wanted.user and owner is None:
        raise wrong_field(f"user_id: there is no user {wanted.user!r}")
    if wanted.expires_at is not None and wanted.expires_at <= stored.now():
        raise wrong_field("expires_at: is over already; choose a later time or leave it out")
    role: Role = wanted.role or "member"
    if owner is not None:
        role = owner.definition.role
        if wanted.role not in (None, role):
            raise wrong_field(f"role: a user's key has the role of the user, {role}; leave `role` out")
        if not set(wanted.scopes) <= set(ROLE_SCOPES[role]):
            raise wrong_field(f"scopes: the role of the user, {role}, has the scopes {', '.join(ROLE_SCOPES[role])}; leave out the others")
        if owner.definition.id != caller.user:
            caller.needs("users:write")
    _check_within(caller, permissions_of(role, wanted.scopes), "make")
    if _RANK[wanted.tier] > _RANK[caller.tier] and caller.role != "admin":
        raise Forbidden(f"a key of the tier {caller.tier} makes none of the tier {wanted.tier}; ask an admin", details={"tier": wanted.tier})
    text = make_key()
    key = new_key(
        caller.tenant, wanted.name, text, role, wanted.scopes, wanted.expires_at, tier=wanted.tier, user=wanted.user or "", created_at=stored.now()
    )  # fmt: skip
    # The user is written unchanged, so that one who is deleted at the same time leaves no key behind.
    unchanged = [Draft("user", caller.tenant, key.user, encode_definition(owner.definition), owner.version)] if owner else []
    draft = Draft("key", caller.tenant, key.id, encode_definition(key), 0)
    try:
        await stored.write([*unchanged, draft], [audited(caller.actor, "key.created", None, key)])
    except Conflict as error:
        raise Conflict(f"the user {key.user} was changed at the same time; try again") from error
    return CreatedKey(key, text)


async def revoke_api_key(parts: Parts, caller: Caller, key_id: str) -> datetime:
    """Ends a key at once and for good and returns since when; a second time changes nothing.

    Raises `NotFound`, and `Forbidden` for a key that may do more than the caller."""
    stored = parts.stored

    def alter(key: Key) -> Key:
        if key.id != caller.key_id:
            _check_within(caller, permissions_of(key.role, key.scopes), "revoke")
        return key if key.revoked_at else msgspec.structs.replace(key, revoked_at=stored.now())

    key = await change(stored, Key, caller.tenant, key_id, caller.actor, "key.revoked", alter)
    assert key.revoked_at is not None
    return key.revoked_at


def _check_within(caller: Caller, wanted: frozenset[str], verb: str) -> None:
    beyond = sorted(wanted - caller.permissions)
    if beyond:
        raise Forbidden(f"this API key cannot {verb} a key that may do more than itself: {', '.join(beyond)}", details={"permissions": beyond})
