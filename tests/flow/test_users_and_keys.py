"""Users, API keys and what they may do, row by row of the requirements catalogue."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from schemas.permissions import ROLE_PERMISSIONS, roles_with
from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

USERS, KEYS, FLAGS = "/api/v1/users", "/api/v1/api-keys", "/api/v1/feature-flags"


@pytest.fixture
def client(live: LiveStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url("experimentation"), headers=live.headers, timeout=20) as client:
        yield client


def make_user(client: httpx.Client, role: str = "developer") -> dict[str, Any]:
    documented = row("exp.users.create")
    answer = client.post(USERS, json=documented["request"] | {"email": f"{uuid.uuid4().hex}@example.com", "role": role})
    assert answer.status_code in documented["status_accept"] and not missing_keys(answer.json(), documented["response_keys"]), answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def make_key(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """A new key, of the tier that lets a test ask often."""
    documented = row("exp.api_keys.create")
    answer = client.post(KEYS, json=documented["request"] | {"tier": "enterprise"} | fields)
    assert answer.status_code in documented["status_accept"] and not missing_keys(answer.json(), documented["response_keys"]), answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@needs_catalogue
def test_users(client: httpx.Client) -> None:
    """exp.users.create, exp.users.list"""
    user = make_user(client, "analyst")
    documented = row("exp.users.list")
    listed = client.get(USERS, params={"role": "analyst", "limit": 100})
    assert listed.status_code == documented["status"] and not missing_keys(listed.json(), documented["response_keys"])
    assert user in listed.json()["data"] and {each["role"] for each in listed.json()["data"]} == {"analyst"}
    again = client.post(USERS, json={"email": user["email"].upper(), "name": "x", "role": "viewer"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "CONFLICT")
    wrong = client.post(USERS, json={"email": "nobody", "name": "x", "role": "owner"})
    assert wrong.json()["error"]["code"] == "VALIDATION_ERROR"
    assert {field["field"] for field in wrong.json()["error"]["details"]["fields"]} == {"body.email", "body.role"}


@needs_catalogue
def test_keys(client: httpx.Client, live: LiveStack) -> None:
    """exp.api_keys.create, exp.api_keys.list, exp.api_keys.revoke, exp.api_keys.secret_shown_once"""
    made = make_key(client)
    documented = row("exp.api_keys.list")
    listed = client.get(KEYS)
    assert listed.status_code == documented["status"] and not missing_keys(listed.json(), documented["response_keys"])
    assert made["key"].startswith(made["prefix"]) and made["key"] not in listed.text
    assert next(each for each in listed.json()["data"] if each["id"] == made["id"]) == {name: value for name, value in made.items() if name != "key"}
    documented = row("exp.api_keys.revoke")
    revoked = client.delete(f"{KEYS}/{made['id']}")
    assert revoked.status_code == documented["status"] and not missing_keys(revoked.json(), documented["response_keys"])
    assert revoked.json()["data"]["revoked"] is True
    assert client.delete(f"{KEYS}/{made['id']}").json() == revoked.json()
    assert client.delete(f"{KEYS}/nothing").json()["error"]["code"] == "NOT_FOUND"


def statuses(live: LiveStack, key: str) -> dict[str, int]:
    """What every kind of entrance says to a key: the query service, the JSON doors, an OTLP door."""
    flags = httpx.get(live.url("experimentation") + FLAGS, headers=bearer(key))
    main = httpx.get(live.main_url + "/platform/v1/windows/cost", headers=bearer(key))
    event = httpx.post(live.url("experimentation") + "/api/v1/events", json={"user_id": "u", "event_type": "keys"}, headers=bearer(key))
    traces = httpx.post(live.url("otlp_http") + "/v1/traces", content=b"", headers=bearer(key) | {"Content-Type": "application/x-protobuf"})
    return {"flags": flags.status_code, "main": main.status_code, "event": event.status_code, "traces": traces.status_code}


@needs_catalogue
def test_a_new_key_works_and_a_revoked_one_stops_within_two_seconds_everywhere(client: httpx.Client, live: LiveStack) -> None:
    """exp.auth.api_key, exp.errors.unauthorized"""
    made = make_key(client)
    eventually_sync(lambda: set(statuses(live, made["key"]).values()) == {200}, timeout=2.0)
    assert client.delete(f"{KEYS}/{made['id']}").status_code == 200
    eventually_sync(lambda: set(statuses(live, made["key"]).values()) == {401}, timeout=2.0)
    for headers in ({}, bearer("guess"), {"Authorization": "Basic abc"}, bearer(made["key"])):
        answer = httpx.get(live.url("experimentation") + FLAGS, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")
        assert not missing_keys(answer.json(), row("exp.errors.unauthorized")["response_keys"])


@needs_catalogue
@pytest.mark.parametrize("role", ["admin", "analyst", "developer", "viewer"])
def test_roles(client: httpx.Client, live: LiveStack, role: str) -> None:
    """exp.users.roles, exp.errors.forbidden"""
    user = make_user(client, role)
    key = bearer(make_key(client, user_id=user["id"])["key"])
    eventually_sync(lambda: httpx.get(live.url("experimentation") + FLAGS, headers=key).status_code == 200, timeout=5.0)
    asked = {
        "flags:read": ("GET", FLAGS, None),
        "flags:write": ("POST", FLAGS, {"key": f"flag-{uuid.uuid4().hex}"}),
        "users:read": ("GET", USERS, None),
        "users:write": ("POST", USERS, {"email": f"{uuid.uuid4().hex}@example.com", "name": "x", "role": "viewer"}),
        "keys:read": ("GET", KEYS, None),
        "keys:write": ("POST", KEYS, {"name": "x", "role": "read"}),
        "audit:read": ("GET", "/api/v1/audit-log", None),
        "events:write": ("POST", "/api/v1/events", {"user_id": "u", "event_type": "roles"}),
    }
    for permission, (method, path, body) in asked.items():
        answer = httpx.request(method, live.url("experimentation") + path, json=body, headers=key)
        if permission in ROLE_PERMISSIONS[role]:  # type: ignore[index]
            assert answer.status_code in (200, 201), (permission, answer.text)
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN"), permission
            if permission != "events:write":
                assert answer.json()["error"]["details"]["roles"] == list(roles_with(permission))  # type: ignore[arg-type]


@needs_catalogue
def test_a_user_who_is_deleted_or_changes_role_takes_the_keys_along(client: httpx.Client, live: LiveStack) -> None:
    """exp.users.roles"""
    user = make_user(client, "developer")
    key = bearer(make_key(client, user_id=user["id"])["key"])
    eventually_sync(lambda: httpx.get(live.url("experimentation") + FLAGS, headers=key).status_code == 200, timeout=5.0)

    def sends() -> int:
        return httpx.post(live.url("experimentation") + "/api/v1/events", json={"user_id": "u", "event_type": "keys"}, headers=key).status_code

    eventually_sync(lambda: sends() == 200, timeout=5.0)
    client.put(f"{USERS}/{user['id']}", json={"role": "viewer"})
    eventually_sync(lambda: sends() == 403, timeout=2.0)
    client.delete(f"{USERS}/{user['id']}")
    eventually_sync(lambda: sends() == 401, timeout=2.0)


def test_the_version_is_in_the_path(client: httpx.Client, live: LiveStack) -> None:
    """exp.versioning"""
    document = client.get("/api/v1/openapi.json").json()
    assert document["paths"] and all(path.startswith("/api/v1/") for path in document["paths"])
    assert httpx.get(live.main_url + "/experimentation/api/v1/openapi.json").json()["paths"] == document["paths"]
    for path in ("/v1/feature-flags", "/feature-flags", "/api/v2/feature-flags"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
