"""Bad input through the real doors: never a 500, nothing refused is stored, and what is accepted is stored exactly."""

import gzip
import json
import os
import random
import socket
import uuid
from typing import Any

import httpx
import pytest
import zstandard
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from infra.runtime.clock import SystemClock
from tests.flow.stack import LiveStack
from tests.support import eventually

EVENTS, BATCH, TELEMETRY = "/experimentation/api/v1/events", "/experimentation/api/v1/events/batch", "/crucible/api/v1/telemetry/events"
JSON, PROTOBUF = {"Content-Type": "application/json"}, {"Content-Type": "application/x-protobuf"}
OTLP = ("/v1/traces", "/v1/metrics", "/v1/logs")
BOMB = 512 * 1024 * 1024
"""Bytes a bomb inflates to."""


@pytest.fixture
def name() -> str:
    """An experiment, or a span name, of the test's own."""
    return f"bad-{uuid.uuid4().hex[:10]}"


async def post(live: LiveStack, path: str, body: bytes, headers: dict[str, str], port: str = "main") -> httpx.Response:
    async with httpx.AsyncClient(base_url=live.url(port), headers=live.headers, timeout=60) as client:
        answer = await client.post(path, content=body, headers=headers)
    assert answer.status_code != 500 and (answer.status_code < 500 or "retry-after" in answer.headers), answer.text
    return answer


async def stored(live: LiveStack, answer: httpx.Response | None, table: str, column: str, value: str) -> list[dict[str, Any]]:
    """Rows once everything acknowledged so far is visible."""
    position = answer.headers.get("x-millstream-position", "") if answer is not None else ""
    headers = {**live.headers, "X-Millstream-Wait-For": position, "X-Millstream-Wait-Timeout": "30"}
    async with httpx.AsyncClient(base_url=live.main_url, headers=headers, timeout=60) as client:
        assert (await client.get("/llm/v1/projects/default/spans", params={"limit": 1})).status_code == 200
    clickhouse = live.clickhouse()
    try:
        return await clickhouse.query(f"SELECT * FROM {table} FINAL WHERE {column} = {{value:String}}", {"value": value})
    finally:
        await clickhouse.aclose()


def event(name: str, **fields: Any) -> dict[str, Any]:
    return {"user_id": "u", "event_type": "view", "experiment_id": name, **fields}


def raw_event(name: str, metadata: str) -> bytes:
    """An event whose metadata is exactly the text."""
    return json.dumps(event(name))[:-1].encode() + b', "metadata": ' + metadata.encode("utf-8", "surrogatepass") + b"}"


def spans(name: str, count: int) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    now = SystemClock().now_us() * 1_000
    for number in range(count):
        scope.spans.add(name=name, trace_id=uuid.uuid4().bytes, span_id=os.urandom(7) + b"\x01", start_time_unix_nano=now, end_time_unix_nano=now + number)
    return request


async def test_random_and_truncated_protobuf(live: LiveStack, name: str) -> None:
    dice = random.Random(11)
    whole = spans(name, 20).SerializeToString()
    for path in OTLP:
        for body in [dice.randbytes(dice.randint(1, 300)) for _ in range(30)]:
            answer = await post(live, path, body, PROTOBUF, "otlp_http")
            assert answer.status_code in (200, 400)
            if answer.status_code == 400:
                assert Status.FromString(answer.content).message and answer.headers["content-type"] == PROTOBUF["Content-Type"]
    for length in [len(whole) - 1, *(dice.randrange(1, len(whole)) for _ in range(30))]:
        assert (await post(live, "/v1/traces", whole[:length], PROTOBUF, "otlp_http")).status_code == 400
    taken = await post(live, "/v1/traces", spans(f"{name}-whole", 3).SerializeToString(), PROTOBUF, "otlp_http")
    assert await stored(live, taken, "spans", "name", name) == []
    assert len(await stored(live, taken, "spans", "name", f"{name}-whole")) == 3


@pytest.mark.parametrize(
    "metadata",
    [
        "[" * 10_000 + "]" * 10_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1,}',
        "{'a': 1}",
        '{"a": \x01}',
        '{"a"',
    ],
    ids=["arrays", "objects", "nan", "inf", "-inf", "comma", "quotes", "control", "cut"],
)
async def test_json_that_is_none_is_refused_whole(live: LiveStack, name: str, metadata: str) -> None:
    single = raw_event(name, metadata)
    wrapped = b'{"events": [' + single + b"]}"
    for path, body in ((EVENTS, single), (BATCH, wrapped), (TELEMETRY, wrapped.replace(b"user_id", b"event_name"))):
        answer = await post(live, path, body, JSON)
        refused = answer.status_code in (400, 422) or answer.json()["data"].get("failed") == 1 or answer.json()["data"].get("rejected") == 1
        assert refused and "x-millstream-position" not in answer.headers, (path, answer.text[:300])
    assert await stored(live, None, "events", "experiment", name) == []


@pytest.mark.parametrize("body", [b"", b"{", b'{"events": [', b'{"user_id": 5, "x": [1,]}', b'{"event_name": "\\q"}', b"[]", b"null", b"\x00" * 100])
async def test_damaged_bodies_are_a_fault_of_the_client(live: LiveStack, body: bytes) -> None:
    for path in (EVENTS, BATCH, TELEMETRY):
        answer = await post(live, path, body, JSON)
        assert answer.status_code in (400, 422) and answer.json()["error"]["message"]
    for path in OTLP:
        assert (await post(live, path, body, JSON, "otlp_http")).status_code in (200, 400)


@pytest.mark.parametrize(
    ("metadata", "value"),
    [
        ('{"value": 1e400}', None),
        ('{"value": 18446744073709551616}', 2.0**64),
        ('{"value": -9223372036854775809}', -(2.0**63)),
        ('{"value": 1, "value": 2}', None),
        ('{"text": "a\\u0000b"}', None),
        ('{"text": "\\ud83d\\ude00"}', None),
        ('{"value": "12"}', None),
        ('{"value": 0.1}', 0.1),
    ],
    ids=["1e400", "2^64", "-2^63-1", "duplicate", "nul", "pair", "text", "tenth"],
)
async def test_odd_but_legal_json_is_refused_or_stored_exactly(live: LiveStack, name: str, metadata: str, value: float | None) -> None:
    answer = await post(live, EVENTS, raw_event(name, metadata), JSON)
    rows = await stored(live, answer, "events", "experiment", name)
    if answer.status_code != 200:
        assert answer.status_code in (400, 422) and not rows
        return
    (row,) = rows
    assert row["metadata"] == metadata, "metadata is kept byte for byte"
    if value is not None:
        assert row["value"] == value
    elif "value" in metadata and "1e400" not in metadata and "1," not in metadata:
        assert row["value"] in (None, 12.0)


@pytest.mark.parametrize("escaped", ["\\ud800", "\\udc00x", "\\ud800\\ud800"])
async def test_lone_surrogates_never_fail_the_block_of_others(live: LiveStack, name: str, escaped: str) -> None:
    body = '{"events": [%s, {"user_id": "%s", "event_type": "view", "experiment_id": "%s", "metadata": {"t": "%s"}}]}'
    answer = await post(live, BATCH, (body % (json.dumps(event(name)), escaped, name, escaped)).encode(), JSON)
    rows = await stored(live, answer, "events", "experiment", name)
    assert len(rows) == (answer.json()["data"]["processed"] if answer.status_code == 200 else 0)


@pytest.mark.parametrize("field", ["user_id", "event_name", "\xff\xfe", "metadata"])
async def test_a_body_that_is_not_utf8_is_refused_whole(live: LiveStack, name: str, field: str) -> None:
    damaged = b'{"b": "\xff\xfe"}' if field == "metadata" else b'"\xff\xfe"'
    key = json.dumps(field, ensure_ascii=False).encode("latin-1")
    for path, item in ((EVENTS, event(name)), (BATCH, event(name)), (TELEMETRY, {"event_name": name})):
        item.pop(field, None)
        body = json.dumps(item)[:-1].encode() + b", " + key + b": " + damaged + b"}"
        answer = await post(live, path, body if path == EVENTS else b'{"events": [' + body + b"]}", JSON)
        assert answer.status_code == 400 and "x-millstream-position" not in answer.headers, answer.text
    assert await stored(live, None, "events", "experiment", name) == []


async def test_nul_and_wide_characters_in_names_are_stored_exactly(live: LiveStack, name: str) -> None:
    units = ["a\x00b", "\U0001f600" * 100, "\u202egnirts", "tab\tquote'back\\slash", " "]
    answer = await post(live, BATCH, json.dumps({"events": [event(name, user_id=unit) for unit in units]}).encode(), JSON)
    rows = await stored(live, answer, "events", "experiment", name)
    failed = {error["index"] for error in answer.json()["data"].get("errors", [])}
    assert sorted(row["unit"] for row in rows) == sorted(unit for index, unit in enumerate(units) if index not in failed)


def _bombs() -> dict[str, bytes]:
    chunk = bytes(1024 * 1024)
    squeeze = zstandard.ZstdCompressor(level=19).compressobj()
    zstd = b"".join(squeeze.compress(chunk) for _ in range(BOMB // len(chunk))) + squeeze.flush()
    return {"gzip": gzip.compress(bytes(64 * 1024 * 1024), 6) * (BOMB // (64 * 1024 * 1024)), "zstd": zstd}


async def test_bombs_are_413_and_cost_no_memory(live: LiveStack) -> None:
    bombs = _bombs()
    for path, headers, port in ((BATCH, JSON, "main"), ("/v1/traces", PROTOBUF, "otlp_http")):
        await post(live, path, b"", headers, port)
        before = live.rss_bytes("ingest")
        for _ in range(3):
            for encoding, body in bombs.items():
                answer = await post(live, path, body, {**headers, "Content-Encoding": encoding}, port)
                assert answer.status_code == 413 and "retry-after" not in answer.headers, (path, encoding, answer.status_code)
                assert live.rss_bytes("ingest") - before < 96 * 1024 * 1024
    plain = await post(live, BATCH, b" " * (21 * 1024 * 1024), JSON)
    assert plain.status_code == 413


async def test_one_bad_span_in_a_thousand(live: LiveStack, name: str) -> None:
    request = spans(name, 1_000)
    request.resource_spans[0].scope_spans[0].spans[500].trace_id = os.urandom(15)
    answer = await post(live, "/v1/traces", request.SerializeToString(), PROTOBUF, "otlp_http")
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 1) and partial.error_message
    wanted = {span.span_id.hex() for span in request.resource_spans[0].scope_spans[0].spans if len(span.trace_id) == 16}
    assert {row["span_id"] for row in await stored(live, answer, "spans", "name", name)} == wanted and len(wanted) == 999


async def test_only_bad_spans_store_nothing(live: LiveStack, name: str) -> None:
    request = spans(name, 3)
    for span, bad in zip(request.resource_spans[0].scope_spans[0].spans, (os.urandom(15), b"", bytes(16)), strict=True):
        span.trace_id = bad
    answer = await post(live, "/v1/traces", request.SerializeToString(), PROTOBUF, "otlp_http")
    assert answer.status_code == 200 and ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans == 3
    assert "x-millstream-position" not in answer.headers and await stored(live, None, "spans", "name", name) == []


async def test_a_logs_body_on_the_traces_path_stores_no_spans(live: LiveStack, name: str) -> None:
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=SystemClock().now_us() * 1_000, severity_text=name)
    record.body.string_value = name
    answer = await post(live, "/v1/traces", logs.SerializeToString(), PROTOBUF, "otlp_http")
    if answer.status_code == 200:
        assert ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans == 1
    else:
        assert answer.status_code == 400
    assert "x-millstream-position" not in answer.headers


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (EVENTS, {"Content-Type": "application/xml"}),
        (BATCH, PROTOBUF),
        (BATCH, {**JSON, "Content-Encoding": "br"}),
        ("/llm/v1/traces", {"Content-Type": "text/plain"}),
        ("/llm/v1/traces", {}),
        ("/llm/v1/logs", {**PROTOBUF, "Content-Encoding": "snappy"}),
    ],
)
async def test_wrong_content_types_and_encodings_are_415(live: LiveStack, path: str, headers: dict[str, str]) -> None:
    assert (await post(live, path, b"{}", headers)).status_code == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_wrong_methods_are_refused(live: LiveStack, method: str) -> None:
    async with httpx.AsyncClient(headers=live.headers) as client:
        for url in (
            live.main_url + EVENTS,
            live.main_url + BATCH,
            *(() if method == "GET" else (live.main_url + TELEMETRY,)),  # where what was sent is read
            live.main_url + "/llm/v1/traces",
            live.url("otlp_http") + "/v1/logs",
        ):
            answer = await client.request(method, url)
            assert answer.status_code in (200, 404, 405) and not (answer.status_code == 200 and method != "OPTIONS"), (method, url, answer.status_code)


async def test_a_huge_header_and_broken_requests_leave_the_doors_open(live: LiveStack, name: str) -> None:
    for request in (
        f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nX-Long: {'a' * 1_000_000}\r\n\r\n".encode(),
        f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n".encode(),
        f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(200),
        f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n".encode(),
    ):
        with socket.create_connection(("127.0.0.1", live.settings.port.main), timeout=10) as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                first = connection.recv(65_536)
            except OSError:
                first = b""
        assert not first.startswith(b"HTTP/1.1 2") and not first.startswith(b"HTTP/1.1 500"), first[:200]
    answer = await post(live, EVENTS, json.dumps(event(name)).encode(), JSON)
    assert answer.status_code == 200


async def test_a_client_that_leaves_in_mid_body_stores_nothing(live: LiveStack, name: str) -> None:
    body = json.dumps({"events": [event(name)]}).encode()
    head = f"POST {BATCH} HTTP/1.1\r\nHost: x\r\nAuthorization: {live.headers['Authorization']}\r\nContent-Type: application/json\r\nContent-Length: {len(body) + 10}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", live.settings.port.main), timeout=10) as connection:
        connection.sendall(head.encode() + body)

    async def free() -> bool:
        async with httpx.AsyncClient(base_url=live.main_url) as client:
            text = (await client.get("/metrics")).text
        return "millstream_ingest_in_flight_bytes 0.0" in text

    await eventually(free)
    assert await stored(live, None, "events", "experiment", name) == []


async def test_too_many_rows_are_413(live: LiveStack, name: str) -> None:
    body = b'{"events": [' + b",".join([b'{"user_id":"u","event_type":"e"}'] * 100_001) + b"]}"
    assert (await post(live, BATCH, body, JSON)).status_code == 413
    assert (await post(live, "/v1/traces", spans("many", 100_001).SerializeToString(), PROTOBUF, "otlp_http")).status_code == 413
    empty = ExportTraceServiceRequest()
    scope = empty.resource_spans.add().scope_spans.add()
    for _ in range(300_000):
        scope.spans.add()
    assert (await post(live, "/v1/traces", empty.SerializeToString(), PROTOBUF, "otlp_http")).status_code == 413
