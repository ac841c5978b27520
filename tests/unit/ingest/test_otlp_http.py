"""The OTLP/HTTP door: statuses, encodings of answers, and what reaches the topic."""

import gzip
import json
import os

import lz4.frame
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from infra.runtime.settings import IngestSettings, Settings
from ingest.otlp_http import OtlpHttpDoor
from schemas.blocks import Block
from tests.unit.ingest.otlp_support import Published, door_request, lanes, traces

PROTOBUF, JSON = "application/x-protobuf", "application/json"


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def door(published: Published) -> OtlpHttpDoor:
    settings = Settings(ingest=IngestSettings(max_body_bytes=1_000_000, max_rows=2_000))
    return OtlpHttpDoor(lanes(published, settings), settings)


async def test_success_is_200_and_empty(door: OtlpHttpDoor, published: Published) -> None:
    body = traces(2).SerializeToString()
    answer = await door.handle(door_request("/v1/traces", "application/x-protobuf; charset=x"), "acme", body, None)
    assert (answer.status, answer.body, answer.content_type, answer.headers) == (200, b"", PROTOBUF, {"X-Millstream-Position": "spans:0:0"})
    block = published.blocks[0]
    assert block.encoding == "lz4" and lz4.frame.decompress(block.body).endswith(body) and block.rows == 2 and block.schema_id == "spans/1"
    assert [(touched.tenant, touched.subject) for touched in block.touched] == [("acme", "shop")]
    assert Block.from_record("spans", block.headers(), block.body) == block


async def test_empty_request_is_success_without_a_block(door: OtlpHttpDoor, published: Published) -> None:
    for content_type, body, expected in ((PROTOBUF, b"", b""), (JSON, b"{}", b"{}")):
        answer = await door.handle(door_request("/v1/metrics", content_type), "acme", body, None)
        assert (answer.status, answer.body, answer.headers) == (200, expected, {}) and not published.blocks


async def test_batch_id_is_the_block_id(door: OtlpHttpDoor, published: Published) -> None:
    await door.handle(door_request("/v1/traces"), "acme", traces().SerializeToString(), "my-batch")
    assert published.blocks[0].batch_id == "my-batch"


async def test_partial_success_in_both_encodings(door: OtlpHttpDoor, published: Published) -> None:
    request = traces(1_000)
    request.resource_spans[0].scope_spans[0].spans[3].span_id = b""
    answer = await door.handle(door_request("/v1/traces", content_encoding="gzip"), "acme", gzip.compress(request.SerializeToString()), None)
    response = ExportTraceServiceResponse.FromString(answer.body)
    assert (answer.status, response.partial_success.rejected_spans, published.blocks[0].rows) == (200, 1, 999)
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "00" * 15, "spanId": "11" * 8}]}]}]}
    answer = await door.handle(door_request("/v1/traces", JSON), "acme", json.dumps(document).encode(), None)
    assert answer.status == 200 and json.loads(answer.body)["partialSuccess"]["rejectedSpans"] == "1" and len(published.blocks) == 1


@pytest.mark.parametrize(
    ("content_type", "encoding", "body", "status"),
    [
        (PROTOBUF, "", b"\x0a\xff", 400),
        (PROTOBUF, "gzip", b"not gzip", 400),
        (PROTOBUF, "br", b"", 415),
        (PROTOBUF, "gzip", gzip.compress(bytes(2_000_000), mtime=0), 413),
        (PROTOBUF, "", traces(2_001).SerializeToString(), 413),
        (JSON, "", b"{", 400),
        (JSON, "", b"[" * 10_000, 400),
        ("text/plain", "", b"{}", 415),
        ("", "", b"{}", 415),
    ],
)
async def test_errors_come_as_status_in_the_encoding_of_the_request(
    door: OtlpHttpDoor, published: Published, content_type: str, encoding: str, body: bytes, status: int
) -> None:
    answer = await door.handle(door_request("/v1/traces", content_type, content_encoding=encoding), "acme", body, None)
    assert answer.status == status and not published.blocks and "Retry-After" not in answer.headers
    if content_type == PROTOBUF:
        assert answer.content_type == PROTOBUF and Status.FromString(answer.body).message
    else:
        assert answer.content_type == JSON and json.loads(answer.body)["message"]


async def test_kafka_away_is_503_with_retry_after(door: OtlpHttpDoor, published: Published) -> None:
    published.down = 1
    answer = await door.handle(door_request("/v1/traces"), "acme", traces().SerializeToString(), None)
    assert (answer.status, answer.headers) == (503, {"Retry-After": "2"})


async def test_unknown_path_is_404(door: OtlpHttpDoor) -> None:
    assert (await door.handle(door_request("/v1/profiles"), "acme", b"", None)).status == 404


async def test_random_bodies_are_never_a_server_error(door: OtlpHttpDoor) -> None:
    for _ in range(200):
        for path in ("/v1/traces", "/v1/metrics", "/v1/logs"):
            for content_type in (PROTOBUF, JSON):
                assert (await door.handle(door_request(path, content_type), "acme", os.urandom(40), None)).status in (200, 400)
