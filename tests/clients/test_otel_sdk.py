"""Stock OpenTelemetry SDK exporters against the documented ports: what was recorded is what is read back."""

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.flow.stack import LiveStack
from tests.support import eventually, eventually_sync

Exporters = tuple[Any, Any, Any]
"""Exporters of spans, metrics and logs."""


def over_http(live: LiveStack) -> Exporters:
    base = live.url("otlp_http")
    gzip = Compression.Gzip
    return (
        HttpSpans(endpoint=f"{base}/v1/traces", compression=gzip),
        HttpMetrics(endpoint=f"{base}/v1/metrics"),
        HttpLogs(endpoint=f"{base}/v1/logs", compression=gzip),
    )


def over_grpc(live: LiveStack) -> Exporters:
    base = f"http://127.0.0.1:{live.settings.port.otlp_grpc}"
    return GrpcSpans(endpoint=base, insecure=True), GrpcMetrics(endpoint=base, insecure=True), GrpcLogs(endpoint=base, insecure=True)


@pytest.fixture(params=[over_http, over_grpc], ids=["http", "grpc"])
def exporters(request: pytest.FixtureRequest, live: LiveStack) -> Exporters:
    """The three stock exporters of one transport, with no setting but the address."""
    make: Callable[[LiveStack], Exporters] = request.param
    return make(live)


@pytest.fixture
def service() -> str:
    """A service of the test's own."""
    return f"sdk-{uuid.uuid4().hex[:10]}"


def record(service: str, exporter: Any) -> list[ReadableSpan]:
    """A few traces with everything a span can carry, exported and kept."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("tests", "1.2")
    for number in range(40):
        with tracer.start_as_current_span(f"{service}/parent", attributes={"number": number, "openinference.span.kind": "CHAIN"}) as parent:
            parent.add_event("début", {"flag": True, "ratio": 0.5})
            with tracer.start_as_current_span(f"{service}/child", kind=trace.SpanKind.CLIENT) as child:
                child.set_attributes({"text": "ünïcode \U0001f600", "empty": "", "no": False, "zero": 0, "list": [1, 2, 3], "names": ["a", "b"], "big": 2**62})
                if number % 2:
                    child.set_status(trace.Status(trace.StatusCode.ERROR, "went wrong"))
    provider.shutdown()
    return list(kept.get_finished_spans())


def as_read(span: ReadableSpan) -> dict[str, Any]:
    """A recorded span as the REST API shows it."""
    assert span.context and span.start_time and span.end_time
    kind = (span.attributes or {}).get("openinference.span.kind", "UNKNOWN")
    return {
        "name": span.name,
        "context": {"trace_id": f"{span.context.trace_id:032x}", "span_id": f"{span.context.span_id:016x}"},
        "span_kind": kind,
        "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "start_time": micros(span.start_time),
        "end_time": micros(span.end_time),
        "status_code": span.status.status_code.name,
        "status_message": span.status.description or "",
        "attributes": {name: list(value) if isinstance(value, tuple) else value for name, value in (span.attributes or {}).items()},
        "events": [
            {"name": event.name, "timestamp": micros(event.timestamp), "attributes": dict(event.attributes or {})} for event in span.events
        ],
    }  # fmt: skip


def micros(nanoseconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=nanoseconds // 1_000)


def read_spans(live: LiveStack, name: str) -> list[dict[str, Any]]:
    """Every span of a name, over all pages."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    with httpx.Client(base_url=live.main_url, headers=live.headers, timeout=30) as client:
        while True:
            answer = client.get("/llm/v1/projects/default/spans", params={"name": name, "limit": 17, **cursor})
            assert answer.status_code == 200, answer.text
            found += answer.json()["data"]
            if answer.json()["next_cursor"] is None:
                break
            cursor = {"cursor": answer.json()["next_cursor"]}
    for span in found:
        assert span.pop("id")
        for part in (span, *span["events"]):
            for field in {"start_time", "end_time", "timestamp"} & part.keys():
                part[field] = dt.datetime.fromisoformat(part[field])
    return found


def test_spans_are_read_back_exactly(live: LiveStack, exporters: Exporters, service: str) -> None:
    recorded = record(service, exporters[0])
    for name in (f"{service}/parent", f"{service}/child"):
        wanted = {span["context"]["span_id"]: span for span in (as_read(each) for each in recorded if each.name == name)}

        def complete(name: str = name, count: int = len(wanted)) -> list[dict[str, Any]]:
            found = read_spans(live, name)
            assert len(found) >= count, f"{len(found)} of {count}"
            return found

        found = eventually_sync(complete)
        assert len(found) == len(wanted) == 40
        assert {span["context"]["span_id"]: span for span in found} == wanted


async def test_metrics_are_stored_exactly(live: LiveStack, exporters: Exporters, service: str) -> None:
    reader = PeriodicExportingMetricReader(exporters[1], export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource=Resource.create({"service.name": service}))
    meter = provider.get_meter("tests")
    counter, gauge, histogram = meter.create_counter("orders", "1"), meter.create_gauge("load"), meter.create_histogram("latency", "ms")
    for number in range(60):
        counter.add(number, {"shop": f"s{number % 3}"})
        gauge.set(number / 4, {"host": f"h{number % 2}"})
        histogram.record(number * 10, {"route": "/"})
    provider.force_flush()
    provider.shutdown()
    rows = await stored(
        live, "metric_points", service, 6, "metric, kind, value, value_int, count, monotonic, arrayMap(v -> hex(v), mapValues(attributes)) AS labels"
    )
    # The reader exports once more at shutdown, so each series has its points twice, with the same figures.
    sums = {(row["metric"], row["value"], row["value_int"], row["count"]) for row in rows}
    assert sums == {
        *(("orders", float(total), total, 0) for total in (570, 590, 610)),
        ("load", 14.5, None, 0), ("load", 14.75, None, 0), ("latency", 17_700.0, None, 60),
    }  # fmt: skip
    assert {(row["metric"], row["kind"], row["monotonic"]) for row in rows} == {("orders", "sum", 1), ("load", "gauge", 0), ("latency", "histogram", 0)}


async def test_logs_are_stored_exactly(live: LiveStack, exporters: Exporters, service: str) -> None:
    provider = LoggerProvider(resource=Resource.create({"service.name": service}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporters[2]))
    logger = provider.get_logger("tests")
    for number in range(30):
        logger.emit(
            LogRecord(
                timestamp=1_790_000_000_000_000_000 + number, severity_number=SeverityNumber.WARN, severity_text="WARN", body=f"zeile {number} ß",
                attributes={"number": number},
            )
        )  # fmt: skip
    provider.shutdown()
    rows = await stored(live, "logs", service, 30, "text, severity_number, severity_text, toUnixTimestamp64Nano(time) AS at")
    assert sorted((row["text"], row["at"]) for row in rows) == sorted((f"zeile {n} ß", 1_790_000_000_000_000_000 + n) for n in range(30))
    assert {(row["severity_number"], row["severity_text"]) for row in rows} == {(13, "WARN")}


async def stored(live: LiveStack, table: str, service: str, count: int, columns: str) -> list[dict[str, Any]]:
    """Rows of a service, once there are so many."""
    clickhouse = live.clickhouse()

    async def complete() -> list[dict[str, Any]]:
        rows = await clickhouse.query(f"SELECT {columns} FROM {table} FINAL WHERE service = {{service:String}}", {"service": service})
        assert len(rows) >= count, f"{len(rows)} of {count}"
        return rows

    try:
        return await eventually(complete)
    finally:
        await clickhouse.aclose()
