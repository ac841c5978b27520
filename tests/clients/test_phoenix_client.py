"""The Python client of Arize Phoenix, unmodified: prompts and projects, and every way of giving it address and key."""

import importlib.metadata
import subprocess
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.api_keys import hash_secret
from tests.clients.phoenix_gates import broken_promises
from tests.clients.phoenix_scripts import answer_of
from tests.flow.stack import KEY, LiveStack
from tests.support import eventually_sync


@pytest.fixture(params=[("llm", ""), ("main", "/llm")], ids=["port", "prefix"])
def url(live: LiveStack, request: pytest.FixtureRequest) -> str:
    port, prefix = request.param
    return live.url(port) + str(prefix)


@pytest.fixture(scope="module")
def other_key(live: LiveStack) -> str:
    """A key of a tenant of its own, whose only project is `default`: what is seen with it was asked for with it."""
    text = f"phoenix-client-{uuid.uuid4().hex}"
    tenant = f"phoenix-{uuid.uuid4().hex[:10]}"
    live.define(
        {"kind": "tenant", "id": tenant, "name": tenant},
        {"kind": "key", "tenant": tenant, "id": text, "name": "k", "sha256": hash_secret(text), "role": "admin"},
    )
    eventually_sync(lambda: httpx.get(f"{live.url('llm')}/v1/projects", headers={"api-key": text}).status_code == 200)
    httpx.post(f"{live.url('llm')}/v1/projects", headers={"api-key": text}, json={"name": "of the other tenant"}).raise_for_status()
    return text


def test_prompts(url: str, phoenix_python: Path) -> None:
    """llm.py.prompts.create, llm.py.prompts.get, llm.py.prompts.format"""
    shown = answer_of(phoenix_python, "prompts", {"name": f"haiku-{uuid.uuid4().hex}", "client": {"base_url": url, "api_key": KEY}})
    first = shown["first"]
    assert first["model"] == "gpt-4o-mini"
    assert [message["content"] for message in first["messages"]] == ["Answer in French.", "Write a haiku about rain"]
    latest = shown["latest"]
    assert (latest["model"], latest["temperature"], latest["tool_choice"]) == ("gpt-4o", 0.5, "required")
    assert latest["messages"] == [{"role": "user", "content": "rain?"}]
    assert latest["tools"][0]["function"]["name"] == "weather" and latest["response_format"]["json_schema"]["name"] == "answer"
    assert shown["tags"] == [{"name": "production", "description": "the good one"}]
    assert shown["changed"]["description"] is None and shown["changed"]["metadata"] == {"b": 2}
    assert (shown["anthropic"]["model"], shown["anthropic"]["max_tokens"]) == ("claude-sonnet", 64)
    assert shown["by_id"] and shown["async"] and shown["gone"].startswith("Prompt not found")


def test_projects(url: str, phoenix_python: Path) -> None:
    """llm.py.projects.list, llm.py.projects.get_by_id, llm.py.projects.get_by_name, llm.py.projects.create, llm.py.projects.update,
    llm.py.projects.delete, llm.py.projects.sync_async; the name holds a space"""
    for shown in answer_of(phoenix_python, "projects", {"name": f"My Project {uuid.uuid4().hex}", "client": {"base_url": url, "api_key": KEY}}):
        made = shown["made"]
        assert made == shown["by_id"] == shown["by_name"] and shown["listed"] and made["description"] == "This is a new project"
        assert shown["changed"] == {**made, "description": "Another"} and shown["left"] == [] and "403" in shown["default"]


def test_addresses_and_keys(live: LiveStack, url: str, phoenix_python: Path, other_key: str) -> None:
    """llm.py.client.base_url, llm.py.client.api_key_env, llm.py.client.api_key_arg, llm.py.client.headers_env, llm.py.client.headers_arg"""
    place, key = {"base_url": url}, other_key
    ways: dict[str, dict[str, Any]] = {
        "api_key_arg": {"env": {}, "arguments": {**place, "api_key": key}},
        "headers_arg": {"env": {}, "arguments": {**place, "headers": {"api-key": key}}},
        "api_key_env": {"env": {"PHOENIX_API_KEY": key}, "arguments": place},
        "headers_env": {"env": {"PHOENIX_CLIENT_HEADERS": f"api-key={key},"}, "arguments": place},
        "endpoint_env": {"env": {"PHOENIX_COLLECTOR_ENDPOINT": url, "PHOENIX_API_KEY": key}, "arguments": {}},
        "wrong": {"env": {}, "arguments": {**place, "api_key": "wrong"}},
        "keyless": {"env": {}, "arguments": place},
    }
    if url.endswith("/llm"):
        ways.pop("endpoint_env")
    shown = answer_of(phoenix_python, "authentication", ways)
    assert shown.pop("wrong") == 401
    assert "of the other tenant" not in shown.pop("keyless")
    assert shown == dict.fromkeys(shown, ["default", "of the other tenant"])


def test_what_the_announced_version_promises_is_there(url: str, phoenix_python: Path) -> None:
    """llm.compatibility.server"""
    assert broken_promises(url, answer_of(phoenix_python, "gates", None)) == []


def test_what_is_installed(phoenix_python: Path) -> None:
    """llm.py.install, llm.py.modules, llm.py.wip, llm.otel.install, llm.evals.install: the packages as pip has them, with the modules the document lists"""
    names = ("arize-phoenix-client", "arize-phoenix-otel", "arize-phoenix-evals")
    lock = (Path(__file__).parent / "phoenix_env" / "requirements.lock").read_text()
    code = "import importlib.metadata as m, phoenix.client, phoenix.client.experiments, phoenix.otel, phoenix.evals; print(*(m.version(n) for n in %r))"
    versions = subprocess.run([str(phoenix_python), "-c", code % (names,)], capture_output=True, text=True, check=True).stdout.split()
    assert all(f"{name}=={version}" in lock for name, version in zip(names, versions, strict=True))
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("arize-phoenix-client")
