"""Prompts of the LLM surface over HTTP, row by row of the requirements catalogue."""

import uuid
from typing import Any

import httpx
import pytest

from schemas.global_id import number_of
from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack


@pytest.fixture(params=[("llm", ""), ("main", "/llm")], ids=["port", "prefix"])
async def client(live: LiveStack, request: pytest.FixtureRequest) -> Any:
    port, prefix = request.param
    async with httpx.AsyncClient(base_url=live.url(port) + prefix + "/v1", headers=live.headers, timeout=20) as client:
        yield client


def documented_request(name: str) -> dict[str, Any]:
    """The documented request, whose every text is `text`, with the types that its parts have."""
    given: dict[str, Any] = row("llm.prompts.create")["request"]
    version = given["version"]
    tools = version["tools"]
    return {
        "prompt": {"name": name, "description": given["prompt"]["description"]},
        "version": {
            **version,
            "template": {**version["template"], "type": "chat"},
            "template_type": "CHAT",
            "invocation_parameters": {**version["invocation_parameters"], "type": "openai"},
            "tools": {**tools, "type": "tools", "tools": [{**tool, "type": "function"} for tool in tools["tools"]], "tool_choice": {"type": "zero_or_more"}},
            "response_format": {**version["response_format"], "type": "json_schema"},
        },
    }


def check(answer: httpx.Response, name: str) -> Any:
    """The answer is as the row documents."""
    documented = row(name)
    assert answer.status_code in documented["status_accept"], answer.text
    assert not missing_keys(answer.json(), documented["response_keys"])
    return answer.json()["data"]


def is_text(answer: httpx.Response, status: int) -> bool:
    return answer.status_code == status and answer.headers["content-type"].startswith("text/plain")


@needs_catalogue
async def test_llm_prompts(client: httpx.AsyncClient) -> None:
    """llm.prompts.create, llm.prompts.list, llm.prompts.versions.list, llm.prompts.latest, llm.prompt_versions.get, llm.prompts.versioning"""
    name = f"p-{uuid.uuid4().hex}"
    sent = documented_request(name)
    version = check(await client.post("/prompts", json=sent), "llm.prompts.create")
    assert number_of(version["id"], "PromptVersion") and {key: value for key, value in version.items() if key != "id"} == sent["version"]
    listed = check(await client.get("/prompts"), "llm.prompts.list")
    (prompt,) = [each for each in listed if each["name"] == name]
    assert number_of(prompt["id"], "Prompt") and prompt["description"] == sent["prompt"]["description"]
    for identifier in (name, prompt["id"]):
        assert check(await client.get(f"/prompts/{identifier}/versions"), "llm.prompts.versions.list") == [version]
        assert check(await client.get(f"/prompts/{identifier}/latest"), "llm.prompts.latest") == version
    assert check(await client.get(f"/prompt_versions/{version['id']}"), "llm.prompt_versions.get") == version
    second = check(await client.post("/prompts", json=sent), "llm.prompts.create")
    assert [each["id"] for each in (await client.get(f"/prompts/{name}/versions")).json()["data"]] == [second["id"], version["id"]]


@needs_catalogue
async def test_llm_prompt_tags(client: httpx.AsyncClient) -> None:
    """llm.prompt_versions.tags.create, llm.prompt_versions.tags.list, llm.prompts.by_tag"""
    name = f"p-{uuid.uuid4().hex}"
    version = check(await client.post("/prompts", json=documented_request(name)), "llm.prompts.create")
    made = await client.post(f"/prompt_versions/{version['id']}/tags", json={"name": "production", "description": "text"})
    assert (made.status_code, made.content) == (row("llm.prompt_versions.tags.create")["status"], b"")
    (tag,) = check(await client.get(f"/prompt_versions/{version['id']}/tags"), "llm.prompt_versions.tags.list")
    assert number_of(tag["id"], "PromptVersionTag") and (tag["name"], tag["description"]) == ("production", "text")
    assert check(await client.get(f"/prompts/{name}/tags/production"), "llm.prompts.by_tag") == version
    assert is_text(await client.get(f"/prompts/{name}/tags/staging"), 404)
    assert is_text(await client.get(f"/prompts/{name}/tags/Not A Tag"), 422)


@needs_catalogue
async def test_llm_prompts_identifier(client: httpx.AsyncClient) -> None:
    """llm.prompts.identifier: letters, digits, hyphens and underscores; llm.prompts.versioning: the pattern of tags"""
    for name in ("a", "0", f"a_-{uuid.uuid4().hex}"):
        assert (await client.post("/prompts", json=documented_request(name))).status_code == 200
    version = (await client.get(f"/prompts/{name}/latest")).json()["data"]
    for wrong in ("A", "a b", "-a", "a/", ""):
        refused = await client.post("/prompts", json=documented_request(wrong))
        assert refused.status_code == 422 and refused.json()["detail"][0]["loc"] == ["body", "prompt", "name"]
        refused = await client.post(f"/prompt_versions/{version['id']}/tags", json={"name": wrong})
        assert refused.status_code == 422 and refused.json()["detail"][0]["loc"] == ["body", "name"]
