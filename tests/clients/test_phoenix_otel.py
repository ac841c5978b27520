"""The OTel package of Arize Phoenix, unmodified: every way of setting it up sends its spans where it says."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.api_keys import hash_secret
from tests.clients.phoenix_scripts import answer_of
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

RUN = uuid.uuid4().hex
WITH_KEY = ("client_headers_env", "api_key_env", "api_key_arg", "headers_arg", "headers_arg_grpc")


def spans(live: LiveStack, project: str, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    """The spans of a project; none while nobody has named it."""
    answer = httpx.get(f"{live.url('llm')}/v1/projects/{project}/spans", headers=headers, params={"limit": 1000})
    return [] if answer.status_code == 404 else list(answer.raise_for_status().json()["data"])


@pytest.fixture(scope="module")
def other_tenant(live: LiveStack) -> str:
    """A key of another tenant: spans that are there were sent with it."""
    text, tenant = f"phoenix-otel-{RUN}", f"otel-{RUN[:10]}"
    live.define(
        {"kind": "tenant", "id": tenant, "name": tenant},
        {"kind": "key", "tenant": tenant, "id": text, "name": "k", "sha256": hash_secret(text), "role": "admin"},
    )

    def known() -> bool:
        answers = [
            httpx.get(f"{live.url('llm')}/v1/projects", headers={"api-key": text}),
            httpx.post(f"{live.url('otlp_http')}/v1/traces", headers={"api-key": text}),
        ]
        return all(answer.status_code != 401 for answer in answers)

    eventually_sync(known)
    return text


@pytest.fixture(scope="module")
def traces(live: LiveStack, phoenix_python: Path, other_tenant: str) -> dict[str, str]:
    """The trace that each way of setting up recorded."""
    port = live.settings.port.otlp_grpc
    base = f"http://127.0.0.1:{live.settings.port.llm}"
    given = {"base": base, "http": f"{base}/v1/traces", "grpc": f"http://127.0.0.1:{port}", "grpc_port": str(port), "key": other_tenant, "run": RUN}
    found: dict[str, str] = answer_of(phoenix_python, "tracing", given)
    return found


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("default", id="llm.otel.register.default"),
        pytest.param("collector_env", id="llm.otel.env.phoenix_collector_endpoint+llm.otel.register.endpoint_env+llm.otel.env.phoenix_grpc_port"),
        pytest.param("project_env", id="llm.otel.env.phoenix_project_name+llm.otel.register.project_name"),
        pytest.param("client_headers_env", id="llm.otel.env.phoenix_client_headers"),
        pytest.param("api_key_env", id="llm.otel.env.phoenix_api_key+llm.otel.register.api_key_header"),
        "api_key_arg",
        pytest.param("headers_arg", id="llm.otel.register.headers"),
        "headers_arg_grpc",
        pytest.param("endpoint_arg", id="llm.otel.register.endpoint_arg"),
        pytest.param("protocol_grpc", id="llm.otel.register.protocol"),
        "protocol_http",
        pytest.param("batch", id="llm.otel.register.batch"),
        pytest.param("provider_endpoint", id="llm.otel.tracer_provider.endpoint"),
        pytest.param("provider_env", id="llm.otel.tracer_provider.env"),
        pytest.param("http_exporter", id="llm.otel.http_span_exporter"),
        pytest.param("grpc_exporter", id="llm.otel.grpc_span_exporter"),
        pytest.param("batch_processor_env", id="llm.otel.batch_span_processor"),
        pytest.param("processor_endpoint", id="llm.otel.resource_project_name"),
    ],
)
def test_a_span_arrives(live: LiveStack, traces: dict[str, str], other_tenant: str, way: str) -> None:
    """The row stands in the id: the span is in the project it named, at the tenant whose key it carried, once."""
    headers = {"api-key": other_tenant} if way in WITH_KEY else live.headers
    project = "default" if way == "default" else f"{way} {RUN}"

    def found() -> list[dict[str, Any]]:
        return [span for span in spans(live, project, headers) if span["context"]["trace_id"] == traces[way]]

    eventually_sync(lambda: bool(found()))
    (span,) = found()
    assert span["name"] == way
    if way in WITH_KEY:
        assert spans(live, project, live.headers) == []


def test_a_wrong_key_sends_nothing(live: LiveStack, traces: dict[str, str], other_tenant: str) -> None:
    eventually_sync(lambda: bool(spans(live, f"processor_endpoint {RUN}", live.headers)))
    assert "wrong_key" in traces and spans(live, f"wrong_key {RUN}", live.headers) == [] == spans(live, f"wrong_key {RUN}", {"api-key": other_tenant})


def test_decorators(live: LiveStack, phoenix_python: Path) -> None:
    """llm.otel.decorators: kinds, inputs, outputs and what stands around them"""
    project, session = f"decorators {RUN}", f"session {RUN}"
    answer_of(phoenix_python, "decorators", {"endpoint": f"{live.url('llm')}/v1/traces", "project": project, "session": session})
    eventually_sync(lambda: len(spans(live, project, live.headers)) == 5)
    found = {span["name"]: span for span in spans(live, project, live.headers)}
    assert {name: span["span_kind"] for name, span in found.items()} == {
        "guide": "AGENT",
        "steps": "CHAIN",
        "weather": "TOOL",
        "answer": "LLM",
        "broken": "CHAIN",
    }
    guide, weather, broken = found["guide"], found["weather"], found["broken"]
    assert guide["parent_id"] is None and found["steps"]["parent_id"] == guide["context"]["span_id"]
    assert guide["attributes"]["output.value"] == "RAIN IN PARIS" and guide["status_code"] == "OK"
    assert weather["attributes"]["tool.name"] == "weather" and json.loads(weather["attributes"]["input.value"]) == {"city": "Paris"}
    for name in ("guide", "steps", "weather", "answer"):
        assert found[name]["attributes"]["session.id"] == session and found[name]["attributes"]["user.id"] == "user-1"
    assert (broken["status_code"], broken["events"][0]["name"]) == ("ERROR", "exception")
    assert broken["events"][0]["attributes"]["exception.message"] == "no luck"
