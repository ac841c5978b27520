"""Projects of the LLM surface over HTTP."""

import time
from typing import Any

import httpx
import pytest

from schemas.global_id import global_id, number_of
from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack

SPAN = {"traceId": "6f" * 16, "spanId": "6f" * 8, "name": "p", "kind": 1, "startTimeUnixNano": "1", "endTimeUnixNano": "2"}


def _traces(number: int) -> dict[str, Any]:
    now = time.time_ns()
    span = {**SPAN, "traceId": f"{number:032x}", "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 1)}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


@pytest.fixture(params=[("llm", ""), ("main", "/llm")], ids=["port", "prefix"])
async def client(live: LiveStack, request: pytest.FixtureRequest) -> Any:
    port, prefix = request.param
    async with httpx.AsyncClient(base_url=live.url(port) + prefix + "/v1", headers=live.headers, timeout=20) as client:
        yield client


@needs_catalogue
async def test_llm_projects_create_get_update(client: httpx.AsyncClient, request: pytest.FixtureRequest) -> None:
    """llm.projects.create, llm.projects.get, llm.projects.update, llm.projects.name_immutable"""
    name = f"made {request.node.callspec.id}"
    documented = row("llm.projects.create")
    answer = await client.post("/projects", json={"name": name, "description": "first"})
    assert answer.status_code in documented["status_accept"] and not missing_keys(answer.json(), documented["response_keys"])
    made = answer.json()["data"]
    assert number_of(made["id"], "Project") and made == {"id": made["id"], "name": name, "description": "first"}
    assert (await client.get(f"/projects/{made['id']}")).json()["data"] == made == (await client.get(f"/projects/{name}")).json()["data"]
    changed = await client.put(f"/projects/{name}", json={"name": "another", "description": "second"})
    assert changed.status_code == 200 and changed.json()["data"] == {**made, "description": "second"}
    again = await client.post("/projects", json={"name": name})
    assert again.status_code == 409 and again.headers["content-type"].startswith("text/plain") and name in again.text
    assert (await client.post("/projects", json={"name": ""})).status_code == 422
    assert (await client.get("/projects/no such project")).status_code == 404


async def test_llm_projects_list(client: httpx.AsyncClient, request: pytest.FixtureRequest) -> None:
    """llm.projects.list, llm.pagination.cursor"""
    names = [f"listed {request.node.callspec.id} {number}" for number in range(3)]
    for name in names:
        assert (await client.post("/projects", json={"name": name})).status_code == 200
    found: list[str] = []
    cursor = None
    while True:
        answer = (await client.get("/projects", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        found += [each["name"] for each in answer["data"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert len(found) == len(set(found)) and "default" in found
    assert [name for name in found if name in names] == names[::-1]
    bad = await client.get("/projects", params={"cursor": "nonsense"})
    assert bad.status_code == 422 and bad.headers["content-type"].startswith("text/plain")
    none = await client.get("/projects", params={"limit": 0})
    assert none.status_code == 422 and none.json()["detail"][0]["loc"] == ["query", "limit"]


async def test_llm_projects_delete_is_not_undone(live: LiveStack, client: httpx.AsyncClient, request: pytest.FixtureRequest) -> None:
    """llm.projects.delete"""
    name, number = f"deleted {request.node.callspec.id}", 0xDE1 + len(request.node.callspec.id)
    body = _traces(number)

    async def send(traces: dict[str, Any]) -> str:
        answer = await client.post("/traces", json=traces, headers={"x-project-name": name})
        assert answer.status_code == 200
        return answer.headers["x-millstream-position"]

    async def spans(position: str) -> httpx.Response:
        return await client.get(f"/projects/{name}/spans", headers={"x-millstream-wait-for": position})

    assert len((await spans(await send(body))).json()["data"]) == 1
    assert (await client.delete(f"/projects/{name}")).status_code == 204
    assert (await client.get(f"/projects/{name}")).status_code == 404
    late = await send(body)
    assert (await client.get("/projects", headers={"x-millstream-wait-for": late})).status_code == 200
    assert (await client.get(f"/projects/{name}")).status_code == 404, "a late duplicate brought the project back"
    fresh = await send(_traces(number + 1_000))
    assert [each["context"]["trace_id"] for each in (await spans(fresh)).json()["data"]] == [f"{number + 1_000:032x}"]


async def test_llm_projects_default_undeletable(client: httpx.AsyncClient) -> None:
    """llm.projects.default_undeletable, llm.errors.403"""
    answer = await client.delete("/projects/default")
    assert answer.status_code == 403 and answer.headers["content-type"].startswith("text/plain")
    assert (await client.get("/projects/default")).json()["data"]["id"] == "UHJvamVjdDox"


async def test_llm_projects_wrong_requests(client: httpx.AsyncClient) -> None:
    """llm.errors.404, llm.errors.422, llm.envelope.error, llm.projects.get, llm.projects.update, llm.projects.delete"""
    nowhere = global_id("Project", 10**9)
    for method, path in (("GET", nowhere), ("GET", "nobody"), ("PUT", "nobody"), ("DELETE", nowhere), ("DELETE", "nobody"), ("GET", global_id("Dataset", 1))):
        answer = await client.request(method, f"/projects/{path}", json={"description": "x"} if method == "PUT" else None)
        assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/plain") and path in answer.text, (method, path)
    for name in ("a/b", "a?b", "a#b"):
        wrong = await client.post("/projects", json={"name": name})
        assert wrong.status_code == 422 and wrong.json()["detail"][0]["loc"] == ["body", "name"]
    assert (await client.put("/projects/default", json={"description": 3})).json()["detail"][0]["loc"] == ["body", "description"]


async def test_llm_projects_that_spans_made(client: httpx.AsyncClient, request: pytest.FixtureRequest) -> None:
    """llm.projects.list, llm.projects.get"""
    name = f"spans made {request.node.callspec.id}"
    sent = await client.post("/traces", json=_traces(0xABC), headers={"x-project-name": name})
    read = await client.get("/projects/default/spans", headers={"x-millstream-wait-for": sent.headers["x-millstream-position"]})
    assert read.status_code == 200
    found = (await client.get(f"/projects/{name}")).json()["data"]
    assert number_of(found["id"], "Project") and found["description"] is None
    assert found in (await client.get("/projects", params={"limit": 1000})).json()["data"]
