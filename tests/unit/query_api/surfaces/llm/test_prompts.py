"""Prompts over the API."""

import asyncio
from typing import Any

import httpx
import pytest

from query_api.control.audit import AuditFilter
from schemas.global_id import global_id
from tests.unit.query_api.stored import Service
from tests.unit.query_api.surfaces.llm.conftest import Ask

VERSION: dict[str, Any] = {
    "model_provider": "OPENAI",
    "model_name": "gpt-4o",
    "template": {"type": "chat", "messages": [{"role": "user", "content": "Tell me about {{topic}}"}]},
    "template_type": "CHAT",
    "template_format": "MUSTACHE",
    "invocation_parameters": {"type": "openai", "openai": {"temperature": 1, "top_p": 0.5, "seed": 7}},
}


async def made(ask: Ask, name: str = "poem", key: str = "admin", prompt: dict[str, Any] | None = None, **version: Any) -> dict[str, Any]:
    answer = await ask("POST", "/prompts", key, {"prompt": {"name": name, **(prompt or {})}, "version": VERSION | version})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def is_text(answer: httpx.Response, status: int) -> bool:
    return answer.status_code == status and answer.headers["content-type"].startswith("text/plain") and bool(answer.text)


async def test_a_version_is_served_as_it_was_sent(ask: Ask) -> None:
    parts = [
        {"type": "text", "text": "héllo\n"},
        {"type": "tool_call", "tool_call_id": "c1", "tool_call": {"type": "function", "name": "f", "arguments": "{}"}},
        {"type": "tool_result", "tool_call_id": "c1", "tool_result": {"a": [1, 1.0, None, True]}},
    ]
    sent = VERSION | {
        "description": "first",
        "model_provider": "ANTHROPIC",
        "template": {"type": "chat", "messages": [{"role": "assistant", "content": parts, "name": "kept"}]},
        "invocation_parameters": {"type": "anthropic", "anthropic": {"max_tokens": 100, "thinking": {"type": "enabled", "budget_tokens": 1024}, "new": 1.0}},
        "tools": {
            "type": "tools",
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}, {"type": "raw", "raw": {"x": 1}}],
            "tool_choice": {"type": "specific_function", "function_name": "f"},
            "disable_parallel_tool_calls": False,
        },
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}},
        "metadata": {"owner": "me"},
    }
    version = await made(ask, **sent)
    assert version == {"id": version["id"], **sent}
    for path in ("/prompts/poem/latest", f"/prompt_versions/{version['id']}"):
        assert (await ask("GET", path)).json() == {"data": version}
    assert (await ask("GET", "/prompts/poem/versions")).json() == {"data": [version], "next_cursor": None}


@pytest.mark.parametrize(
    "provider",
    ["azure_openai", "google", "deepseek", "xai", "ollama", "aws", "cerebras", "fireworks", "groq", "moonshot", "perplexity", "together", "zai", "meta"],
)
async def test_every_provider_keeps_its_parameters(ask: Ask, provider: str) -> None:
    parameters = {"type": provider, provider: {"temperature": 0.25, "anything": ["else"]}}
    version = await made(ask, model_provider=provider.upper(), invocation_parameters=parameters)
    assert version["invocation_parameters"] == parameters


async def test_a_string_template_and_no_placeholders(ask: Ask) -> None:
    template = {"type": "string", "template": "Say it"}
    version = await made(ask, template=template, template_type="STR", template_format="NONE")
    assert (version["template"], version["template_type"], version["template_format"]) == (template, "STR", "NONE")


async def test_the_same_name_is_the_next_version(ask: Ask) -> None:
    first = await made(ask, prompt={"description": "of poems", "metadata": {"a": 1}})
    second = await made(ask, prompt={"description": "ignored"}, model_name="gpt-5")
    (prompt,) = (await ask("GET", "/prompts")).json()["data"]
    assert (prompt["name"], prompt["description"], prompt["metadata"], prompt["source_prompt_id"]) == ("poem", "of poems", {"a": 1}, None)
    assert (await ask("GET", f"/prompts/{prompt['id']}/versions")).json()["data"] == [second, first]
    assert (await ask("GET", "/prompts/poem/latest")).json()["data"] == second
    third = await ask("POST", "/prompts/poem/versions", body={"version": VERSION, "tags": [{"name": "staging"}, {"name": "beta", "description": "b"}]})
    assert third.status_code == 201
    for tag in ("staging", "beta"):
        assert (await ask("GET", f"/prompts/poem/tags/{tag}")).json() == third.json()
    assert is_text(await ask("POST", "/prompts/unknown/versions", body={"version": VERSION}), 404)


async def test_versions_made_side_by_side_are_all_there(ask: Ask) -> None:
    made_ones = await asyncio.gather(*(made(ask, model_name=f"m{number}") for number in range(8)))
    listed = (await ask("GET", "/prompts/poem/versions")).json()["data"]
    assert sorted(each["id"] for each in listed) == sorted(each["id"] for each in made_ones)
    assert len((await ask("GET", "/prompts")).json()["data"]) == 1


async def test_a_copy_names_its_source(ask: Ask) -> None:
    await made(ask)
    (source,) = (await ask("GET", "/prompts")).json()["data"]
    await made(ask, "copy", prompt={"source_prompt_id": source["id"]})
    assert (await ask("GET", "/prompts")).json()["data"][0]["source_prompt_id"] == source["id"]
    for unknown in ("text", global_id("Prompt", 999), global_id("Project", 1), global_id("Prompt", 2**70)):
        refused = await ask("POST", "/prompts", body={"prompt": {"name": "c2", "source_prompt_id": unknown}, "version": VERSION})
        assert is_text(refused, 422) and "source_prompt_id" in refused.text
    assert is_text(await ask("GET", "/prompts/c2/latest"), 404)


async def test_a_tag_points_to_one_version(ask: Ask) -> None:
    first, second = await made(ask), await made(ask)
    for version in (first, second):
        tagged = await ask("POST", f"/prompt_versions/{version['id']}/tags", body={"name": "production", "description": version["id"]})
        assert (tagged.status_code, tagged.content) == (204, b"")
    assert (await ask("GET", "/prompts/poem/tags/production")).json()["data"] == second
    assert (await ask("GET", f"/prompt_versions/{first['id']}/tags")).json() == {"data": [], "next_cursor": None}
    (tag,) = (await ask("GET", f"/prompt_versions/{second['id']}/tags")).json()["data"]
    assert (tag["name"], tag["description"]) == ("production", second["id"])
    assert (await ask("DELETE", f"/prompt_versions/{first['id']}/tags/production")).status_code == 204
    assert is_text(await ask("DELETE", f"/prompt_versions/{first['id']}/tags/production"), 404)
    assert is_text(await ask("GET", "/prompts/poem/tags/production"), 404)


async def test_pages_hold_each_item_once(ask: Ask) -> None:
    for number in range(5):
        version = await made(ask, f"p{number}")
        await made(ask, "p0")
        await ask("POST", f"/prompt_versions/{version['id']}/tags", body={"name": "t"})
    last = await made(ask, "p0")
    for number in range(5):
        await ask("POST", f"/prompt_versions/{last['id']}/tags", body={"name": f"t{number}"})
    for path, count in (("/prompts", 5), ("/prompts/p0/versions", 7), (f"/prompt_versions/{last['id']}/tags", 5)):
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await ask("GET", path, params={"limit": 2, **cursor})).json()
            found += [each["id"] for each in page["data"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        whole = (await ask("GET", path)).json()["data"]
        assert found == [each["id"] for each in whole] and len(found) == count, path
        for wrong in ("x", global_id("Project", 1), global_id("Prompt", 2**80)):
            assert is_text(await ask("GET", path, params={"cursor": wrong}), 422)
        for limit in (0, -1, 1001):
            assert (await ask("GET", path, params={"limit": limit})).json()["detail"][0]["loc"] == ["query", "limit"]


async def test_description_and_metadata_change_and_a_prompt_goes(ask: Ask, service: Service) -> None:
    version = await made(ask, prompt={"description": "d", "metadata": {"a": 1}})
    changed = (await ask("PATCH", "/prompts/poem", body={"metadata": {"b": 2}})).json()["data"]
    assert (changed["description"], changed["metadata"]) == ("d", {"b": 2})
    changed = (await ask("PATCH", f"/prompts/{changed['id']}", body={"description": None})).json()["data"]
    assert (changed["description"], changed["metadata"]) == (None, {"b": 2})
    assert (await ask("GET", "/prompts")).json()["data"] == [changed]
    wrong_ones: list[dict[str, Any]] = [{}, {"metadata": None}, {"metadata": []}, {"other": 1}]
    for wrong in wrong_ones:
        assert (await ask("PATCH", "/prompts/poem", body=wrong)).status_code == 422
    assert (await ask("DELETE", "/prompts/poem")).status_code == 204
    for path in ("/prompts/poem/latest", f"/prompt_versions/{version['id']}", f"/prompts/{changed['id']}/versions"):
        assert is_text(await ask("GET", path), 404)
    assert is_text(await ask("DELETE", "/prompts/poem"), 404)
    log = await service.parts.control.audit_log("default", AuditFilter(kind="prompt", id="poem"))
    told = ["prompt.deleted", "prompt.updated", "prompt.updated", "prompt.version_created", "prompt.created"]
    assert [record.entry.action for record in log.records] == told


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"template_type": "STR"}, []),
        ({"template_type": "text"}, ["template_type"]),
        ({"template": {"type": "text", "messages": []}}, ["template"]),
        ({"template": {"type": "chat", "messages": [{"role": "nobody", "content": "x"}]}}, ["template", "chat", "messages", 0, "role"]),
        ({"template": {"type": "chat", "messages": [{"role": "user"}]}}, ["template", "chat", "messages", 0, "content"]),
        ({"template_format": "JINJA"}, ["template_format"]),
        ({"model_provider": "NOBODY"}, ["model_provider"]),
        ({"model_name": 4}, ["model_name"]),
        ({"invocation_parameters": {"type": "openai"}}, ["invocation_parameters"]),
        ({"invocation_parameters": {"type": "text", "text": {}}}, ["invocation_parameters", "type"]),
        ({"tools": {"type": "tools", "tools": []}}, ["tools", "tools"]),
        ({"tools": {"type": "tools", "tools": [{"type": "raw", "raw": {}}], "tool_choice": {"type": "specific_function"}}}, ["tools", "tool_choice"]),
        ({"response_format": {"type": "text"}}, ["response_format", "type"]),
    ],
)
async def test_wrong_fields_are_named_and_nothing_is_stored(ask: Ask, change: dict[str, Any], where: list[str | int]) -> None:
    answer = await ask("POST", "/prompts", body={"prompt": {"name": "wrong"}, "version": VERSION | change})
    assert answer.status_code == 422 and answer.headers["content-type"].startswith("application/json")
    assert ["body", "version", *where] in [fault["loc"] for fault in answer.json()["detail"]]
    assert is_text(await ask("GET", "/prompts/wrong/latest"), 404)


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a-", "a b", "é", "a" * 301, "a\n"])
async def test_names_have_one_form(ask: Ask, name: str) -> None:
    answer = await ask("POST", "/prompts", body={"prompt": {"name": name}, "version": VERSION})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "prompt", "name"]
    version = await made(ask)
    assert (await ask("POST", f"/prompt_versions/{version['id']}/tags", body={"name": name})).status_code == 422


async def test_values_that_are_no_json_are_refused(ask: Ask) -> None:
    whole = b'{"prompt": {"name": "odd"}, "version": {"model_provider": "OPENAI", "model_name": "m", "template": {"type": "string", "template": "x"},'
    whole += b'"template_type": "STR", "template_format": "NONE", "invocation_parameters": {"type": "openai", "openai": {"x": %s}}}}'
    for odd in (b"NaN", b"1e999", b"123456789012345678901234567890", b'"\\ud800"', b"[" * 40 + b"]" * 40):
        answer = await ask("POST", "/prompts", content=whole % odd)
        assert answer.status_code == 422, (odd, answer.text)
    assert (await ask("GET", "/prompts")).json()["data"] == []


async def test_ids_of_other_things_and_of_other_tenants(ask: Ask) -> None:
    version = await made(ask)
    (prompt,) = (await ask("GET", "/prompts")).json()["data"]
    assert is_text(await ask("GET", f"/prompt_versions/{prompt['id']}"), 422)
    assert is_text(await ask("GET", f"/prompts/{version['id']}/latest"), 422)
    assert is_text(await ask("GET", "/prompts/No Name/latest"), 422)
    assert is_text(await ask("GET", f"/prompt_versions/{global_id('PromptVersion', 10**30)}"), 422)
    for path in (f"/prompt_versions/{version['id']}", f"/prompts/{prompt['id']}/latest", "/prompts/poem/latest", f"/prompt_versions/{version['id']}/tags"):
        assert is_text(await ask("GET", path, "other"), 404)
    assert (await ask("GET", "/prompts", "other")).json() == {"data": [], "next_cursor": None}
    assert is_text(await ask("POST", f"/prompt_versions/{version['id']}/tags", "other", {"name": "t"}), 404)


async def test_roles(ask: Ask) -> None:
    version = await made(ask, key="developer")
    assert (await ask("GET", "/prompts", "viewer")).status_code == 200
    assert is_text(await ask("POST", "/prompts", "viewer", {"prompt": {"name": "x"}, "version": VERSION}), 403)
    assert is_text(await ask("DELETE", "/prompts/poem", "viewer"), 403)
    assert is_text(await ask("GET", f"/prompt_versions/{version['id']}", "ingest"), 403)
