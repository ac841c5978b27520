"""The platform's own spans: of what people ask for, never of storing spans."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from infra.runtime.telemetry import DOOR_SAMPLE, quiet, traced_ingest

_DOORS = ("/api/v1/events", "/v1/traces", "/v1/metrics", "/v1/logs")


class _Front:
    """Stands in for the front of ingest; keeps the scopes it gets."""

    def __init__(self) -> None:
        self.scopes: list[MutableMapping[str, Any]] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class _Layer:
    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.front = _Front()
        self._app = traced_ingest(_DOORS, ("/ofrep/",), provider)(self.front)

    async def ask(self, path: str, *, method: str = "GET", kind: str = "http", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request"}

        async def send(_message: MutableMapping[str, Any]) -> None:
            return None

        scope = {"type": kind, "path": path, "method": method, "headers": list(headers), "scheme": "http", "server": ("h", 1), "http_version": "1.1"}
        await self._app({**scope, "query_string": b"", "client": ("127.0.0.1", 2)}, receive, send)

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans.get_finished_spans()]


@pytest.fixture
def layer() -> _Layer:
    return _Layer()


async def test_forwarded_requests_make_a_span_and_pass_it_on(layer: _Layer) -> None:
    await layer.ask("/llm/v1/projects/x/spans", headers=((b"x-api-key", b"k"),))
    assert layer.names == ["GET /llm"]
    (span,) = layer.spans.get_finished_spans()
    context = span.get_span_context()
    assert context is not None
    headers = dict(layer.front.scopes[0]["headers"])
    assert headers[b"traceparent"].decode().startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
    assert headers[b"x-api-key"] == b"k"
    assert "k" not in (span.attributes or {}).values(), "no header values in spans"


async def test_storing_spans_makes_no_span(layer: _Layer) -> None:
    for prefix in ("", "/llm"):
        for path in ("/v1/traces", "/v1/metrics", "/v1/logs"):
            for _ in range(DOOR_SAMPLE):
                await layer.ask(prefix + path, method="POST")
    for path in ("/metrics", "/platform/v1/health/live", "/platform/v1/health/ready"):
        await layer.ask(path)
    await layer.ask("/platform/v1/live", kind="websocket")
    assert layer.names == []


@pytest.mark.parametrize("path", ["/experimentation/api/v1/events", "/experimentation/ofrep/v1/evaluate/flags/checkout"])
async def test_one_of_a_hundred_door_requests_makes_a_span(layer: _Layer, path: str) -> None:
    for _ in range(2 * DOOR_SAMPLE):
        await layer.ask(path, method="POST")
    assert layer.names == ["POST /experimentation"] * 2
    assert len(layer.front.scopes) == 2 * DOOR_SAMPLE


def test_quiet_requests() -> None:
    assert quiet({"type": "lifespan"})
    assert quiet({"type": "websocket", "path": "/platform/v1/live"})
    assert not quiet({"type": "http", "path": "/platform/v1/topics"})
