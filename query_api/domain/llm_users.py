"""The users of a tenant as the LLM surface shows them. They are the platform's users, whose API keys give access: no password is kept."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from infra.runtime.errors import Conflict, Forbidden, InvalidArgument, NotFound, ValidationFailed
from query_api.access import Caller
from query_api.domain.change import existing
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.stored import Stored
from query_api.domain.users import create_user, delete_user
from query_api.parts import Parts
from query_api.surfaces.policy import Page
from schemas.definition_kinds import Key
from schemas.global_id import global_id, number_of, user_number
from schemas.user import AuthMethod, User, UserRole

LlmRole = Literal["SYSTEM", "ADMIN", "MEMBER", "VIEWER"]

_GIVEN: Final[Mapping[LlmRole, UserRole]] = {"ADMIN": "admin", "MEMBER": "member", "VIEWER": "viewer"}
_SHOWN: Final[Mapping[UserRole, LlmRole]] = {"admin": "ADMIN", "viewer": "VIEWER", "analyst": "MEMBER", "developer": "MEMBER", "member": "MEMBER"}
_SYSTEM: Final = (1, "system@localhost", "system", "SYSTEM")
"""Programs: keys that belong to no person."""
_ADMIN: Final = (2, "admin@localhost", "admin", "ADMIN")
"""Whoever holds the first key of the installation."""
_BUILT_IN: Final = (_SYSTEM, _ADMIN)


async def list_users(parts: Parts, tenant: str, *, limit: int, cursor: str | None) -> Page:
    """One page, the newest user first; the two that are always there come last. Raises ValidationFailed for a bad cursor."""
    shown = await _shown(parts, tenant)
    place = decode_cursor(cursor, tuple[str, str]) if cursor else None
    found = [each for each in shown if place is None or _place(each) <= place]
    return Page(found[:limit], encode_cursor(_place(found[limit])) if len(found) > limit else None)


async def create(parts: Parts, caller: Caller, email: str, username: str, role: LlmRole, auth_method: AuthMethod) -> dict[str, Any]:
    """Stores a user. Raises InvalidArgument for the role SYSTEM and Conflict when address or name are taken."""
    if role == "SYSTEM":
        raise InvalidArgument("Cannot create users with SYSTEM role; the roles are ADMIN, MEMBER and VIEWER")
    if any(username == built_in[2] for built_in in _BUILT_IN):
        raise Conflict(f"Username already exists: {username!r}")
    user = await create_user(parts, caller, email.strip().lower(), username, _GIVEN[role], auth_method, only_of_name=True)
    return _user_json(await existing(parts.stored, User, caller.tenant, user.id))


async def delete(parts: Parts, caller: Caller, identifier: str) -> None:
    """Removes a user and revokes the user's keys. Raises ValidationFailed for what is no id of a user, NotFound, and Forbidden for the built-in ones."""
    number = number_of(identifier, "User")
    if number is None:
        raise ValidationFailed(f"Invalid User GlobalID format: {identifier}")
    if any(number == built_in[0] for built_in in _BUILT_IN):
        raise Forbidden("Cannot delete the default admin or system user")
    found = next((each.definition for each in await parts.stored.every(User, caller.tenant) if user_number(each.definition.id) == number), None)
    if found is None:
        raise NotFound("User not found")
    await delete_user(parts, caller, found.id)


async def viewer(parts: Parts, caller: Caller) -> dict[str, Any]:
    """Who is calling: the user whose key it is, the system user for a program's key, and nobody in particular without a key."""
    if caller.key is None:
        return {"auth_method": "ANONYMOUS"}
    users = await _shown(parts, caller.tenant)
    user = next((each.definition for each in await parts.stored.every(User, caller.tenant) if each.definition.id == caller.user), None)
    wanted = global_id("User", _SYSTEM[0] if user is None else user_number(user.id))
    return next(each for each in users if each["id"] == wanted)


async def _shown(parts: Parts, tenant: str) -> list[dict[str, Any]]:
    users = [_user_json(each) for each in await parts.stored.every(User, tenant)]
    keys = [each.definition.created_at for each in await parts.stored.every(Key, tenant)]
    since = _time(min((time for time in keys if time is not None), default=None))
    built_in = [_json(number, email, name, role, "LOCAL", since, since) for number, email, name, role in _BUILT_IN]
    return sorted(users, key=_place, reverse=True) + built_in


def _place(user: Mapping[str, Any]) -> tuple[str, str]:
    """Where a user stands in the list; the built-in ones behind all others."""
    built_in = number_of(user["id"], "User") in {each[0] for each in _BUILT_IN}
    return ("", user["username"]) if built_in else (user["created_at"], user["id"])


def _user_json(stored: Stored[User]) -> dict[str, Any]:
    user = stored.definition
    created = _time(user.created_at or stored.changed_at)
    return _json(user_number(user.id), user.email, user.name, _SHOWN[user.role], user.auth_method, created, _time(stored.changed_at or user.created_at))


def _json(number: int, email: str, name: str, role: str, auth_method: str, created: str, updated: str) -> dict[str, Any]:
    shown = {"id": global_id("User", number), "created_at": created, "updated_at": updated, "email": email, "username": name, "role": role}
    return {**shown, "auth_method": auth_method, **({"password_needs_reset": False} if auth_method == "LOCAL" else {})}


def _time(instant: datetime | None) -> str:
    """In UTC with an offset; the epoch where nobody knows."""
    return (instant or datetime.fromtimestamp(0, UTC)).astimezone(UTC).isoformat(timespec="microseconds")
