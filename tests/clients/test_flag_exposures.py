"""OpenFeature with its own OpenTelemetry hook, and the stock OpenTelemetry SDK: evaluations reach the windows with no SDK of ours."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from openfeature.api import get_client, set_provider
from openfeature.contrib.hook.opentelemetry import TracingHook
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagResolutionDetails, FlagType, Reason
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from openfeature.telemetry import create_evaluation_event
from opentelemetry import trace
from opentelemetry._logs import Logger, LogRecord
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.flow.stack import LiveStack
from tests.support import eventually_sync

UNITS = [f"user-{number}" for number in range(12)]


def half(flag: InMemoryFlag[str], context: EvaluationContext) -> FlagResolutionDetails[str]:
    """Every second user gets the treatment."""
    variant = ("control", "treatment")[int((context.targeting_key or "0").rpartition("-")[2]) % 2]
    return FlagResolutionDetails(flag.variants[variant], variant=variant, reason=Reason.SPLIT)


class LogHook(Hook):
    """Records evaluations as log events, as OpenFeature's specification describes; its Python package has this for spans only."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def supports_flag_value_type(self, flag_type: FlagType) -> bool:
        return True

    def finally_after(self, hook_context: HookContext, details: FlagEvaluationDetails[Any], hints: HookHints) -> None:
        event = create_evaluation_event(hook_context, details)
        self._logger.emit(LogRecord(event_name=event.name, attributes={str(name): value for name, value in event.attributes.items()}))


@pytest.fixture
def experiment(live: LiveStack) -> str:
    """A defined experiment that ingest knows of."""
    name = f"flags-{uuid.uuid4().hex[:10]}"
    arms = [{"name": "control"}, {"name": "treatment"}]
    live.define(
        {"kind": "metric", "id": f"{name}-buys", "event_type": "purchase"}, {"kind": "experiment", "id": name, "variants": arms, "metrics": [f"{name}-buys"]}
    )
    live.define({"kind": "experiment", "id": f"{name}-probe", "variants": arms})

    def known() -> bool:
        probe = {"user_id": "u", "event_type": "view", "experiment_id": f"{name}-probe", "variant": "nowhere"}
        return httpx.post(f"{live.url('experimentation')}/api/v1/events", json=probe, headers=live.headers).status_code == 422

    eventually_sync(known)
    return name


def ask(flag: str, hook: Hook) -> None:
    """Every user asks a provider of somebody else's, twice."""
    arms = {name: name for name in ("control", "treatment")}
    set_provider(InMemoryProvider({flag: InMemoryFlag("control", arms, context_evaluator=half)}), flag)
    client = get_client(flag)
    client.add_hooks([hook])
    for unit in UNITS * 2:
        assert client.get_string_value(flag, "", EvaluationContext(unit)) in arms


def figures(live: LiveStack, kind: str, experiment: str) -> dict[str, dict[str, Any]]:
    """What the window over the whole time of an experiment says, by item."""
    answer = httpx.get(f"{live.main_url}/platform/v1/windows/{kind}", params={"subject": experiment, "grain": "all"}, headers=live.headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return {item["item"]: item["figures"] for item in answer.json()["data"]}


def counted(live: LiveStack, experiment: str) -> None:
    """Every user is one unit of its arm, in both windows."""

    def complete() -> bool:
        found = {item: each["units"] for item, each in figures(live, "assignments", experiment).items()}
        assert found == {"*": 12, "control": 6, "treatment": 6}
        compared = figures(live, "significance", experiment)[f"{experiment}-buys/treatment"]
        assert (compared["control_units"], compared["treatment_units"]) == (6, 6)
        return True

    eventually_sync(complete)


def _http(live: LiveStack, path: str, exporter: Callable[..., Any]) -> Any:
    return exporter(endpoint=f"{live.url('otlp_http')}/v1/{path}")


def _grpc(live: LiveStack, exporter: Callable[..., Any]) -> Any:
    return exporter(endpoint=f"http://127.0.0.1:{live.settings.port.otlp_grpc}", insecure=True)


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_evaluations_in_logs_count(live: LiveStack, experiment: str, transport: str) -> None:
    provider = LoggerProvider()
    exporter = _http(live, "logs", HttpLogs) if transport == "http" else _grpc(live, GrpcLogs)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    ask(experiment, LogHook(provider.get_logger("app")))
    provider.shutdown()
    counted(live, experiment)


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_evaluations_of_the_stock_hook_on_spans_count(live: LiveStack, experiment: str, transport: str) -> None:
    provider = TracerProvider()
    exporter = _http(live, "traces", HttpSpans) if transport == "http" else _grpc(live, GrpcSpans)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    with trace.use_span(provider.get_tracer("app").start_span("request"), end_on_exit=True):
        ask(experiment, TracingHook())
    provider.shutdown()
    counted(live, experiment)
