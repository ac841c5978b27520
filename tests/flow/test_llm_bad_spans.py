"""Spans of every bad shape at the doors of the LLM surface: what is good is stored once, what is bad is named, and reads keep working."""

import os
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.flow.llm_client import SECOND, LlmClient, new_trace, now, otlp_span, rest_span

DAY = 86_400 * SECOND


def protobuf(*spans: Span) -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


def named(name: str, **fields: Any) -> Span:
    start = now()
    ids: dict[str, Any] = {"trace_id": os.urandom(16), "span_id": os.urandom(8)}
    return Span(name=name, start_time_unix_nano=start, end_time_unix_nano=start + SECOND, **{**ids, **fields})


async def sent(llm: LlmClient, project: str, body: bytes) -> ExportTraceServiceResponse:
    answer = await llm.http.post("/traces", content=body, headers={"content-type": "application/x-protobuf", "x-project-name": project})
    assert answer.status_code == 200, answer.text
    llm.wrote(answer)
    return ExportTraceServiceResponse.FromString(answer.content)


async def test_five_megabytes_in_an_attribute(llm: LlmClient, project: str) -> None:
    large = "é" * 2_621_440
    await llm.send(project, otlp_span(new_trace(), "large", start=now(), input__value=large, note="found"))
    (span,) = await llm.listed(f"/projects/{project}/spans", attribute="note:found")
    assert span["attributes"]["input.value"] == large
    created = await llm.http.post(f"/projects/{project}/spans", json={"data": [rest_span(new_trace(), "made", attributes={"input.value": large})]})
    assert created.status_code == 202 and sorted(await llm.names(project)) == ["large", "made"]


async def test_ten_thousand_attributes(llm: LlmClient, project: str) -> None:
    attributes: dict[str, Any] = {f"a{at}": at for at in range(10_000)}
    await llm.send(project, otlp_span(new_trace(), "wide", start=now(), **attributes))
    (span,) = await llm.listed(f"/projects/{project}/spans", attribute="a9999:9999")
    assert len(span["attributes"]) == 10_000 and await llm.names(project, attribute="a9999:1") == []


async def test_a_hundred_thousand_events(llm: LlmClient, project: str) -> None:
    span = named("eventful")
    span.events.extend(Span.Event(name="e", time_unix_nano=span.start_time_unix_nano + at) for at in range(100_000))
    assert not (await sent(llm, project, protobuf(span, named("beside")))).HasField("partial_success")
    found = {span["name"]: span for span in await llm.listed(f"/projects/{project}/spans")}
    assert len(found["eventful"]["events"]) == 100_000 and found["beside"]["events"] == []


async def test_ids_of_wrong_length(llm: LlmClient, project: str) -> None:
    wrong: list[dict[str, Any]] = [{"trace_id": b"x" * 15}, {"trace_id": b""}, {"trace_id": bytes(16)}, {"span_id": b"x" * 9}, {"span_id": bytes(8)}]
    partial = (await sent(llm, project, protobuf(named("good"), *(named("bad", **fields) for fields in wrong)))).partial_success
    assert partial.rejected_spans == len(wrong) and "16 bytes" in partial.error_message
    assert await llm.names(project) == ["good"]


async def test_clocks_a_day_off(llm: LlmClient, project: str) -> None:
    await llm.send(project, *(otlp_span(new_trace(), name, start=now() + off) for name, off in (("tomorrow", DAY), ("now", 0), ("yesterday", -DAY))))
    await llm.send(project, otlp_span(new_trace(), "1970", start=1), {**otlp_span(new_trace(), "backwards", start=now() - 10 * SECOND), "endTimeUnixNano": "5"})
    assert await llm.names(project) == ["tomorrow", "now", "backwards", "yesterday", "1970"]
    assert len(await llm.listed(f"/projects/{project}/traces")) == 5
    slowest = (await llm.get(f"/projects/{project}/traces", sort="latency_ms", order="asc", limit=1)).json()["data"][0]
    assert slowest["start_time"] <= slowest["end_time"], "no trace ends before it begins"


async def test_the_same_request_again_and_again(llm: LlmClient, project: str) -> None:
    body = protobuf(*(named(f"span {at}") for at in range(50)))
    for _ in range(4):
        await sent(llm, project, body)
    assert len(await llm.names(project, limit=7)) == 50


async def test_bodies_that_are_no_spans(llm: LlmClient, project: str) -> None:
    for content in (b"", b"{", b"[]", b'{"data": 1}', b'{"data": [{}]}', b'{"data": [1]}', b"\xff\xfe"):
        answer = await llm.http.post(f"/projects/{project}/spans", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 422 and answer.json()["detail"], content
    odd = [
        rest_span(new_trace(), "long integer", attributes={"a": 2**64}),
        rest_span(new_trace(), "too early", start="0001-01-01T00:00:00Z"),
        rest_span(new_trace(), "too late", end="9999-01-01T00:00:00Z"),
        rest_span(new_trace(), "parent", parent_id="xyz"),
    ]
    refused = await llm.http.post(f"/projects/{project}/spans", json={"data": odd})
    assert refused.status_code == 400 and refused.json()["total_invalid"] == len(odd)
    half = b'{"data": [' + rest_body("half \\ud800") + b"]}"
    answer = await llm.http.post(f"/projects/{project}/spans", content=half, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert (await llm.get(f"/projects/{project}")).status_code == 404, "nothing made the project"


def rest_body(name: str) -> bytes:
    span = f'{{"name": "{name}", "context": {{"trace_id": "{new_trace()}", "span_id": "{new_trace()[:16]}"}}, "span_kind": "LLM", "status_code": "OK"'
    return (span + ', "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z"}').encode()
