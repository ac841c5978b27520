"""OTLP over gRPC: the Export calls of the trace, metrics and logs services."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from infra.runtime.errors import MillstreamError, TooLarge
from infra.runtime.settings import Settings
from ingest.otlp import OtlpLanes
from ingest.otlp_http import response
from ingest.otlp_read import SIGNALS, Signal

_log = structlog.get_logger()
_SERVICES = {"traces": "trace.v1.TraceService", "metrics": "metrics.v1.MetricsService", "logs": "logs.v1.LogsService"}
_CODES = {code.value[0]: code for code in grpc.StatusCode}
STOP_GRACE_S = 10.0

Context = grpc.aio.ServicerContext[bytes, bytes]


class Authenticate(Protocol):
    """Finds the tenant of a call. Raises Unauthenticated or Forbidden."""

    def __call__(self, headers: Mapping[str, str], client: str, /) -> str: ...


class Reserve(Protocol):
    """Holds bytes of the budget in flight while the context is open. Raises Overloaded when it is used up."""

    def __call__(self, size: int, /) -> AbstractContextManager[None]: ...


class OtlpGrpcServer:
    """Serves OTLP/gRPC on the configured host and port. The handlers take bytes, so that undecodable ones get INVALID_ARGUMENT."""

    def __init__(self, lanes: OtlpLanes, settings: Settings, authenticate: Authenticate, reserve: Reserve) -> None:
        self._lanes = lanes
        self._settings = settings
        self._authenticate = authenticate
        self._reserve = reserve
        self._server: grpc.aio.Server | None = None
        self.port = 0
        """The port it listens on, once started."""

    async def start(self) -> None:
        """Listen. Raises RuntimeError when the port is taken."""
        server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", self._settings.ingest.max_body_bytes),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            )
        )
        for signal in SIGNALS.values():
            method = grpc.unary_unary_rpc_method_handler(self._handler(signal))
            service = f"opentelemetry.proto.collector.{_SERVICES[signal.name]}"
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
        host = self._settings.host
        port = self._settings.port.otlp_grpc
        self.port = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Take no more calls and wait for those under way, at most STOP_GRACE_S seconds."""
        if self._server is not None:
            await self._server.stop(STOP_GRACE_S)
            self._server = None

    def _handler(self, signal: Signal) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def export(body: bytes, context: Context) -> bytes:
            try:
                return await self._export(signal, body, context)
            except MillstreamError as error:
                failure = error
            except Exception:
                _log.exception("OTLP export over gRPC failed", signal=signal.name)
                failure = MillstreamError("The platform failed on this request; it is logged. Nothing was acknowledged, so send it again.")
            await _abort(context, failure)
            return b""

        return export

    async def _export(self, signal: Signal, body: bytes, context: Context) -> bytes:
        headers = _headers(context.invocation_metadata() or ())
        tenant = self._authenticate(headers, _client(context.peer()))
        with self._reserve(max(len(body), 1_024)):
            reading, position = await self._lanes.store(signal, body, tenant, project=headers.get("x-project-name", ""))
        if position:
            context.set_trailing_metadata((("x-millstream-position", position),))
        answer: bytes = response(signal, reading).SerializeToString()
        return answer


async def _abort(context: Context, error: MillstreamError) -> None:
    # RESOURCE_EXHAUSTED without RetryInfo tells exporters not to send the same again; over HTTP the same error is a 413.
    code = grpc.StatusCode.RESOURCE_EXHAUSTED if isinstance(error, TooLarge) else _CODES[error.kind.grpc]
    if error.kind.retryable:
        code = grpc.StatusCode.UNAVAILABLE
        retry = AnyMessage()
        retry.Pack(RetryInfo(retry_delay=Duration(seconds=max(1, error.retry_after_s or 1))))
        details = Status(code=code.value[0], message=error.message, details=[retry]).SerializeToString()
        context.set_trailing_metadata((("grpc-status-details-bin", details),))
    await context.abort(code, error.message)


def _headers(metadata: Iterable[Any]) -> dict[str, str]:
    return {key: value for key, value in metadata if isinstance(value, str)}


def _client(peer: str) -> str:
    """The address in gRPC's peer text, such as `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""
