"""The platform's own spans and metrics, made with the stock OpenTelemetry SDK and sent to the platform's own OTLP door.

Nothing here may disturb the service: work is done in the SDK's threads, its queues are bounded and drop what does not
fit, and an export that fails is tried again later or forgotten.
"""

import itertools
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog

from infra.runtime.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_log = structlog.get_logger()

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
ServiceName = Literal["millstream-ingest", "millstream-query", "millstream-worker"]

METRIC_INTERVAL_MS: Final = 5_000
SPAN_INTERVAL_MS: Final = 2_000
EXPORT_TIMEOUT_S: Final = 3.0
DOOR_SAMPLE: Final = 100
"""One of so many requests through a JSON door becomes a span."""
_QUIET_SUFFIXES: Final = ("/metrics", "/health/live", "/health/ready")
_OTLP_SUFFIXES: Final = ("/v1/traces", "/v1/metrics", "/v1/logs")
# Only figures that every system has, so that the same charts work for each service; the SDK's default list repeats some under two names.
_FIGURES: Final[dict[str, list[str] | None]] = {
    "system.cpu.time": ["idle", "user", "system", "irq"],
    "system.cpu.utilization": ["idle", "user", "system", "irq"],
    "system.memory.usage": ["used", "free", "cached"],
    "system.memory.utilization": ["used", "free", "cached"],
    "system.disk.io": ["read", "write"],
    "system.disk.operations": ["read", "write"],
    "system.network.io": ["transmit", "receive"],
    "system.network.packets": ["transmit", "receive"],
    "process.cpu.time": ["user", "system"],
    "process.cpu.utilization": ["user", "system"],
    "process.memory.usage": None,
    "process.memory.virtual": None,
    "process.open_file_descriptor.count": None,
    "process.thread.count": None,
    "process.context_switches": ["involuntary", "voluntary"],
}


def start_telemetry(settings: Settings, service_name: ServiceName) -> Callable[[], None]:
    """Begin to trace and meter this process; returns what ends it. Does nothing when `self_telemetry` is off.

    Does not block, and connects to nothing before the first export. The returned function waits up to 3 s for the last one.
    """
    if not settings.self_telemetry or not (settings.port.otlp_http or settings.port.main):
        return lambda: None
    from opentelemetry import metrics, trace
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _quieten()
    door, headers = otlp_door(settings), _headers(settings)
    resource = Resource.create({"service.name": service_name, "service.namespace": "millstream", "host.name": socket.gethostname()})
    spans = OTLPSpanExporter(endpoint=f"{door}/v1/traces", headers=headers, timeout=EXPORT_TIMEOUT_S)
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=SPAN_INTERVAL_MS))
    figures = OTLPMetricExporter(endpoint=f"{door}/v1/metrics", headers=headers, timeout=EXPORT_TIMEOUT_S)
    reader = PeriodicExportingMetricReader(figures, export_interval_millis=METRIC_INTERVAL_MS, export_timeout_millis=EXPORT_TIMEOUT_S * 1_000)
    meters = MeterProvider(metric_readers=[reader], resource=resource)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    instrumentor = SystemMetricsInstrumentor(config=_FIGURES)
    instrumentor.instrument(meter_provider=meters)

    def stop() -> None:
        instrumentor.uninstrument()
        tracers.force_flush(int(EXPORT_TIMEOUT_S * 1_000))
        tracers.shutdown()
        meters.shutdown(timeout_millis=EXPORT_TIMEOUT_S * 1_000)

    return stop


def otlp_door(settings: Settings) -> str:
    """Base address of the platform's own OTLP/HTTP door: the documented port, else the llm surface on the main port.

    Where ingest runs elsewhere, OpenTelemetry's own variable `OTEL_EXPORTER_OTLP_ENDPOINT` says where.
    """
    if elsewhere := os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return elsewhere.rstrip("/")
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "") else "[::1]" if settings.host == "::" else settings.host
    if settings.port.otlp_http:
        return f"http://{host}:{settings.port.otlp_http}"
    return f"http://{host}:{settings.port.main}/llm"


def quiet(scope: Scope) -> bool:
    """Whether a request is one nobody wants a span of: health checks, scrapes, and live connections, which last for hours.

    For `FastAPI(telemetry={"exclude": quiet})`: FastAPI traces itself once `start_telemetry` has set a provider.
    """
    return scope["type"] != "http" or str(scope["path"]).endswith(_QUIET_SUFFIXES)


def traced_ingest(doors: Collection[str], protocols: Collection[str] = (), provider: "TracerProvider | None" = None) -> Callable[[ASGIApp], ASGIApp]:
    """A layer for the front of ingest: a span of every forwarded request, and of one of 100 through a JSON door or a protocol.

    `doors` are the paths of all doors, `protocols` what the paths of a protocol contain. Never the OTLP doors: a span of storing spans would be stored by a request that makes
    a span. Call after `start_telemetry`, whose provider is used unless one is given; without any the layer records nothing.
    """
    ends = tuple(doors)

    def wrap(app: ASGIApp) -> ASGIApp:
        inner = _instrumented(app, provider)
        count = itertools.count()

        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            plain = quiet(scope)
            if not plain:
                path: str = scope["path"]
                served_here = path.endswith(ends) or any(part in path for part in protocols)
                plain = path.endswith(_OTLP_SUFFIXES) or (served_here and next(count) % DOOR_SAMPLE != 0)
            await (app if plain else inner)(scope, receive, send)

        return wrapped

    return wrap


def _instrumented(app: ASGIApp, provider: "TracerProvider | None") -> ASGIApp:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.propagate import inject

    async def passing_on(scope: Scope, receive: Receive, send: Send) -> None:
        # The service behind continues the trace of this span, not of whoever called.
        carrier: dict[str, str] = {}
        inject(carrier)
        kept = [(name, value) for name, value in scope["headers"] if name not in (b"traceparent", b"tracestate")]
        added = [(name.encode(), value.encode()) for name, value in carrier.items()]
        await app({**scope, "headers": [*kept, *added]}, receive, send)

    wrapped: ASGIApp = OpenTelemetryMiddleware(passing_on, default_span_details=_details, tracer_provider=provider, exclude_spans=["receive", "send"])
    return wrapped


def _details(scope: Scope) -> tuple[str, dict[str, Any]]:
    """The name of a span: method and first part of the path, so that there are few names whatever clients ask for."""
    first = scope["path"].lstrip("/").partition("/")[0]
    return f"{scope['method']} /{first}", {"url.path": scope["path"], "http.request.method": scope["method"]}


def _headers(settings: Settings) -> dict[str, str]:
    """The first key, when it is known here; without it the door takes loopback into the default tenant."""
    if settings.bootstrap_api_key:
        return {"authorization": f"Bearer {settings.bootstrap_api_key.get_secret_value()}"}
    try:
        key = (settings.data_dir / "api_key").read_text("utf-8").strip()
    except OSError:
        return {}
    return {"authorization": f"Bearer {key}"} if key else {}


class _Aside(logging.Filter):
    """Turns what the exporters complain of into debug lines, each kind once: a failed export is no news for whoever runs the service."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[object] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg not in self._seen:
            self._seen.add(record.msg)
            _log.debug("own telemetry", problem=record.getMessage()[:300])
        return False


def _quieten() -> None:
    aside = _Aside()
    for name in (
        "opentelemetry.exporter.otlp.common.http",
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "opentelemetry.exporter.otlp.proto.http.metric_exporter",
        "opentelemetry.instrumentation.system_metrics",
        "opentelemetry.sdk._shared_internal",
        "opentelemetry.sdk.metrics._internal.export",
        "opentelemetry.sdk.trace.export",
        "urllib3.connectionpool",
    ):
        logging.getLogger(name).addFilter(aside)
