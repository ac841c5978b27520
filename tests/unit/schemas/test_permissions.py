"""The permission table holds together."""

import pytest

from schemas.definition_kinds import ROLE_SCOPES, Key, Role
from schemas.permissions import MEANINGS, PERMISSIONS, ROLE_PERMISSIONS, permissions_of, permits, roles_with


def test_every_role_and_permission_is_in_the_table() -> None:
    assert set(ROLE_PERMISSIONS) == set(ROLE_SCOPES)
    assert set(MEANINGS) == set(PERMISSIONS)
    assert all("admin" in roles_with(permission) for permission in PERMISSIONS)


@pytest.mark.parametrize("role", ROLE_PERMISSIONS)
def test_permissions_agree_with_the_scopes_of_the_role(role: Role) -> None:
    held = ROLE_PERMISSIONS[role]
    assert ("events:write" in held) == ("ingest" in ROLE_SCOPES[role]) == permits(_key(role), "flags:evaluate")
    assert ("results:read" in held) == ("read" in ROLE_SCOPES[role])
    assert (held == frozenset(PERMISSIONS)) == ("admin" in ROLE_SCOPES[role])


def test_viewers_and_programs_change_nothing() -> None:
    programs: tuple[Role, ...] = ("viewer", "member", "ingest", "read")
    for role in programs:
        changes = {name for name in ROLE_PERMISSIONS[role] if name.endswith((":write", ":run"))}
        assert changes <= {"events:write", "traces:write"}, role


def test_scopes_stand_in_place_of_the_role() -> None:
    assert permissions_of("developer", ("ingest",)) == ROLE_PERMISSIONS["ingest"]
    assert permissions_of("admin", ("ingest", "read")) == ROLE_PERMISSIONS["member"]
    assert permissions_of("viewer", ("admin",)) == ROLE_PERMISSIONS["admin"]


def _key(role: Role) -> Key:
    return Key("default", "k", "k", "0" * 64, role=role)
