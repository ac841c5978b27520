"""A stored span as the surface shows it."""

import json

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from query_api.domain.span_view import otlp_json, span_json
from query_api.readers.spans import StoredSpan
from schemas.any_value import Value, encode
from schemas.tables.spans import REST_SCOPE


def stored(**changes: object) -> StoredSpan:
    event = Span.Event(name="exception", time_unix_nano=1_500, attributes=[KeyValue(key="a", value=AnyValue(int_value=1))])
    values: dict[str, object] = {
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7", "parent_id": "", "name": "chat", "span_kind": "",
        "status_code": 0, "status_message": "", "start_ns": 1_000_001_999, "end_ns": 2_000_000_000, "attributes": {}, "events": [event.SerializeToString()],
    }  # fmt: skip
    return StoredSpan(**{**values, **changes})  # type: ignore[arg-type]


def encoded(values: dict[str, Value]) -> dict[str, bytes]:
    return {name: encode(value) for name, value in values.items()}


def test_the_shape() -> None:
    plain = span_json(stored())
    assert list(plain) == [
        "id", "name", "context", "span_kind", "parent_id", "start_time", "end_time", "status_code", "status_message", "attributes", "events",
    ]  # fmt: skip
    assert plain["context"] == {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"}
    assert (plain["span_kind"], plain["parent_id"], plain["status_code"]) == ("UNKNOWN", None, "UNSET")
    assert (plain["start_time"], plain["end_time"]) == ("1970-01-01T00:00:01.000001Z", "1970-01-01T00:00:02Z")
    assert plain["events"] == [{"name": "exception", "timestamp": "1970-01-01T00:00:00.000001Z", "attributes": {"a": 1}}]


def test_the_same_span_id_in_another_trace_is_another_span() -> None:
    assert span_json(stored())["id"] != span_json(stored(trace_id="a" * 32))["id"]


def test_codes_and_kinds() -> None:
    assert [span_json(stored(status_code=code))["status_code"] for code in (0, 1, 2, 9)] == ["UNSET", "OK", "ERROR", "UNSET"]
    assert span_json(stored(span_kind="llm"))["span_kind"] == "LLM"


def test_a_running_span_has_no_end() -> None:
    assert span_json(stored(end_ns=0))["end_time"] is None and otlp_json(stored(end_ns=0))["end_time_unix_nano"] == 0


def test_attributes_keep_their_types_and_lose_their_nesting() -> None:
    values: dict[str, Value] = {"zero": 0, "empty": "", "no": False, "none": None, "half": 0.5, "list": [1, {"a": b"\xff"}], "deep": {"a": {"b": 1}, "c": {}}}
    plain = span_json(stored(attributes=encoded(values)))["attributes"]
    assert plain == {"zero": 0, "empty": "", "no": False, "none": None, "half": 0.5, "list": [1, {"a": "/w=="}], "deep.a.b": 1, "deep.c": {}}
    assert type(plain["no"]) is bool and type(plain["half"]) is float
    assert json.loads(orjson.dumps(plain)) == plain


def test_json_text_is_read_in_spans_that_came_by_otlp() -> None:
    attributes = encoded({"metadata": '{"tier": "gold"}'})
    assert span_json(stored(attributes=attributes))["attributes"] == {"metadata.tier": "gold"}
    assert span_json(stored(attributes=attributes, scope_name=REST_SCOPE))["attributes"] == {"metadata": '{"tier": "gold"}'}


def test_a_broken_event_hides_nothing_else() -> None:
    assert span_json(stored(events=[b"\xff"]))["events"] == []


def test_otlp_values_have_their_types() -> None:
    values: dict[str, Value] = {"s": "x", "i": 1, "b": True, "d": 0.5, "n": None, "l": ["x", 1], "o": {"e": {}}}
    shown = {item["key"]: item["value"] for item in otlp_json(stored(attributes=encoded(values)))["attributes"]}
    assert shown == {
        "s": {"string_value": "x"}, "i": {"int_value": 1}, "b": {"bool_value": True}, "d": {"double_value": 0.5}, "n": {},
        "l": {"array_value": {"values": [{"string_value": "x"}, {"int_value": 1}]}}, "o.e": {"kvlist_value": {"values": []}},
    }  # fmt: skip
