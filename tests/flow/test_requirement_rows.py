"""The rows of the requirements catalogue that the doors cover, each by its own example."""

import os
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from tests.flow.stack import LiveStack

_CATALOGUE = Path(__file__).resolve().parents[3] / "shared" / "requirements.yaml"
_needs_catalogue = pytest.mark.skipif(not _CATALOGUE.exists(), reason="../shared/requirements.yaml is not beside this checkout")


def _row(name: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = yaml.load(_CATALOGUE.read_text("utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return next(row for row in rows if row["id"] == name)


def _missing(answer: Any, keys: list[str]) -> list[str]:
    """The documented keys an answer lacks."""

    def has(value: Any, path: list[str]) -> bool:
        return not path or (isinstance(value, dict) and path[0] in value and has(value[path[0]], path[1:]))

    return [key for key in keys if not has(answer, key.split("."))]


@_needs_catalogue
@pytest.mark.parametrize(
    ("name", "port", "prefix"),
    [
        ("exp.events.track", "experimentation", ""),
        ("exp.events.track", "main", "/experimentation"),
        ("exp.events.batch", "experimentation", ""),
        ("exp.events.batch", "main", "/experimentation"),
        ("crucible.telemetry.ingest", "crucible", ""),
        ("crucible.telemetry.ingest", "main", "/crucible"),
    ],
)
def test_json_door(live: LiveStack, name: str, port: str, prefix: str) -> None:
    row = _row(name)
    url = live.url(port) + prefix + row["path"]
    answer = httpx.post(url, json=row["request"], headers=live.headers)
    assert answer.status_code in (row["status_accept"] or [row["status"]])
    assert not _missing(answer.json(), row["response_keys"])
    refused = httpx.post(url, json=row["request"], headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 401
    assert not _missing(refused.json(), ["error.code", "error.message", "error.details"])
    assert refused.json()["error"]["code"].lower() == "unauthorized"


def _spans() -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="row")
    span.start_time_unix_nano, span.end_time_unix_nano = 1_767_225_600_000_000_000, 1_767_225_600_000_000_001
    return request


@_needs_catalogue
@pytest.mark.parametrize("port", ["llm", "otlp_http"])
def test_llm_otlp_http(live: LiveStack, port: str) -> None:
    row = _row("llm.otlp.http")
    headers = {**live.headers, "Content-Type": "application/x-protobuf"}
    answer = httpx.post(live.url(port) + row["path"], content=_spans().SerializeToString(), headers=headers)
    assert answer.status_code == row["status"]
    assert answer.content == b"" and answer.headers["content-type"] == "application/x-protobuf"


@_needs_catalogue
def test_llm_otlp_grpc(live: LiveStack) -> None:
    row = _row("llm.otlp.grpc")
    with grpc.insecure_channel(f"127.0.0.1:{live.settings.port.otlp_grpc}") as channel:
        export = channel.unary_unary(
            "/" + row["path"], request_serializer=ExportTraceServiceRequest.SerializeToString, response_deserializer=ExportTraceServiceResponse.FromString
        )
        answer, call = export.with_call(_spans(), timeout=10)
    assert call.code().value[0] == row["status"]
    assert not answer.HasField("partial_success")
