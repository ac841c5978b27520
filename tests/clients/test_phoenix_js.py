"""The JavaScript clients of Arize Phoenix, unmodified: prompts, options and tracing."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.loopback_server import loopback_server
from tests.clients.phoenix_gates import broken_promises
from tests.flow.stack import KEY, LiveStack
from tests.support import eventually_sync

_FOLDER = Path(__file__).parent / "phoenix_js"
_DEADLINE_S = 60.0

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and (shutil.which("node") is None or not (_FOLDER / "node_modules").exists()),
    reason="needs Node.js 20 and its packages: npm ci --prefix tests/clients/phoenix_js",
)


def ran(script: str, given: Any, *, runner: Sequence[str] = ("node",), env: Mapping[str, str] | None = None) -> str:
    """What a script prints. Of the settings for the clients it sees those in `env`, and none that this process may have."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PHOENIX_", "OTEL_"))} | dict(env or {})
    done = subprocess.run([*runner, script], cwd=_FOLDER, input=json.dumps(given), env=environment, capture_output=True, text=True, timeout=_DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=[("llm", ""), ("main", "/llm")], ids=["port", "prefix"])
def url(live: LiveStack, request: pytest.FixtureRequest) -> str:
    port, prefix = request.param
    return live.url(port) + str(prefix)


def test_prompts(url: str) -> None:
    """llm.ts.create_prompt, llm.ts.get_prompt.name, llm.ts.get_prompt.tag, llm.ts.get_prompt.version_id, llm.ts.to_sdk, llm.ts.rest_typed,
    llm.ts.prompt_type, llm.ts.examples, llm.compatibility.server"""
    name = f"haiku-{uuid.uuid4().hex}"
    shown = json.loads(ran("prompts.mjs", {"url": url, "key": KEY, "name": name}))
    created = shown["created"]
    assert (created["description"], created["model_name"], created["template_format"]) == ("first", "gpt-4o-mini", "MUSTACHE")
    assert created["invocation_parameters"] == {"type": "openai", "openai": {"temperature": 0.5}}
    assert shown["latest"] and shown["tagged"] and shown["byId"] and shown["model"] == "gpt-4o-mini"
    (listed,) = shown["listed"]
    assert listed["description"] == "A haiku" and listed["source_prompt_id"] is None
    texts = [{"role": "system", "content": "Answer in French."}, {"role": "user", "content": "Write about rain"}]
    assert shown["openai"] == {"model": "gpt-4o-mini", "temperature": 0.5, "messages": texts}
    assert [message["role"] for message in shown["ai"]["messages"]] == ["system", "user"]
    assert (shown["anthropic"]["model"], shown["anthropic"]["max_tokens"]) == ("claude-sonnet", 64)
    assert "rain?" in json.dumps(shown["anthropic"]["messages"])
    assert shown["missing"] is None and set(shown["datasets"]) == {"data", "next_cursor"}
    assert shown["version"] >= [8, 0, 0]


def test_a_typed_script(url: str, live: LiveStack) -> None:
    """llm.cli.ts_examples"""
    name = f"from TypeScript {uuid.uuid4().hex}"
    upload = {"action": "create", "name": name, "inputs": [{"question": "?"}]}
    made = httpx.post(f"{url}/v1/datasets/upload", params={"sync": "true"}, json=upload, headers=live.headers, timeout=30)
    made.raise_for_status()
    env = {"PHOENIX_HOST": url, "PHOENIX_API_KEY": KEY}
    listed = json.loads(ran("list_datasets.ts", None, runner=("npx", "--no-install", "tsx"), env=env))
    assert {"id": made.json()["data"]["dataset_id"], "name": name} in listed


@contextmanager
def recorder() -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """A server that answers every GET with an empty list, and the requests it got: path, and headers in lower case."""
    got: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            body = b'{"data": [], "next_cursor": null}'
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    with loopback_server(Handler) as url:
        yield url, got


def test_options() -> None:
    """llm.ts.env.phoenix_host, llm.ts.env.phoenix_api_key, llm.ts.env.phoenix_client_headers, llm.ts.options_precedence, llm.ts.request_emitted"""
    with recorder() as (url, got):
        env = {"PHOENIX_HOST": url, "PHOENIX_API_KEY": "xxxxxx", "PHOENIX_CLIENT_HEADERS": json.dumps({"x-mine": "1"})}
        other = {"PHOENIX_HOST": "http://127.0.0.1:9", "PHOENIX_API_KEY": "yyyyyy"}
        ran("options.mjs", [{"env": env}, {"env": other, "options": {"baseUrl": url, "headers": {"Authorization": "Bearer zzzzzz"}}}])
    (first_path, first), (second_path, second) = got
    assert first_path == second_path == "/v1/datasets"
    assert (first["authorization"], first["x-mine"]) == ("Bearer xxxxxx", "1")
    assert second["authorization"] == "Bearer zzzzzz"


def test_tracing(live: LiveStack) -> None:
    """Spans of phoenix-otel: address and key by argument and by environment, one by one and in batches"""
    run = uuid.uuid4().hex
    base = live.url("llm")
    ways = [
        {"name": "arguments", "env": {}, "options": {"url": base, "apiKey": KEY, "projectName": f"js arguments {run}", "batch": False}},
        {"name": "headers", "env": {}, "options": {"url": f"{base}/v1/traces", "headers": {"api-key": KEY}, "projectName": f"js headers {run}", "batch": True}},
        {"name": "environment", "env": {"PHOENIX_COLLECTOR_ENDPOINT": base, "PHOENIX_API_KEY": KEY}, "options": {"projectName": f"js environment {run}"}},
        {"name": "wrong", "env": {}, "options": {"url": base, "apiKey": "wrong", "projectName": f"js wrong {run}", "batch": False}},
    ]
    assert ran("tracing.mjs", ways).split("\n") == ["wrong 401", ""]

    def spans(way: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{base}/v1/projects/js {way} {run}/spans", headers=live.headers)
        return list(answer.json()["data"]) if answer.status_code == 200 else []

    for way in ("arguments", "headers", "environment"):
        eventually_sync(lambda way=way: bool(spans(way)))  # type: ignore[misc]
        (span,) = spans(way)
        assert (span["name"], span["span_kind"], span["attributes"]["output.value"]) == (way, "CHAIN", "HOW?")
    assert spans("wrong") == []


def test_what_the_announced_version_promises_is_there(url: str) -> None:
    """llm.compatibility.server"""
    assert broken_promises(url, json.loads(ran("gates.mjs", None))) == []


def test_what_is_installed() -> None:
    """llm.ts.install: the package as npm has it, by the lock"""
    locked = json.loads((_FOLDER / "package-lock.json").read_text())["packages"]
    for name in ("@arizeai/phoenix-client", "@arizeai/phoenix-otel"):
        installed = json.loads((_FOLDER / "node_modules" / name / "package.json").read_text())
        assert installed["version"] == locked[f"node_modules/{name}"]["version"] and locked[f"node_modules/{name}"]["integrity"]
