"""The OTLP/gRPC door, called over a real connection."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from infra.runtime.errors import Overloaded, Unauthenticated
from infra.runtime.settings import IngestSettings, PortSettings, Settings
from ingest.otlp_grpc import OtlpGrpcServer
from tests.unit.ingest.otlp_support import Published, lanes, traces

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass
class Door:
    published: Published
    full: bool = False
    seen: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    def authenticate(self, headers: Mapping[str, str], client: str) -> str:
        self.seen.append((headers.get("authorization", "") or headers.get("api-key", ""), client))
        if headers.get("api-key") == "wrong":
            raise Unauthenticated("no")
        return "acme"

    def reserve(self, size: int) -> AbstractContextManager[None]:
        return self._reserved()

    @contextmanager
    def _reserved(self) -> Iterator[None]:
        if self.full:
            raise Overloaded("full", retry_after_s=3)
        yield

    async def call(self, body: bytes, metadata: tuple[tuple[str, str], ...] = (), compression: grpc.Compression | None = None) -> ExportTraceServiceResponse:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            export: Any = channel.unary_unary(EXPORT, None, None)
            raw: bytes = await export(body, metadata=metadata, compression=compression, timeout=10)
            return ExportTraceServiceResponse.FromString(raw)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door(Published())
    settings = Settings(ingest=IngestSettings(max_body_bytes=200_000, max_rows=1_000), port=PortSettings(otlp_grpc=0))
    server = OtlpGrpcServer(lanes(door.published, settings), settings, door.authenticate, door.reserve)
    await server.start()
    door.port = server.port
    yield door
    await server.stop()


async def _failure(door: Door, body: bytes, **arguments: tuple[tuple[str, str], ...]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await door.call(body, **arguments)  # type: ignore[arg-type]
    return caught.value


def _trailers(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    metadata: Any = error.trailing_metadata()
    return dict(metadata or ())


async def test_stores_with_and_without_gzip(door: Door) -> None:
    for compression in (None, grpc.Compression.Gzip):
        answer = await door.call(traces(3).SerializeToString(), (("authorization", "Bearer k"),), compression)
        assert not answer.HasField("partial_success")
    assert [block.rows for block in door.published.blocks] == [3, 3] and door.seen[0] == ("Bearer k", "127.0.0.1")


async def test_partial_success(door: Door) -> None:
    request = traces(2)
    request.resource_spans[0].scope_spans[0].spans[0].trace_id = b"short"
    assert (await door.call(request.SerializeToString())).partial_success.rejected_spans == 1


async def test_undecodable_and_unauthenticated(door: Door) -> None:
    assert (await _failure(door, b"\x0a\xff")).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await _failure(door, b"", metadata=(("api-key", "wrong"),))).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_too_large_is_resource_exhausted_without_retry_info(door: Door) -> None:
    for body in (bytes(200_001), traces(1_001).SerializeToString()):
        error = await _failure(door, body)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "grpc-status-details-bin" not in _trailers(error)


async def test_pressure_and_kafka_away_say_when_to_come_back(door: Door) -> None:
    for full, down, seconds in ((True, 0, 3), (False, 1, 2)):
        door.full, door.published.down = full, down
        error = await _failure(door, traces().SerializeToString())
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        retry = RetryInfo()
        assert Status.FromString(_trailers(error)["grpc-status-details-bin"]).details[0].Unpack(retry) and retry.retry_delay.seconds == seconds
