"""Spans of the REST API as OTLP spans, and what is wrong with those that are none."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from query_api.domain.span_create import NewEvent, NewSpan, messages_of
from schemas.any_value import typed

START = datetime(2026, 1, 2, 3, 4, 5, 600_700, tzinfo=UTC)


def new(**changes: Any) -> NewSpan:
    values: dict[str, Any] = {
        "name": "chat", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7", "span_kind": "llm", "parent_id": None,
        "start_time": START, "end_time": START + timedelta(seconds=1), "status_code": "ok", "status_message": "fine", "attributes": {}, "events": [],
    }  # fmt: skip
    return NewSpan(**{**values, **changes})


def test_a_span() -> None:
    event = NewEvent("e", START, {"k": [1, "x"]})
    attributes = {"deep": {"er": 1}, "nothing": None, "documents": [{"a": 1}, {"a": 2}], "share": 0.5}
    (span,), invalid = messages_of([new(attributes=attributes, events=[event], parent_id="AA" * 8)])
    assert not invalid and span.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736" and span.parent_span_id == b"\xaa" * 8
    assert span.end_time_unix_nano - span.start_time_unix_nano == 10**9 and span.start_time_unix_nano % 10**9 == 600_700_000
    assert {item.key: typed(item.value) for item in span.attributes} == {
        "deep.er": 1, "documents.0.a": 1, "documents.1.a": 2, "share": 0.5, "openinference.span.kind": "LLM"
    }  # fmt: skip
    assert (span.status.code, span.status.message) == (1, "fine")
    assert [(each.name, {item.key: typed(item.value) for item in each.attributes}) for each in span.events] == [("e", {"k": [1, "x"]})]


def test_an_id_with_hyphens_a_running_span_and_no_kind() -> None:
    (span,), invalid = messages_of([new(trace_id="4bf92f35-77b3-4da6-a3ce-929d0e0e4736", end_time=None, span_kind="unknown", status_code="odd")])
    assert not invalid and span.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert span.end_time_unix_nano == 0 and not span.attributes and span.status.code == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trace_id": "abc"}, "trace_id 'abc' is not 32 hexadecimal digits"),
        ({"trace_id": "0" * 32}, "not all 0"),
        ({"span_id": "x" * 16}, "span_id"),
        ({"parent_id": "root"}, "parent_id 'root'"),
        ({"start_time": datetime(1, 1, 1, tzinfo=UTC)}, "start_time must lie between 1970 and 2262"),
        ({"end_time": datetime(9999, 1, 1, tzinfo=UTC)}, "end_time must lie"),
        ({"attributes": {"big": 2**64}}, "attribute 'big'"),
        ({"attributes": {"half": "\ud800"}}, "attribute 'half'"),
        ({"attributes": {"\ud800": 1}}, "attribute"),
        ({"name": "\ud800"}, "surrogate"),
        ({"events": [NewEvent("e", datetime(1, 1, 1, tzinfo=UTC), {})]}, "events.timestamp"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], reason: str) -> None:
    messages, invalid = messages_of([new(), new(**changes)])
    assert len(messages) == 1 and len(invalid) == 1 and reason in invalid[0]["error"]


@pytest.mark.parametrize("depth", [40, 60, 90, 150, 900])
def test_deep_attributes_are_kept_or_refused(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value, 1]
    messages, invalid = messages_of([new(attributes={"deep": value})])
    assert len(messages) + len(invalid) == 1
    if depth == 40:
        assert {item.key: typed(item.value) for item in messages[0].attributes}["deep"] == value
    else:
        assert "nests deeper" in invalid[0]["error"]
