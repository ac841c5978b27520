"""Feedback that spans and log records carry."""

from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from schemas.annotation import Annotation, Key
from schemas.any_value import message_of
from schemas.span_feedback import EVENT, Feedback, feedback_of_logs, feedback_of_spans, may_carry

TRACE, SPAN = bytes(range(16)), bytes(range(8))
END_US = 1_767_225_600_000_000
NOW_US = END_US + 1


def pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=message_of(value)) for key, value in attributes.items()]


def of_span(attributes: dict[str, Any], **fields: Any) -> Feedback:
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add().scope_spans.add().spans.add(trace_id=TRACE, span_id=SPAN, end_time_unix_nano=END_US * 1_000, attributes=pairs(attributes))
    )
    for target in fields.get("links", ()):
        span.links.add(trace_id=target[0], span_id=target[1])
    for name, values in fields.get("events", ()):
        span.events.add(name=name, attributes=pairs(values))
    assert may_carry(request.SerializeToString()) or not attributes
    return feedback_of_spans(request, NOW_US)


def only(found: Feedback) -> Annotation:
    assert not found.faults
    (annotation,) = found.annotations
    return annotation


def item(prefix: str, **fields: Any) -> dict[str, Any]:
    return {f"{prefix}.{name}": value for name, value in fields.items()}


def test_every_field() -> None:
    fields = {"name": "n", "score": 1, "label": "l", "explanation": "e", "annotator_kind": "LLM", "identifier": "i", "metadata": '{"a": 1}'}
    expected = Annotation(Key("span", SPAN.hex(), -1, "n", "i", TRACE.hex()), "LLM", "l", 1.0, "e", "SPAN", END_US, END_US, {"a": 1})
    assert only(of_span(item("annotations.0.annotation", **fields))) == expected
    assert only(of_span(item("evaluations.3.evaluation", **fields))) == expected


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("trace.annotations.0.annotation", Key("trace", TRACE.hex(), -1, "n", "")),
        ("trace.evaluations.0.evaluation", Key("trace", TRACE.hex(), -1, "n", "")),
        ("session.annotations.0.annotation", Key("session", "s", -1, "n", "")),
        ("session.evaluations.0.evaluation", Key("session", "s", -1, "n", "")),
    ],
)
def test_scopes(prefix: str, key: Key) -> None:
    assert only(of_span({"session.id": "s", **item(prefix, name="n", score=0.0)})).key == key


def test_both_forms_of_one_result_are_one() -> None:
    assert only(of_span({**item("annotations.0.annotation", name="n", label="a"), **item("evaluations.0.evaluation", name="n", label="a")})).label == "a"


def test_results_that_replace_each_other_are_told() -> None:
    found = of_span({**item("annotations.10.annotation", name="n", label="last"), **item("annotations.9.annotation", name="n", label="first")})
    assert [each.label for each in found.annotations] == ["last"] and "identifier" in found.faults[0]


def test_a_span_with_one_link_is_about_what_it_links_to() -> None:
    other, span = b"t" * 16, b"s" * 8
    feedback = {**item("annotations.0.annotation", name="n", score=1.5), **item("trace.annotations.0.annotation", name="n", score=1.5)}
    linked = [each.key for each in of_span(feedback, links=[(other, span)]).annotations]
    assert linked == [Key("span", span.hex(), -1, "n", "", other.hex()), Key("trace", other.hex(), -1, "n", "")]
    for links in ([], [(other, span)] * 2, [(b"", b"")]):
        assert {each.key.target_id for each in of_span(feedback, links=links).annotations} == {SPAN.hex(), TRACE.hex()}


def test_events_of_the_conventions_for_generative_ai() -> None:
    said = {"gen_ai.evaluation.name": "n", "gen_ai.evaluation.score.value": 0.5, "gen_ai.evaluation.score.label": "l", "gen_ai.evaluation.explanation": "e"}
    found = only(of_span({}, events=[("other", said), (EVENT, said)]))
    assert (found.key.name, found.score, found.label, found.explanation, found.annotator_kind) == ("n", 0.5, "l", "e", "CODE")
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(event_name=EVENT, trace_id=TRACE, span_id=SPAN, time_unix_nano=END_US * 1_000, attributes=pairs(said))
    records.add(event_name=EVENT, attributes=pairs(said))
    assert may_carry(request.SerializeToString()) and only(feedback_of_logs(request, NOW_US)) == found


def test_a_time_ahead_of_the_clock_counts_as_now() -> None:
    assert only(of_span(item("annotations.0.annotation", name="n", label="l"))).updated_us == END_US
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=TRACE, span_id=SPAN, end_time_unix_nano=2**63, attributes=pairs(item("annotations.0.annotation", name="n", label="l"))
    )
    assert only(feedback_of_spans(request, NOW_US)).updated_us == NOW_US


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"score": 1}, "name"),
        ({"name": "", "score": 1}, "name"),
        ({"name": 7, "score": 1}, "name"),
        ({"name": "x" * 1_001, "score": 1}, "name"),
        ({"name": "n"}, "needs a score"),
        ({"name": "n", "label": ""}, "needs a score"),
        ({"name": "n", "score": "1"}, "finite number"),
        ({"name": "n", "score": True}, "finite number"),
        ({"name": "n", "score": float("nan")}, "finite number"),
        ({"name": "n", "score": float("inf")}, "finite number"),
        ({"name": "n", "label": "l", "identifier": 5}, "identifier"),
        ({"name": "n", "label": "l", "metadata": "[1]"}, "metadata"),
        ({"name": "n", "label": "l", "metadata": "{"}, "metadata"),
        ({"name": "n", "label": "l", "metadata": '{"a":' * 2_000}, "metadata"),
    ],
)
def test_what_cannot_be_read_is_told_and_harms_nothing_else(fields: dict[str, Any], fault: str) -> None:
    found = of_span({**item("annotations.0.annotation", **fields), **item("annotations.1.annotation", name="fine", label="l")})
    assert [each.key.name for each in found.annotations] == ["fine"]
    assert len(found.faults) == 1 and fault in found.faults[0] and SPAN.hex() in found.faults[0]


def test_a_session_must_be_named() -> None:
    found = of_span(item("session.annotations.0.annotation", name="n", label="l"))
    assert not found.annotations and "session.id" in found.faults[0]


def test_other_attributes_are_no_feedback() -> None:
    names = (
        "annotations.annotation.name",
        "annotations.x.annotation.name",
        "annotations.0.evaluation.name",
        "a.annotations.0.annotation.name",
        "annotations.0.annotation.name.x",
    )
    assert of_span(dict.fromkeys(names, "n")) == Feedback([], [])
