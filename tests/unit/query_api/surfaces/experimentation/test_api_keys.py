"""API keys over the API: shown once, bounded by the key that makes them, revoked for good."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from query_api.control.audit import AuditFilter
from schemas.user import User
from tests.unit.query_api.stored import Service, key

SOON = datetime.fromtimestamp(1_000, UTC) + timedelta(hours=1)
"""An hour after the time of the service's clock."""


async def created(service: Service, by: str = "admin", **fields: Any) -> dict[str, Any]:
    answer = await service.ask("POST", "/api-keys", by, {"name": "New API Key"} | fields)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_the_secret_is_shown_once_and_opens_what_a_member_may(service: Service) -> None:
    made = await created(service)
    assert made["key"].startswith(made["prefix"] + "_") and made["id"] in made["prefix"]
    assert (made["role"], made["tier"], made["last_used_at"], made["revoked"]) == ("member", "standard", None, False)
    assert "flags:evaluate" in made["permissions"] and "flags:write" not in made["permissions"]
    assert (await service.ask("GET", "/feature-flags", made["key"])).status_code == 200
    listed = await service.ask("GET", "/api-keys")
    shown = next(each for each in listed.json()["data"] if each["id"] == made["id"])
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert made["key"] not in listed.text and "sha256" not in listed.text
    lines = (await service.parts.control.audit_log("default", AuditFilter(kind="key"))).records
    assert lines[0].entry.action == "key.created" and made["key"] not in repr(lines)


async def test_a_revoked_key_opens_nothing_and_stays_revoked(service: Service) -> None:
    made = await created(service)
    first = await service.ask("DELETE", f"/api-keys/{made['id']}")
    data = first.json()["data"]
    assert first.status_code == 200 and data == {"id": made["id"], "revoked": True, "revoked_at": data["revoked_at"]}
    again = await asyncio.gather(*(service.ask("DELETE", f"/api-keys/{made['id']}") for _ in range(4)))
    assert [answer.json()["data"] for answer in again] == [data] * 4
    refused = await service.ask("GET", "/feature-flags", made["key"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "UNAUTHORIZED")
    assert next(each for each in (await service.ask("GET", "/api-keys")).json()["data"] if each["id"] == made["id"])["revoked"]
    for missing in ("nothing", "other"):
        assert (await service.ask("DELETE", f"/api-keys/{missing}")).status_code == 404


async def test_revoked_at_once_by_many_is_revoked_once(service: Service) -> None:
    made = await created(service)
    answers = await asyncio.gather(*(service.ask("DELETE", f"/api-keys/{made['id']}") for _ in range(6)))
    assert len({answer.json()["data"]["revoked_at"] for answer in answers}) == 1
    assert (await service.parts.control.audit_log("default", AuditFilter(action="key.revoked"))).total == 1


async def test_an_expired_key_opens_nothing(service: Service) -> None:
    made = await created(service, expires_at=SOON.isoformat())
    definitions = service.parts.definitions
    assert definitions.key_for(made["key"], int(SOON.timestamp() * 1_000_000) - 1) and not definitions.key_for(made["key"], int(SOON.timestamp() * 1_000_000))
    assert made["expires_at"] == "1970-01-01T01:16:40Z"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "body.name"),
        ({"role": "root"}, "body.role"),
        ({"tier": "unlimited"}, "body.tier"),
        ({"scopes": ["write"]}, "body.scopes.0"),
        ({"expires_at": "tomorrow"}, "body.expires_at"),
        ({"expires_at": 5}, "body.expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ({"expires_at": "1970-01-01T00:00:00Z"}, "expires_at"),
        ({"user_id": "usr_missing"}, "user_id"),
        ({"secret": "x"}, "body.secret"),
    ],
)
async def test_wrong_fields_are_refused(service: Service, fields: dict[str, Any], field: str) -> None:
    answer = await service.ask("POST", "/api-keys", body={"name": "k"} | fields)
    assert (answer.status_code, answer.json()["error"]["details"]["fields"][0]["field"]) == (422, field)


async def test_a_key_makes_and_revokes_none_that_may_do_more(service: Service) -> None:
    for allowed in ({"role": "developer"}, {"role": "viewer"}, {"scopes": ["ingest", "read"]}):
        await created(service, "developer", **allowed)
    for beyond in ({"role": "admin"}, {"scopes": ["admin"]}, {"role": "viewer", "scopes": ["admin"]}):
        answer = await service.ask("POST", "/api-keys", "developer", {"name": "k"} | beyond)
        assert answer.status_code == 403 and "users:write" in answer.json()["error"]["details"]["permissions"]
    assert (await service.ask("DELETE", "/api-keys/admin", "developer")).status_code == 403
    assert (await service.ask("DELETE", "/api-keys/analyst", "developer")).status_code == 200
    assert (await service.ask("DELETE", "/api-keys/developer", "developer")).status_code == 200


async def test_only_an_admin_gives_a_higher_tier(service: Service) -> None:
    await service.define(key("small", "developer", tier="standard"), key("small-admin", "admin", tier="standard"))
    assert (await service.ask("POST", "/api-keys", "small", {"name": "k", "tier": "enterprise"})).status_code == 403
    assert (await created(service, "small", tier="standard"))["tier"] == "standard"
    assert (await created(service, "small-admin", tier="enterprise"))["tier"] == "enterprise"


async def test_a_key_for_a_user_has_the_role_of_the_user(service: Service) -> None:
    ada, bob = (User("default", f"usr_{name}", f"{name}@example.com", name, "developer") for name in ("ada", "bob"))
    await service.define(ada, bob)
    made = await created(service, user_id="usr_ada")
    assert (made["role"], made["user_id"]) == ("developer", "usr_ada")
    own = await created(service, made["key"], user_id="usr_ada")
    assert own["user_id"] == "usr_ada"
    assert (await service.ask("POST", "/api-keys", made["key"], {"name": "k", "user_id": "usr_bob"})).status_code == 403
    for wrong in ({"role": "viewer"}, {"scopes": ["admin"]}):
        assert (await service.ask("POST", "/api-keys", body={"name": "k", "user_id": "usr_ada"} | wrong)).status_code == 422
    await service.ask("POST", "/feature-flags", made["key"], {"key": "hers"})
    (line, *_) = (await service.parts.control.audit_log("default", AuditFilter(kind="flag"))).records
    assert line.entry.actor == (made["id"], "New API Key", "usr_ada")
