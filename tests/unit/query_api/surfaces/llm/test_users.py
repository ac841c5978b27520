"""Users over the API of the LLM surface."""

from typing import Any

import pytest

from query_api.control.audit import AuditFilter
from schemas.global_id import global_id, number_of
from tests.unit.query_api.stored import Service, key
from tests.unit.query_api.surfaces.llm.conftest import Ask

ADA: dict[str, Any] = {"email": "Ada@Example.com", "username": "ada", "role": "MEMBER", "auth_method": "LOCAL", "password": "s3cret-Passw0rd"}


async def created(ask: Ask, **fields: Any) -> dict[str, Any]:
    answer = await ask("POST", "/users", body={"user": ADA | fields, "send_welcome_email": False})
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_a_user_comes_back_without_a_password(ask: Ask, service: Service) -> None:
    user = await created(ask)
    told = {"email": "ada@example.com", "username": "ada", "role": "MEMBER", "auth_method": "LOCAL", "password_needs_reset": False}
    assert {name: user[name] for name in told} == told and set(user) == {*told, "id", "created_at", "updated_at"}
    assert (await ask("GET", "/users")).json()["data"][0] == user
    everything = str(await service.parts.control.audit_log("default", AuditFilter())) + str(await service.parts.control.unpublished(100))
    assert "s3cret" not in everything
    (own,) = (await service.ask("GET", "/users")).json()["data"]
    assert own["id"] == f"usr_{number_of(user['id'], 'User'):016x}" and own["role"] == "member"


async def test_every_role_and_way_of_signing_in(ask: Ask) -> None:
    for number, role in enumerate(("ADMIN", "MEMBER", "VIEWER")):
        user = await created(ask, email=f"{number}@example.com", username=f"u{number}", role=role, auth_method=("OAUTH2", "LDAP", "LOCAL")[number])
        assert (user["role"], user["auth_method"]) == (role, ("OAUTH2", "LDAP", "LOCAL")[number])
        assert ("password_needs_reset" in user) == (role == "VIEWER")
    listed = (await ask("GET", "/users")).json()["data"]
    assert [each["username"] for each in listed] == ["u2", "u1", "u0", "system", "admin"]


async def test_platform_users_are_members_here(ask: Ask, service: Service) -> None:
    for role in ("admin", "analyst", "developer", "viewer"):
        body = {"email": f"{role}@example.com", "name": role, "role": role}
        assert (await service.ask("POST", "/users", body=body)).status_code == 201
    shown = {each["username"]: each["role"] for each in (await ask("GET", "/users")).json()["data"]}
    assert shown == {"admin": "ADMIN", "analyst": "MEMBER", "developer": "MEMBER", "viewer": "VIEWER", "system": "SYSTEM"}


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"role": "SYSTEM"}, 400), ({"role": "OWNER"}, 422), ({"auth_method": "text"}, 422), ({"email": "nobody"}, 422), ({"username": ""}, 422)],
)
async def test_wrong_fields(ask: Ask, fields: dict[str, Any], status: int) -> None:
    answer = await ask("POST", "/users", body={"user": ADA | fields})
    assert answer.status_code == status and ADA["password"] not in answer.text
    assert answer.headers["content-type"].startswith("text/plain" if status == 400 or fields == {"email": "nobody"} else "application/json")
    assert len((await ask("GET", "/users")).json()["data"]) == 2


async def test_names_and_addresses_are_given_once(ask: Ask) -> None:
    await created(ask)
    for taken in ({"username": "other"}, {"email": "other@example.com"}, {"email": "other@example.com", "username": "system"}):
        answer = await ask("POST", "/users", body={"user": ADA | taken})
        assert answer.status_code == 409 and answer.headers["content-type"].startswith("text/plain")
    assert (await ask("POST", "/users", "other", {"user": ADA})).status_code == 201


async def test_deleting(ask: Ask, service: Service) -> None:
    user = await created(ask)
    await service.define(key("adas", "admin", user=f"usr_{number_of(user['id'], 'User'):016x}"))
    assert (await ask("GET", "/user", "adas")).json()["data"] == user
    assert (await ask("DELETE", f"/users/{user['id']}", "other")).status_code == 404
    gone = await ask("DELETE", f"/users/{user['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await ask("GET", "/user", "adas")).status_code == 401, "the user's keys go with the user"
    assert (await ask("DELETE", f"/users/{user['id']}")).status_code == 404
    for number in (1, 2):
        refused = await ask("DELETE", f"/users/{global_id('User', number)}")
        assert (refused.status_code, refused.text) == (403, "Cannot delete the default admin or system user")
    for wrong in ("1", "usr_1", global_id("Project", 1)):
        assert (await ask("DELETE", f"/users/{wrong}")).status_code == 422
    await created(ask)


async def test_pages(ask: Ask) -> None:
    for number in range(4):
        await created(ask, email=f"{number}@example.com", username=f"u{number}")
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await ask("GET", "/users", params={"limit": 1, **cursor})).json()
        found += [each["username"] for each in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == ["u3", "u2", "u1", "u0", "system", "admin"]
    assert (await ask("GET", "/users", params={"cursor": "nonsense"})).status_code == 422


async def test_who_is_asking(ask: Ask) -> None:
    assert (await ask("GET", "/user", None)).json() == {"data": {"auth_method": "ANONYMOUS"}}
    assert (await ask("GET", "/user", "member")).json()["data"]["role"] == "SYSTEM"
    assert (await ask("GET", "/users", "member")).status_code == 403
    assert (await ask("GET", "/user", "ingest")).status_code == 403
