"""Sessions: a cookie in place of a key, on this surface alone and for its own pages alone. Row crucible.auth.session_cookie."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
import pytest

from schemas.definition_kinds import Role
from schemas.session import LIFETIME_S, open_session
from tests.unit.query_api.stored import Service, key

COOKIE = "_crucible_ui_key"
API = "http://query/crucible/api/v1"
NEW: dict[str, Any] = {"experiment": {"name": "from a page"}}


async def asked(service: Service, method: str, path: str, headers: Mapping[str, str], body: Any = None) -> httpx.Response:
    """From another machine, so that nothing counts that was not sent."""
    transport = httpx.ASGITransport(service.app, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url=API) as http:
        return await http.request(method, path if path.startswith("http") else API + path, headers=headers, json=body)


async def opened(service: Service, text: str = "admin") -> str:
    answer = await asked(service, "POST", "/session", {"Authorization": f"Bearer {text}"})
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["data"]["token"]
    return token


def cookie(token: str, **more: str) -> dict[str, str]:
    return {"Cookie": f"theme=dark; {COOKIE}={token}", **{name.replace("_", "-"): value for name, value in more.items()}}


async def test_a_key_opens_a_session(service: Service) -> None:
    """crucible.auth.session_cookie"""
    answer = await asked(service, "POST", "/session", {"X-API-Key": "admin"})
    data = answer.json()["data"]
    assert answer.status_code == 201 and set(data) == {"token", "expires_at"} and data["expires_at"] == "1970-01-01T12:16:40Z"
    value, *attributes = answer.headers["set-cookie"].split("; ")
    assert value == f"{COOKIE}={data['token']}" and set(attributes) == {"HttpOnly", "SameSite=lax", "Path=/", f"Max-Age={LIFETIME_S}"}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("proto", ["https", "https, http", "HTTPS"])
async def test_a_session_by_https_stays_there(service: Service, proto: str) -> None:
    answer = await asked(service, "POST", "/session", {"X-API-Key": "admin", "X-Forwarded-Proto": proto})
    assert "Secure" in answer.headers["set-cookie"].split("; ")
    gone = await asked(service, "DELETE", "/session", {"X-API-Key": "admin", "X-Forwarded-Proto": proto})
    assert "Secure" in gone.headers["set-cookie"].split("; ")


async def test_the_cookie_stands_for_its_key(service: Service) -> None:
    """crucible.auth.session_cookie"""
    token = await opened(service)
    made = await asked(service, "POST", "/experiments", cookie(token), NEW)
    assert made.status_code == 201, made.text
    assert (await asked(service, "GET", f"/experiments/{made.json()['data']['id']}", cookie(token))).status_code == 200
    viewer, other = await opened(service, "viewer"), await opened(service, "other")
    refused = await asked(service, "POST", "/experiments", cookie(viewer), NEW)
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "forbidden"
    assert (await asked(service, "GET", "/experiments", cookie(viewer))).json()["meta"]["total"] == 1
    assert (await asked(service, "GET", "/experiments", cookie(other))).json()["meta"]["total"] == 0, "another tenant sees nothing"


async def test_the_key_may_come_in_the_body(service: Service) -> None:
    answer = await asked(service, "POST", "/session", {}, {"api_key": "viewer"})
    assert answer.status_code == 201
    assert (await asked(service, "GET", "/experiments", cookie(answer.json()["data"]["token"]))).status_code == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, {"api_key": "wrong"}, 401),
        ({}, {"api_key": ""}, 401),
        ({}, {"api_key": None}, 401),
        ({}, {}, 401),
        ({}, {"api_key": 5}, 422),
        ({}, {"api_key": "admin", "user": "me"}, 422),
        ({}, ["admin"], 422),
        ({"Authorization": "Bearer wrong"}, {"api_key": "admin"}, 401),
        ({"Authorization": "Basic YTpi"}, {"api_key": "admin"}, 401),
        ({"Origin": "http://evil"}, {"api_key": "admin"}, 403),
        ({"Origin": "http://query"}, {"api_key": "admin"}, 201),
    ],
)
async def test_what_opens_no_session(service: Service, headers: dict[str, str], body: Any, status: int) -> None:
    answer = await asked(service, "POST", "/session", headers, body)
    assert answer.status_code == status, answer.text
    assert ("set-cookie" in answer.headers) == (status == 201)


async def test_a_session_opens_no_other(service: Service) -> None:
    answer = await asked(service, "POST", "/session", cookie(await opened(service)))
    assert answer.status_code == 401 and "does not open another" in answer.json()["error"]["message"]


async def test_a_closed_session_leaves_the_browser(service: Service) -> None:
    answer = await asked(service, "DELETE", "/session", cookie(await opened(service, "ingest")))
    assert answer.status_code == 204 and answer.content == b""
    value, *attributes = answer.headers["set-cookie"].split("; ")
    assert value == f'{COOKIE}=""' and {"Max-Age=0", "Path=/", "HttpOnly"} <= set(attributes)


@pytest.mark.parametrize("name", ["Authorization", "api-key", "X-API-Key"])
async def test_a_key_in_a_header_wins(service: Service, name: str) -> None:
    token = await opened(service)
    assert (await asked(service, "POST", "/experiments", cookie(token), NEW)).status_code == 201
    prefix = "Bearer " if name == "Authorization" else ""
    assert (await asked(service, "GET", "/experiments", {**cookie(token), name: f"{prefix}wrong"})).status_code == 401
    assert (await asked(service, "GET", "/experiments", {**cookie(token), name: f"{prefix}other"})).json()["meta"]["total"] == 0


async def test_what_is_no_session(service: Service) -> None:
    """crucible.auth.session_cookie: over, tampered with, made for another cookie, or of a key that is gone"""
    token, admin = await opened(service), key("admin", "admin")
    now = service.parts.access._clock.now_us()
    over, nearly = (open_session(admin, COOKIE, now - LIFETIME_S * 1_000_000 + more * 1_000_000)[0] for more in (0, 1))
    payload, signature = token.split(".")
    wrong = [over, f"{payload}.{signature[::-1]}", f"{nearly.split('.')[0]}.{signature}", open_session(admin, "_other", now)[0], "admin", "x.y", ".", "%00"]
    for each in wrong:
        answer = await asked(service, "GET", "/experiments", cookie(each))
        assert answer.status_code == 401 and answer.json()["error"]["code"] == "unauthorized", each
    for each in (token, nearly):
        assert (await asked(service, "GET", "/experiments", cookie(each))).status_code == 200
    await service.define(msgspec.structs.replace(admin, revoked_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    assert (await asked(service, "GET", "/experiments", cookie(token))).status_code == 401, "it ends with its key"


@pytest.mark.parametrize("role", ["viewer", "read"])
async def test_a_session_follows_the_role_of_its_key(service: Service, role: Role) -> None:
    token = await opened(service, "analyst")
    assert (await asked(service, "POST", "/experiments", cookie(token), NEW)).status_code == 201
    await service.define(key("analyst", role))
    assert (await asked(service, "POST", "/experiments", cookie(token), NEW)).status_code == 403


@pytest.mark.parametrize("path", ["/experimentation/api/v1/experiments", "/llm/v1/projects", "/platform/v1/definitions", "/platform/v1/windows/cost"])
async def test_other_surfaces_ignore_the_cookie(service: Service, path: str) -> None:
    token = await opened(service)
    assert (await asked(service, "GET", f"http://query{path}", cookie(token))).status_code == 401


@pytest.mark.parametrize(
    ("sent", "allowed"),
    [
        ({"Origin": "http://query"}, True),
        ({"Origin": "http://page.example", "X-Forwarded-Host": "page.example"}, True),
        ({"Origin": "http://page.example", "X-Forwarded-Host": "outer, page.example"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://evil.example", "X-Forwarded-Host": "page.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
    ],
)
async def test_a_page_of_another_host_changes_nothing(service: Service, sent: dict[str, str], allowed: bool) -> None:
    token = await opened(service)
    for method, path, body in (("POST", "/experiments", NEW), ("PATCH", "/experiments/none", NEW), ("DELETE", "/session", None)):
        answer = await asked(service, method, path, {**cookie(token), **sent}, body)
        assert (answer.status_code != 403) is allowed, (method, answer.text)
        with_key = await asked(service, method, path, {**cookie(token), **sent, "X-API-Key": "admin"}, body)
        assert with_key.status_code != 403, "no page sends another's key by itself"
    assert (await asked(service, "GET", "/experiments", {**cookie(token), **sent})).status_code == 200
