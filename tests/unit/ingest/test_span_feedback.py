"""Feedback in OTLP requests: stored beside the spans before the answer, and nothing else is touched."""

from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infra.runtime.errors import Unavailable
from ingest.otlp_read import TRACES
from tests.unit.ingest.otlp_support import NOW_NS, Published, lanes


def request_of(**attributes: str) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=NOW_NS, end_time_unix_nano=NOW_NS)
    )
    for name, value in attributes.items():
        span.attributes.add(key=f"annotations.0.annotation.{name}").value.string_value = value
    return request


def blocks(published: Published) -> dict[str, list[dict[str, Any]]]:
    """Rows of the annotations by the topics that got blocks."""
    found: dict[str, list[dict[str, Any]]] = {}
    for block in published.blocks:
        rows = found.setdefault(block.topic.name, [])
        if block.topic.name == "annotations":
            with pa.ipc.open_stream(block.body) as reader:
                rows += reader.read_all().to_pylist()
    return found


async def test_feedback_is_an_annotation_beside_its_span() -> None:
    published = Published()
    reading, position = await lanes(published).store(TRACES, request_of(name="tone", label="kind").SerializeToString(), "acme")
    (row,) = blocks(published)["annotations"]
    assert (row["tenant"], row["target"], row["target_id"], row["name"], row["label"], row["source"]) == (
        "acme",
        "span",
        (b"s" * 8).hex(),
        "tone",
        "kind",
        "SPAN",
    )
    assert row["deleted"] == 0 and row["created"] == row["updated"] and row["updated"].timestamp() == NOW_NS // 1_000 / 1e6
    assert reading.reason == "" and sorted(part.partition(":")[0] for part in position.split(",")) == ["annotations", "spans"]


async def test_requests_of_json_carry_it_too() -> None:
    published = Published()
    await lanes(published).store_message(TRACES, request_of(name="tone", label="kind"), "acme")
    assert len(blocks(published)["annotations"]) == 1


async def test_spans_without_feedback_make_one_block() -> None:
    published = Published()
    reading, _ = await lanes(published).store(TRACES, request_of().SerializeToString(), "acme")
    assert blocks(published).keys() == {"spans"} and reading.annotations is None


async def test_what_is_no_feedback_is_told_and_the_span_stays() -> None:
    published = Published()
    reading, _ = await lanes(published).store(TRACES, request_of(name="empty").SerializeToString(), "acme")
    assert blocks(published).keys() == {"spans"} and "stored, but not as an annotation" in reading.reason and reading.refused == 0


async def test_without_an_acknowledgement_of_both_there_is_none() -> None:
    for down in (1, 2):
        published = Published()
        published.down = down
        with pytest.raises(Unavailable):
            await lanes(published).store(TRACES, request_of(name="tone", label="kind").SerializeToString(), "acme")
