"""The MCP server of Arize Phoenix, unmodified, over stdio; and, wherever it cannot be had, the requests that its tools make.

npm answers 404 for `@arizeai/phoenix-mcp`. `PHOENIX_MCP` names the command of one that was built from its sources, such as
`node /somewhere/phoenix-mcp/build/index.js`.
"""

import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.clients.mcp_client import McpClient, mcp_client
from tests.flow.stack import KEY, LiveStack
from tests.support import eventually_sync

_INSTALLED = Path(__file__).parent / "phoenix_js" / "node_modules" / "@arizeai" / "phoenix-mcp" / "build" / "index.js"
_COMMAND = shlex.split(os.environ.get("PHOENIX_MCP", "")) or (["node", str(_INSTALLED)] if _INSTALLED.exists() else [])
needs_server = pytest.mark.skipif(not _COMMAND, reason="npm has no @arizeai/phoenix-mcp; PHOENIX_MCP may name the command of one built from its sources")
_NO_REGISTRY = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")

VERSION: dict[str, Any] = {
    "description": "",
    "model_provider": "OPENAI",
    "model_name": "gpt-4o",
    "template": {"type": "chat", "messages": [{"role": "user", "content": "Hello {{name}}"}]},
    "template_type": "CHAT",
    "template_format": "MUSTACHE",
    "invocation_parameters": {"type": "openai", "openai": {"temperature": 0.7}},
}


class World(NamedTuple):
    """What the tools are asked about."""

    run: str
    project: str
    trace: str
    span: str
    dataset: str
    """Id of a dataset with one example."""
    experiment: str
    """Id of an experiment with one run."""


@pytest.fixture(scope="module")
def http(live: LiveStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url("llm"), headers=live.headers, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def world(http: httpx.Client) -> World:
    run, trace, span = uuid.uuid4().hex, os.urandom(16).hex(), os.urandom(8).hex()
    dataset = {"action": "create", "name": f"data-{run}", "inputs": [{"q": "1+1"}], "outputs": [{"a": "2"}], "metadata": [{}]}
    dataset_id = http.post("/v1/datasets/upload", params={"sync": True}, json=dataset).raise_for_status().json()["data"]["dataset_id"]
    example = http.get(f"/v1/datasets/{dataset_id}/examples").raise_for_status().json()["data"]["examples"][0]["id"]
    experiment = http.post(f"/v1/datasets/{dataset_id}/experiments", json={"name": f"experiment-{run}"}).raise_for_status().json()["data"]["id"]
    times = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z"}
    answer = {"dataset_example_id": example, "output": "2", "repetition_number": 1, "trace_id": None, **times}
    http.post(f"/v1/experiments/{experiment}/runs", json=answer).raise_for_status()
    now = time.time_ns()
    attributes = [{"key": "openinference.span.kind", "value": {"stringValue": "LLM"}}, {"key": "session.id", "value": {"stringValue": f"session-{run}"}}]
    sent = {
        "traceId": trace,
        "spanId": span,
        "name": f"span-{run}",
        "kind": 1,
        "startTimeUnixNano": str(now),
        "endTimeUnixNano": str(now + 5),
        "attributes": attributes,
    }
    http.post("/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": [sent]}]}]}, headers={"x-project-name": f"project-{run}"}).raise_for_status()
    eventually_sync(lambda: run in http.get(f"/v1/projects/project-{run}/spans").text)
    note = {"data": [{"span_id": span, "name": "quality", "annotator_kind": "CODE", "result": {"label": "good", "score": 1.0}}]}
    http.post("/v1/span_annotations", params={"sync": True}, json=note).raise_for_status()
    return World(run, f"project-{run}", trace, span, dataset_id, experiment)


@pytest.fixture(params=[("llm", ""), ("main", "/llm")], ids=["port", "prefix"])
def server(live: LiveStack, request: pytest.FixtureRequest) -> Iterator[McpClient]:
    port, prefix = request.param
    with mcp_client([*_COMMAND, "--baseUrl", live.url(port) + prefix, "--apiKey", KEY]) as client:
        yield client


@pytest.mark.skipif(not os.environ.get("CI") and shutil.which("npm") is None, reason="needs npm")
def test_npm_installs_the_server(tmp_path: Path) -> None:
    """llm.cli.npm_install_mcp"""
    (tmp_path / "package.json").write_text('{"private": true}')  # so that npm installs here and not in a folder above
    command = ["npm", "i", "@arizeai/phoenix-mcp", "--fetch-retries", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    if any(f"code {code}" in done.stderr for code in ("E404", "E403")):
        pytest.skip(f"npm's registry gives no @arizeai/phoenix-mcp: {done.stderr.strip().splitlines()[0]}")
    if not os.environ.get("CI") and any(f"code {code}" in done.stderr for code in _NO_REGISTRY):
        pytest.skip("needs npm's registry")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "node_modules" / "@arizeai" / "phoenix-mcp" / "build" / "index.js").is_file()


@needs_server
def test_tools_of_the_server(server: McpClient, http: httpx.Client, world: World) -> None:
    """llm.mcp.launch, llm.cli.mcp, llm.mcp.prompts, llm.mcp.datasets, llm.mcp.experiments, llm.mcp.env"""
    assert {"list-prompts", "upsert-prompt", "list-datasets", "add-dataset-examples", "get-experiment-by-id", "get-spans"} <= server.tools()
    name = f"greeting{uuid.uuid4().hex}"  # its tool leaves out hyphens
    server.call("upsert-prompt", name=name, template="Hello {{name}}", model_name="gpt-4o", temperature=0.5)
    assert name in server.call("list-prompts", limit=100) and "Hello {{name}}" in server.call("get-latest-prompt", prompt_identifier=name)
    version = http.get(f"/v1/prompts/{name}/latest").json()["data"]["id"]
    assert version in server.call("list-prompt-versions", prompt_identifier=name)
    server.call("add-prompt-version-tag", prompt_version_id=version, name="production", description="good")
    assert version in server.call("get-prompt-version-by-tag", prompt_identifier=name, tag_name="production")
    assert "production" in server.call("list-prompt-version-tags", prompt_version_id=version)
    assert world.project in server.call("list-projects", limit=500) and world.project in server.call("get-project", project_identifier=world.project)
    assert f"span-{world.run}" in server.call("get-spans", project_identifier=world.project, span_kinds=["LLM"], include_annotations=True)
    assert world.trace in server.call("get-trace", project_identifier=world.project, trace_id=world.trace)
    assert world.trace in server.call("list-traces", project_identifier=world.project, last_n_minutes=60)
    assert "quality" in server.call("get-span-annotations", project_identifier=world.project, span_ids=[world.span])
    assert f"session-{world.run}" in server.call("list-sessions", project_identifier=world.project)
    assert f"session-{world.run}" in server.call("get-session", session_identifier=f"session-{world.run}")
    assert f"data-{world.run}" in server.call("list-datasets", limit=500) and "1+1" in server.call("get-dataset-examples", dataset_id=world.dataset)
    server.call("add-dataset-examples", dataset_name=f"data-{world.run}", examples=[{"input": {"q": "2+2"}, "output": {"a": "4"}}])
    assert "2+2" in server.call("get-dataset-examples", dataset_name=f"data-{world.run}")
    assert world.experiment in server.call("get-dataset-experiments", dataset_id=world.dataset)
    assert world.experiment in server.call("get-experiment-by-id", experiment_id=world.experiment)


def test_requests_of_the_tools_for_prompts(http: httpx.Client) -> None:
    """llm.mcp.prompts: create, list, update and iterate, by the requests of the tools"""
    name = f"greeting-{uuid.uuid4().hex}"
    made = http.post("/v1/prompts", json={"prompt": {"name": name, "description": ""}, "version": VERSION}).raise_for_status().json()["data"]
    assert name in {each["name"] for each in http.get("/v1/prompts", params={"limit": 100}).json()["data"]}
    next_one = http.post("/v1/prompts", json={"prompt": {"name": name}, "version": VERSION}).raise_for_status().json()["data"]
    assert http.get(f"/v1/prompts/{name}/latest").json()["data"] == next_one
    listed = http.get(f"/v1/prompts/{name}/versions", params={"limit": 100}).json()
    assert listed == {"data": [next_one, made], "next_cursor": None}
    tag = {"name": "production", "description": "good"}
    assert http.post(f"/v1/prompt_versions/{made['id']}/tags", json=tag).status_code == 204
    assert http.get(f"/v1/prompts/{name}/tags/production").json()["data"] == made == http.get(f"/v1/prompt_versions/{made['id']}").json()["data"]


def test_requests_of_the_tools_for_datasets_and_experiments(http: httpx.Client, world: World) -> None:
    """llm.mcp.datasets, llm.mcp.experiments: explore, add examples and pull results, by the requests of the tools"""
    (dataset,) = http.get("/v1/datasets", params={"name": f"data-{world.run}", "limit": 100}).json()["data"]
    assert dataset["id"] == world.dataset == http.get(f"/v1/datasets/{world.dataset}").json()["data"]["id"]
    more = {"action": "append", "name": dataset["name"], "inputs": [{"q": "2+2"}], "outputs": [{"a": "4"}], "metadata": [{"source": "synthetic"}]}
    assert "version_id" in http.post("/v1/datasets/upload", params={"sync": True}, json=more).raise_for_status().json()["data"]
    assert "2+2" in http.get(f"/v1/datasets/{world.dataset}/examples").text
    assert world.experiment in {each["id"] for each in http.get(f"/v1/datasets/{world.dataset}/experiments").json()["data"]}
    assert http.get(f"/v1/experiments/{world.experiment}").json()["data"]["dataset_id"] == world.dataset
    (result,) = http.get(f"/v1/experiments/{world.experiment}/json").json()
    assert (result["input"], result["output"]) == ({"q": "1+1"}, "2")


def test_requests_of_the_tools_for_spans(http: httpx.Client, world: World) -> None:
    """llm.mcp.launch: what the tools for projects, traces, sessions and spans ask"""
    project = http.get(f"/v1/projects/{world.project}").json()["data"]
    assert project in http.get("/v1/projects", params={"limit": 1000, "include_experiment_projects": False}).json()["data"]
    spans = http.get(f"/v1/projects/{project['id']}/spans", params={"limit": 100, "span_kind": "LLM", "trace_id": world.trace}).json()["data"]
    assert [span["context"]["span_id"] for span in spans] == [world.span]
    asked: dict[str, list[str] | int] = {"span_ids": [world.span], "limit": 100}
    (annotation,) = http.get(f"/v1/projects/{world.project}/span_annotations", params=asked).json()["data"]
    assert (annotation["name"], annotation["result"]["label"]) == ("quality", "good")
    traces = http.get(f"/v1/projects/{world.project}/traces", params={"include_spans": True, "sort": "start_time", "order": "desc"}).json()["data"]
    assert [trace["trace_id"] for trace in traces] == [world.trace]
    (session,) = http.get(f"/v1/projects/{world.project}/sessions", params={"order": "desc"}).json()["data"]
    assert session["session_id"] == f"session-{world.run}" == http.get(f"/v1/sessions/{session['session_id']}").json()["data"]["session_id"]
