"""OTLP over HTTP: /v1/traces, /v1/metrics and /v1/logs, protobuf or JSON, answered in the encoding of the request."""

import asyncio
from typing import Any

import orjson
from google.rpc.status_pb2 import Status

from infra.runtime.decoding import inflate
from infra.runtime.errors import MillstreamError, NotFound, UnsupportedMediaType
from infra.runtime.settings import Settings
from ingest import otlp_json
from ingest.exchange import DoorAnswer, DoorRequest
from ingest.otlp import LARGE, OtlpLanes
from ingest.otlp_read import SIGNALS, Reading, Signal

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_PROTOBUF_TYPES = frozenset((PROTOBUF, "application/protobuf"))
_JSON_REJECTED = {"traces": "rejectedSpans", "metrics": "rejectedDataPoints", "logs": "rejectedLogRecords"}


class OtlpHttpDoor:
    """Stores OTLP requests and answers as the OTLP specification says."""

    def __init__(self, lanes: OtlpLanes, settings: Settings) -> None:
        self._lanes = lanes
        self._settings = settings.ingest

    async def handle(self, request: DoorRequest, tenant: str, body: bytes, batch_id: str | None) -> DoorAnswer:
        """Store the request whose raw `body`, still compressed, was read already. 200 only once every in-sync replica has it.

        Raises nothing a client can cause: every MillstreamError becomes its answer.
        """
        try:
            return await self._store(request, tenant, body, batch_id)
        except MillstreamError as error:
            return self.refuse(request, error)

    def refuse(self, request: DoorRequest, error: MillstreamError) -> DoorAnswer:
        """The answer to an error: google.rpc.Status in the encoding of the request, JSON when that is neither of the two."""
        headers = {"Retry-After": str(max(1, error.retry_after_s or 1))} if error.kind.retryable else {}
        if request.media_type in _PROTOBUF_TYPES:
            return DoorAnswer(error.kind.http, Status(code=error.kind.grpc, message=error.message).SerializeToString(), PROTOBUF, headers)
        return DoorAnswer(error.kind.http, orjson.dumps({"code": error.kind.grpc, "message": error.message}), JSON, headers)

    async def _store(self, request: DoorRequest, tenant: str, body: bytes, batch_id: str | None) -> DoorAnswer:
        signal = SIGNALS.get(request.path.removeprefix("/v1/"))
        if signal is None:
            raise NotFound("Send POST to /v1/traces, /v1/metrics or /v1/logs.")
        media_type = request.media_type
        if media_type not in _PROTOBUF_TYPES and media_type != JSON:
            raise UnsupportedMediaType(f"Content-Type {media_type or '(none)'} is not supported. Send {PROTOBUF} or {JSON}.")
        plain = await self._inflated(request, body)
        project = request.headers.get("x-project-name", "").strip()
        if media_type == JSON:
            message = await self._message(signal, plain)
            reading, position = await self._lanes.store_message(signal, message, tenant, project=project, batch_id=batch_id)
            content = _json_response(signal, reading)
            return DoorAnswer(200, content, JSON, _headers(position))
        reading, position = await self._lanes.store(signal, plain, tenant, project=project, batch_id=batch_id)
        return DoorAnswer(200, response(signal, reading).SerializeToString(), PROTOBUF, _headers(position))

    async def _inflated(self, request: DoorRequest, body: bytes) -> bytes:
        encoding = request.headers.get("content-encoding", "")
        if not encoding or len(body) < LARGE:
            return inflate(body, encoding, self._settings.max_body_bytes)
        return await asyncio.to_thread(inflate, body, encoding, self._settings.max_body_bytes)

    async def _message(self, signal: Signal, body: bytes) -> Any:
        if len(body) < LARGE:
            return otlp_json.decode(signal.request, body, self._settings.max_nesting)
        return await asyncio.to_thread(otlp_json.decode, signal.request, body, self._settings.max_nesting)


def response(signal: Signal, reading: Reading) -> Any:
    """The Export*ServiceResponse: empty when all is well, else with a partial success; one that refuses nothing is a warning."""
    message: Any = signal.response()
    if reading.reason:
        setattr(message.partial_success, signal.rejected, reading.refused)
        message.partial_success.error_message = reading.reason
    return message


def _json_response(signal: Signal, reading: Reading) -> bytes:
    if not reading.reason:
        return b"{}"
    return orjson.dumps({"partialSuccess": {_JSON_REJECTED[signal.name]: str(reading.refused), "errorMessage": reading.reason}})


def _headers(position: str) -> dict[str, str]:
    return {"X-Millstream-Position": position} if position else {}
