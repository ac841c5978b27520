"""OTLP spans and metric points over HTTP protobuf, to counted in ClickHouse."""

import asyncio
import os
import random
import time

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.bench import load
from tests.bench.figures import Figure, Figures
from tests.bench.references import wait_for_rows
from tests.bench.stack import BenchStack, running

ITEMS = 500
CONNECTIONS = 64


def span_bodies(count: int) -> list[bytes]:
    """Requests of 500 spans with 16 attributes each, about 600 bytes a span, every span id new."""
    rnd = random.Random(3)
    out = []
    for _ in range(count):
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "bench"
        scope = resource.scope_spans.add()
        now = time.time_ns()
        for _ in range(ITEMS):
            span = scope.spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="GET /products", kind=2)
            span.start_time_unix_nano, span.end_time_unix_nano = now - 5_000_000, now
            for index in range(12):
                span.attributes.add(key=f"http.attribute.{index}").value.string_value = f"value-{rnd.randrange(100):03d}-{index}"
            for index in range(4):
                span.attributes.add(key=f"app.counter.{index}").value.int_value = rnd.randrange(1_000)
        out.append(request.SerializeToString())
    return out


def point_bodies(count: int) -> list[bytes]:
    """Requests of 500 gauge points with 8 attributes each, 10,000 series; each request at an instant of its own."""
    rnd = random.Random(4)
    start = time.time_ns() - count * 1_000_000
    out = []
    for number in range(count):
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "bench"
        metric = resource.scope_metrics.add().metrics.add(name="http.server.duration", unit="ms")
        for _ in range(ITEMS):
            point = metric.gauge.data_points.add(time_unix_nano=start + number * 1_000_000 + rnd.randrange(1_000_000), as_double=rnd.random())
            series = rnd.randrange(10_000)
            for index in range(8):
                point.attributes.add(key=f"label.{index}").value.string_value = f"v{(series >> index) % 64}" if index else f"s{series}"
        out.append(request.SerializeToString())
    return out


async def _through(stack: BenchStack, path: str, table: str, bodies: list[bytes]) -> float:
    """Items per second from the first request to the last row counted."""
    port = stack.ports["otlp_http"]
    requests = [load.request(path, body, stack.key, "application/x-protobuf") for body in bodies]
    warm = len(requests) // 10
    clickhouse = stack.clickhouse()
    await load.run("127.0.0.1", port, requests[:warm], warm, CONNECTIONS)
    await wait_for_rows(clickhouse, table, warm * ITEMS)
    rest = requests[warm:]
    outcome = await load.run("127.0.0.1", port, rest, len(rest), CONNECTIONS)
    if set(outcome.statuses) != {200}:
        raise RuntimeError(f"not every request was acknowledged: {outcome.statuses}")
    waited = await wait_for_rows(clickhouse, table, len(requests) * ITEMS)
    await clickhouse.aclose()
    return len(rest) * ITEMS / (outcome.seconds + waited)


def spans() -> Figures:
    """Spans to counted."""
    bodies = span_bodies(1_600)
    with running() as stack:
        rate = asyncio.run(_through(stack, "/v1/traces", "spans", bodies))
    size = len(bodies[0]) / ITEMS
    return {
        "spans": Figure(
            rate, "spans/s", "", None, f"16 attributes, {size:.0f} bytes a span, requests of {ITEMS}, {CONNECTIONS} connections, all agents running"
        )
    }


def metric_points() -> Figures:
    """Metric points to counted."""
    bodies = point_bodies(2_400)
    with running() as stack:
        rate = asyncio.run(_through(stack, "/v1/metrics", "metric_points", bodies))
    return {
        "metric_points": Figure(rate, "points/s", "", None, f"8 attributes, 10,000 series, requests of {ITEMS}, {CONNECTIONS} connections, all agents running")
    }
