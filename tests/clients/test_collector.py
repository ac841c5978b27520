"""The OpenTelemetry Collector, unmodified: its Kafka exporter and its OTLP exporters, over HTTP and gRPC."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.flow.stack import KEY, LiveStack
from tests.support import eventually, eventually_sync, free_port

_SOURCES = Path(__file__).parent / "collector"
_BUILDING_S = 1_200
SPANS = 1_500

pytestmark = [
    pytest.mark.skipif(not os.environ.get("MILLSTREAM_LONG_TESTS"), reason="building the Collector takes minutes: `make nightly`"),
    pytest.mark.skipif(shutil.which("go") is None, reason="building the Collector needs Go 1.25"),
]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built from the sources that its lock names."""
    program = tmp_path_factory.mktemp("collector") / "collector"
    done = subprocess.run(["go", "build", "-o", str(program), "."], cwd=_SOURCES, capture_output=True, text=True, timeout=_BUILDING_S)
    assert done.returncode == 0, done.stderr[-2_000:]
    return program


@contextmanager
def running(collector: Path, live: LiveStack, exporter: str, folder: Path) -> Iterator[str]:
    """A Collector that hands what it receives to one exporter; gives the address of its receiver."""
    port = free_port()
    exporters = {
        "kafka": f'kafka: {{brokers: ["{live.settings.kafka.bootstrap}"]}}',
        "otlp_http": f'otlp_http: {{endpoint: "{live.url("otlp_http")}", headers: {{authorization: "Bearer {KEY}"}}}}',
        "otlp_grpc": f'otlp_grpc: {{endpoint: "127.0.0.1:{live.settings.port.otlp_grpc}", tls: {{insecure: true}}, headers: {{authorization: "Bearer {KEY}"}}}}',
    }
    signals = "\n".join(f"    {signal}: {{receivers: [otlp], exporters: [{exporter}]}}" for signal in ("traces", "metrics", "logs"))
    configuration = folder / "collector.yaml"
    configuration.write_text(f"""
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters: {{{exporters[exporter]}}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
  pipelines:
{signals}
""")
    log = folder / "collector.log"
    with log.open("wb") as output:
        process = subprocess.Popen([str(collector), "--config", str(configuration)], stdout=output, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None, log.read_text()[-2_000:]
        try:
            return httpx.get(url, timeout=1.0).status_code == 404
        except httpx.TransportError:
            return False

    try:
        eventually_sync(ready, timeout=30)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("exporter", ["kafka", "otlp_http", "otlp_grpc"])
async def test_what_a_collector_exports_is_stored_once(collector: Path, live: LiveStack, exporter: str, tmp_path: Path) -> None:
    service = f"behind a collector {uuid.uuid4().hex}"
    resource = Resource.create({"service.name": service})
    with running(collector, live, exporter, tmp_path) as url:
        tracing = TracerProvider(resource=resource)
        tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"), export_interval_millis=3_600_000)
        metering = MeterProvider(resource=resource, metric_readers=[reader])
        tracer, counter = tracing.get_tracer("collector"), metering.get_meter("collector").create_counter("handled")
        for number in range(SPANS):
            with tracer.start_as_current_span("handle", attributes={"number": number}):
                counter.add(1, {"shard": number % 7})
        tracing.shutdown()
        metering.shutdown()
        clickhouse = live.clickhouse()

        async def stored() -> bool:
            found = {}
            for table in ("spans", "metric_points"):
                (row,) = await clickhouse.query(
                    f"SELECT count() AS n, uniqExact(tenant) AS tenants FROM {table} FINAL WHERE service = {{service:String}}", {"service": service}
                )
                found[table] = (int(row["n"]), int(row["tenants"]))
            return found == {"spans": (SPANS, 1), "metric_points": (7, 1)}

        try:
            await eventually(stored, timeout=60)
        finally:
            await clickhouse.aclose()
