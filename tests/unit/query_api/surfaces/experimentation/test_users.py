"""Users over the API."""

import asyncio
from typing import Any

import pytest

from query_api.control.audit import AuditFilter
from schemas.avro import KeyUse, encode_key_use
from tests.unit.query_api.stored import Service, key

ADA: dict[str, Any] = {"email": "Ada.Lovelace@example.com", "name": "Ada", "role": "developer"}


async def created(service: Service, **fields: Any) -> dict[str, Any]:
    answer = await service.ask("POST", "/users", body=ADA | fields)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_a_user_comes_back_as_sent(service: Service) -> None:
    user = await created(service)
    assert user["id"].startswith("usr_") and user["created_at"] and user["last_login"] is None
    assert {name: user[name] for name in ADA} == ADA
    assert (await service.ask("GET", f"/users/{user['id']}")).json()["data"] == user
    assert (await service.ask("GET", f"/users/{user['id']}", "other")).status_code == 404


async def test_the_last_login_is_the_last_use_of_a_key_of_the_user(service: Service) -> None:
    user = await created(service)
    other = await created(service, email="other@example.com")
    await service.define(*(key(f"ada-key-{n}", "developer", user=user["id"]) for n in range(3)), key("robot-key", "developer"))
    for name, at_us in (("ada-key-0", 2_000_000), ("ada-key-1", 5_000_000), ("robot-key", 9_000_000)):
        service.parts.key_usage.take(b"", encode_key_use(KeyUse("default", name, at_us)))
    seen = (await service.ask("GET", f"/users/{user['id']}")).json()["data"]
    assert seen == user | {"last_login": "1970-01-01T00:00:05Z"}
    logins = {each["id"]: each["last_login"] for each in (await service.ask("GET", "/users")).json()["data"]}
    assert logins == {user["id"]: seen["last_login"], other["id"]: None}
    renamed = await service.ask("PUT", f"/users/{user['id']}", body={"name": "A."})
    assert renamed.json()["data"]["last_login"] == seen["last_login"]


async def test_an_address_belongs_to_one_user_in_any_case_also_at_once(service: Service) -> None:
    answers = await asyncio.gather(*(service.ask("POST", "/users", body=ADA | {"name": str(number)}) for number in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    again = await service.ask("POST", "/users", body=ADA | {"email": ADA["email"].lower()})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "CONFLICT")
    assert (await service.ask("POST", "/users", "other", ADA)).status_code == 201


@pytest.mark.parametrize(
    "fields",
    [
        {"email": email}
        for email in ("", "ada", "ada@", "@example.com", "ada@example", "a b@example.com", "ada@example.com\n", "ada@-x.com", "x" * 250 + "@e.com")
    ]
    + [{"name": ""}, {"name": "a\nb"}, {"role": "root"}, {"role": "member"}, {"admin": True}],
)
async def test_wrong_fields_are_refused(service: Service, fields: dict[str, Any]) -> None:
    answer = await service.ask("POST", "/users", body=ADA | fields)
    (fault,) = answer.json()["error"]["details"]["fields"]
    assert (answer.status_code, fault["field"]) == (422, f"body.{next(iter(fields))}")


async def test_a_list_has_pages_and_a_filter(service: Service) -> None:
    for number, role in enumerate(("admin", "analyst", "viewer", "viewer")):
        await created(service, email=f"{number}@example.com", role=role)
    whole = (await service.ask("GET", "/users?limit=3")).json()
    assert whole["meta"] == {"total": 4, "page": 1, "limit": 3, "pages": 2}
    assert [user["email"][0] for user in whole["data"]] == ["0", "1", "2"]
    assert [user["email"][0] for user in (await service.ask("GET", "/users?role=viewer")).json()["data"]] == ["2", "3"]
    assert (await service.ask("GET", "/users?role=root")).status_code == 422


async def test_name_and_role_change_and_the_address_stays(service: Service) -> None:
    path = f"/users/{(await created(service))['id']}"
    assert (await service.ask("PUT", path, body={"role": "viewer"})).json()["data"]["role"] == "viewer"
    assert (await service.ask("PUT", path, body={"name": "Countess"})).json()["data"]["name"] == "Countess"
    assert (await service.ask("PUT", path, body={"email": "new@example.com"})).status_code == 422
    assert (await service.ask("PUT", "/users/usr_missing", body={"name": "x"})).status_code == 404
    records = (await service.parts.control.audit_log("default", AuditFilter())).records
    assert [(record.entry.action, dict(record.entry.after)) for record in records[:2]] == [
        ("user.updated", {"name": "Countess"}),
        ("user.updated", {"role": "viewer"}),
    ]


async def test_the_keys_of_a_user_follow_the_role(service: Service) -> None:
    user = await created(service)
    await service.define(key("adas", "developer", user=user["id"]), key("narrow", "developer", scopes=("ingest",), user=user["id"]))
    assert (await service.ask("POST", "/feature-flags", "adas", {"key": "a"})).status_code == 201
    await service.ask("PUT", f"/users/{user['id']}", body={"role": "viewer"})
    assert (await service.ask("POST", "/feature-flags", "adas", {"key": "b"})).status_code == 403
    assert (await service.ask("GET", "/feature-flags", "adas")).status_code == 200
    assert service.parts.definitions.key_for("narrow", 0) is None


async def test_a_deleted_user_leaves_no_key_that_works_even_when_created_again(service: Service) -> None:
    user = await created(service)
    await service.define(key("adas", "developer", user=user["id"]))
    assert (await service.ask("DELETE", f"/users/{user['id']}")).json()["data"] == {"id": user["id"], "deleted": True}
    assert (await service.ask("GET", f"/users/{user['id']}")).status_code == 404
    assert (await service.ask("DELETE", f"/users/{user['id']}")).status_code == 404
    assert (await service.ask("GET", "/feature-flags", "adas")).status_code == 401
    await created(service)
    assert (await service.ask("GET", "/feature-flags", "adas")).status_code == 401
    actions = [record.entry.action for record in (await service.parts.control.audit_log("default", AuditFilter())).records]
    assert actions == ["user.created", "key.revoked", "user.deleted", "user.created"]
