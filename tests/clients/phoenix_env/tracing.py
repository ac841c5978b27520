"""Records one span in each way of setting up phoenix.otel, in a project named after the way; prints the ids of the traces."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from openinference.semconv.resource import ResourceAttributes
from opentelemetry import trace
from phoenix.otel import PROJECT_NAME, BatchSpanProcessor, GRPCSpanExporter, HTTPSpanExporter, Resource, SimpleSpanProcessor, TracerProvider, register

given = json.load(sys.stdin)
base, http, grpc, grpc_port, key, run = (given[name] for name in ("base", "http", "grpc", "grpc_port", "key", "run"))
assert PROJECT_NAME == ResourceAttributes.PROJECT_NAME
QUIET: dict[str, Any] = {"verbose": False, "set_global_tracer_provider": False}
COLLECTOR = {"PHOENIX_COLLECTOR_ENDPOINT": base, "PHOENIX_GRPC_PORT": grpc_port}


def project(way: str) -> str:
    return f"{way} {run}"


def own(way: str) -> Resource:
    return Resource({PROJECT_NAME: project(way)})


def global_default() -> TracerProvider:
    provider = register()
    assert trace.get_tracer_provider() is provider
    return provider


def with_processor(way: str, processor: Any) -> TracerProvider:
    provider = TracerProvider(resource=own(way), verbose=False)
    provider.add_span_processor(processor)
    return provider


def from_environment(way: str) -> TracerProvider:
    return register(**QUIET, project_name=project(way))


WAYS: dict[str, tuple[dict[str, str], Callable[[str], TracerProvider]]] = {
    "default": ({"PHOENIX_GRPC_PORT": grpc_port}, lambda way: global_default()),
    "collector_env": (COLLECTOR, from_environment),
    "project_env": ({**COLLECTOR, "PHOENIX_PROJECT_NAME": project("project_env")}, lambda way: register(**QUIET)),
    "client_headers_env": ({**COLLECTOR, "PHOENIX_CLIENT_HEADERS": f"api-key={key},"}, from_environment),
    "api_key_env": ({**COLLECTOR, "PHOENIX_API_KEY": key}, from_environment),
    "api_key_arg": (COLLECTOR, lambda way: register(**QUIET, project_name=project(way), api_key=key)),
    "headers_arg": ({}, lambda way: register(**QUIET, endpoint=http, project_name=project(way), headers={"Authorization": f"Bearer {key}"})),
    "headers_arg_grpc": (
        {},
        lambda way: register(**QUIET, endpoint=grpc, protocol="grpc", project_name=project(way), headers={"Authorization": f"Bearer {key}"}),
    ),
    "wrong_key": (COLLECTOR, lambda way: register(**QUIET, project_name=project(way), api_key="wrong")),
    "endpoint_arg": ({}, lambda way: register(**QUIET, endpoint=http, project_name=project(way))),
    "protocol_grpc": ({}, lambda way: register(**QUIET, endpoint=grpc, protocol="grpc", project_name=project(way))),
    "protocol_http": (COLLECTOR, lambda way: register(**QUIET, protocol="http/protobuf", project_name=project(way))),
    "batch": ({}, lambda way: register(**QUIET, endpoint=http, batch=True, project_name=project(way))),
    "provider_endpoint": ({"PHOENIX_GRPC_PORT": grpc_port}, lambda way: TracerProvider(endpoint=grpc, resource=own(way), verbose=False)),
    "provider_env": (COLLECTOR, lambda way: TracerProvider(resource=own(way), verbose=False)),
    "http_exporter": ({}, lambda way: with_processor(way, SimpleSpanProcessor(span_exporter=HTTPSpanExporter(endpoint=http)))),
    "grpc_exporter": ({}, lambda way: with_processor(way, BatchSpanProcessor(span_exporter=GRPCSpanExporter(endpoint=grpc)))),
    "batch_processor_env": (COLLECTOR, lambda way: with_processor(way, BatchSpanProcessor())),
    "processor_endpoint": ({}, lambda way: with_processor(way, SimpleSpanProcessor(endpoint=http))),
}

traces = {}
for way, (env, make) in WAYS.items():
    os.environ.update(env)
    provider = make(way)
    with provider.get_tracer(__name__).start_as_current_span(way) as span:
        traces[way] = f"{span.get_span_context().trace_id:032x}"
    provider.force_flush()
    provider.shutdown()
    for name in env:
        del os.environ[name]
print(json.dumps(traces))
