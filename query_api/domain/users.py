"""The people with access to a tenant: listed, created, changed and deleted."""

from datetime import datetime
from typing import Any

import msgspec

from infra.runtime.errors import Conflict
from query_api.access import Caller
from query_api.control.audit import AuditEntry, audited
from query_api.control.store import Draft, Outdated, Payloads
from query_api.domain.change import built, change, existing, missing
from query_api.domain.stored import StoredDefinitions
from query_api.parts import Parts
from schemas.definition_kinds import Key, encode_definition
from schemas.user import AuthMethod, User, UserRole, user_id


async def list_users(stored: StoredDefinitions, tenant: str, role: UserRole | None) -> list[User]:
    """The users of a tenant, oldest first."""
    users = [each.definition for each in await stored.every(User, tenant)]
    return sorted((user for user in users if role in (None, user.role)), key=lambda user: (user.created_at is not None, user.created_at, user.id))


async def get_user(stored: StoredDefinitions, tenant: str, name: str) -> User:
    """One user by id. Raises `NotFound`."""
    found = await stored.get(User, tenant, name)
    if found is None:
        raise missing("user", name)
    return found.definition


def last_uses(parts: Parts, tenant: str) -> dict[str, datetime]:
    """By user id, when one of the user's API keys was used last; without those that never were."""
    uses: dict[str, datetime] = {}
    for key in parts.definitions.keys(tenant):
        used = parts.key_usage.last_used_at(tenant, key.id) if key.user else None
        if used is not None:
            uses[key.user] = max(used, uses.get(key.user, used))
    return uses


async def create_user(
    parts: Parts, caller: Caller, email: str, name: str, role: UserRole, auth_method: AuthMethod = "LOCAL", *, only_of_name: bool = False
) -> User:
    """Stores a new user. Raises `Conflict` when somebody has the address already, in any case, or with `only_of_name` the name."""
    stored = parts.stored
    fields = {"tenant": caller.tenant, "id": user_id(email), "email": email, "name": name, "role": role, "created_at": stored.now()}
    user = built(User, {**fields, "auth_method": auth_method})
    draft, line = Draft("user", caller.tenant, user.id, encode_definition(user), 0), audited(caller.actor, "user.created", None, user)

    def taken(others: Payloads) -> None:
        if any(other.name == name and other.id != user.id for other in (msgspec.json.decode(each, type=User) for each in others)):
            raise Conflict(f"name: {name!r} is the name of another user already", details={"name": name})

    try:
        await stored.write([draft], [line], taken if only_of_name else None)
    except Outdated as error:
        raise Conflict(f"email: {email!r} is the address of the user {user.id} already", details={"email": email, "id": user.id}) from error
    return user


async def update_user(parts: Parts, caller: Caller, name: str, fields: dict[str, Any]) -> User:
    """Changes name and role; the user's keys follow the role at once. Raises `NotFound`."""
    return await change(parts.stored, User, caller.tenant, name, caller.actor, "user.updated", lambda before: msgspec.structs.replace(before, **fields))


async def delete_user(parts: Parts, caller: Caller, name: str) -> None:
    """Removes a user and revokes the user's keys. Raises `NotFound`."""
    stored = parts.stored
    found = await existing(stored, User, caller.tenant, name)
    drafts, lines = await _revocations(stored, caller, name)
    gone = Draft("user", caller.tenant, name, None, found.version)
    await stored.write([gone, *drafts], [audited(caller.actor, "user.deleted", found.definition, None), *lines])
    # A key may have been made since its keys were listed. Now none can be made any more, so this finds the last.
    drafts, lines = await _revocations(stored, caller, name)
    if drafts:
        await stored.write(drafts, lines)


async def _revocations(stored: StoredDefinitions, caller: Caller, name: str) -> tuple[list[Draft], list[AuditEntry]]:
    drafts, lines = [], []
    for each in await stored.every(Key, caller.tenant):
        key = each.definition
        if key.user == name and key.revoked_at is None:
            after = msgspec.structs.replace(key, revoked_at=stored.now())
            drafts.append(Draft("key", key.tenant, key.id, encode_definition(after), each.version))
            lines.append(audited(caller.actor, "key.revoked", key, after))
    return drafts, lines
