"""What holds for every operation of the LLM surface: keys, envelopes, errors, ids and pages."""

import base64
import uuid
from typing import Any

import httpx
import pytest

from infra.runtime.settings import Settings
from schemas.global_id import number_of
from tests.flow.limited_keys import key_of
from tests.flow.llm_operations import VERSION
from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import KEY, LiveStack

USER: dict[str, Any] = {"role": "MEMBER", "auth_method": "LOCAL", "password": "text"}


@pytest.fixture(params=[("llm", ""), ("main", "/llm")], ids=["port", "prefix"])
async def client(live: LiveStack, request: pytest.FixtureRequest) -> Any:
    port, prefix = request.param
    async with httpx.AsyncClient(base_url=live.url(port) + prefix, headers=live.headers, timeout=20) as client:
        yield client


def is_text(answer: httpx.Response, status: int) -> bool:
    return answer.status_code == status and answer.headers["content-type"].startswith("text/plain") and bool(answer.text)


def a_user(**fields: Any) -> dict[str, Any]:
    name = uuid.uuid4().hex
    return {"user": {**USER, "email": f"{name}@example.com", "username": name, **fields}, "send_welcome_email": True}


@needs_catalogue
async def test_llm_users(client: httpx.AsyncClient) -> None:
    """llm.users.create, llm.users.list, llm.users.delete, llm.users.undeletable; a password is never served"""
    documented = row("llm.users.create")
    answer = await client.post("/v1/users", json=a_user())
    assert answer.status_code in documented["status_accept"]
    assert missing_keys(answer.json(), documented["response_keys"]) == ["data.password"]
    user = answer.json()["data"]
    documented = row("llm.users.list")
    listed = await client.get("/v1/users")
    assert listed.status_code == documented["status"] and user in listed.json()["data"]
    assert missing_keys(listed.json(), [key for key in documented["response_keys"] if "password" not in key]) == []
    assert (await client.delete(f"/v1/users/{user['id']}")).status_code == row("llm.users.delete")["status"]
    assert user not in (await client.get("/v1/users")).json()["data"]
    built_in = [each for each in (await client.get("/v1/users", params={"limit": 1000})).json()["data"] if each["username"] in ("admin", "system")]
    assert len(built_in) == 2
    for each in built_in:
        assert is_text(await client.delete(f"/v1/users/{each['id']}"), 403)


async def test_llm_base_url(live: LiveStack, client: httpx.AsyncClient) -> None:
    """llm.base_url: port 6006 unless set otherwise, and REST paths under /v1; llm.compatibility.server: newer than 8.0.0"""
    assert Settings().port.llm == 6006
    version = await client.get("/arize_phoenix_version")
    assert is_text(version, 200) and tuple(int(part) for part in version.text.split(".")) >= (8, 0, 0)
    assert (await client.get("/v1/projects")).headers["x-phoenix-server-version"] == version.text
    assert (await client.get("/projects")).status_code == 307


@needs_catalogue
async def test_llm_openapi(client: httpx.AsyncClient) -> None:
    """llm.openapi: every documented operation of these rows is in the document"""
    documented = row("llm.openapi")
    answer = await client.get(documented["path"])
    assert answer.status_code == documented["status"]
    for name in ("llm.prompts.create", "llm.prompts.by_tag", "llm.prompt_versions.tags.create", "llm.users.delete", "llm.projects.update"):
        each = row(name)
        operation = answer.json()["paths"][each["path"]][each["method"].lower()]
        assert str(each["status"]) in operation["responses"]


async def test_llm_auth(live: LiveStack, client: httpx.AsyncClient) -> None:
    """llm.auth.bearer_default, llm.auth.api_key_header; without a key from this machine, since the setting allows it"""
    async with httpx.AsyncClient(base_url=client.base_url) as http:
        for headers in ({"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"api-key": KEY}, {}):
            assert (await http.get("/v1/prompts", headers=headers)).status_code == 200
        for headers in ({"Authorization": "Bearer wrong"}, {"api-key": "wrong"}, {"Authorization": f"Basic {KEY}"}):
            refused = await http.get("/v1/prompts", headers=headers)
            assert is_text(refused, 401) and refused.headers["www-authenticate"] == "Bearer"


async def test_llm_envelope(client: httpx.AsyncClient) -> None:
    """llm.envelope.success: data, on lists next_cursor, and nothing else; llm.envelope.error: text, and JSON for wrong fields"""
    listed, one = await client.get("/v1/projects"), await client.get("/v1/projects/default")
    assert set(listed.json()) == {"data", "next_cursor"} and set(one.json()) == {"data"}
    for path in ("/v1/projects/no such", "/v1/prompts/no-such/latest", "/v1/no/such/path", "/v1"):
        assert is_text(await client.get(path), 404)
    assert is_text(await client.put("/v1/prompts"), 405)
    wrong = await client.get("/v1/projects", params={"limit": 0})
    assert wrong.status_code == 422 and set(wrong.json()) == {"detail"} and set(wrong.json()["detail"][0]) == {"type", "loc", "msg"}
    not_json = await client.post("/v1/prompts", content=b"{", headers={"content-type": "application/json"})
    assert not_json.status_code == 422 and not_json.json()["detail"][0]["type"] == "json_invalid"


async def test_llm_errors(live: LiveStack, client: httpx.AsyncClient) -> None:
    """llm.errors.400, llm.errors.403, llm.errors.404, llm.errors.409, llm.errors.415, llm.errors.422"""
    assert is_text(await client.post("/v1/users", json=a_user(role="SYSTEM")), 400)
    reader = await key_of(live, "unlimited", role="viewer")
    assert is_text(await client.post("/v1/projects", json={"name": "x"}, headers=reader), 403)
    assert is_text(await client.delete("/v1/users/VXNlcjo5OTk="), 404)
    taken = a_user()
    assert (await client.post("/v1/users", json=taken)).status_code == 201
    assert is_text(await client.post("/v1/users", json=taken), 409)
    assert (await client.post("/v1/traces", content=b"x", headers={"content-type": "text/plain"})).status_code == 415
    assert is_text(await client.delete("/v1/users/nobody"), 422)
    assert (await client.post("/v1/users", json=a_user(role="OWNER"))).status_code == 422


async def test_llm_pagination(client: httpx.AsyncClient) -> None:
    """llm.pagination.cursor: every prompt once over the pages, whatever is added meanwhile; llm.ids.global_id"""
    start = f"page-{uuid.uuid4().hex}"
    for number in range(4):
        assert (await client.post("/v1/prompts", json={"prompt": {"name": f"{start}-{number}"}, "version": VERSION})).status_code == 200
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(1_000):
        page = (await client.get("/v1/prompts", params={"limit": 3, **({"cursor": cursor} if cursor else {})})).json()
        assert len(page["data"]) <= 3
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await client.post("/v1/prompts", json={"prompt": {"name": f"{start}-later"}, "version": VERSION})
    names = [each["name"] for each in found if each["name"].startswith(start)]
    assert names == [f"{start}-{number}" for number in (3, 2, 1, 0)]
    for each in found:
        assert base64.b64decode(each["id"]).decode() == f"Prompt:{number_of(each['id'], 'Prompt')}"
    assert is_text(await client.get("/v1/prompts", params={"cursor": "nothing"}), 422)


async def test_llm_rate_limit_none(client: httpx.AsyncClient) -> None:
    """llm.rate_limit.none"""
    for _ in range(100):
        answer = await client.get("/arize_phoenix_version")
        assert answer.status_code == 200 and not [name for name in answer.headers if name.startswith(("x-ratelimit", "ratelimit", "retry-after"))]
