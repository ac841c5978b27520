"""OTLP's JSON against protobuf's own meaning."""

import json
import math
from typing import Any

import pytest

from infra.runtime.errors import InvalidArgument
from ingest.otlp_json import decode
from ingest.otlp_read import METRICS, TRACES
from schemas.any_value import decode as any_value
from schemas.any_value import encode

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "EEE19B7EC3C1B174"


def span(**fields: Any) -> Any:
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": TRACE, "spanId": SPAN, **fields}]}]}]}
    request: Any = decode(TRACES.request, json.dumps(document).encode(), 64)
    return request.resource_spans[0].scope_spans[0].spans[0]


def test_ids_numbers_and_enums() -> None:
    got = span(startTimeUnixNano="1700000000000000001", endTimeUnixNano=1700000000000000002, kind=2, flags=1, unknown={"deep": [1]}, parentSpanId="", name=None)
    assert (got.trace_id.hex(), got.span_id.hex(), got.parent_span_id) == (TRACE, SPAN.lower(), b"")
    assert (got.start_time_unix_nano, got.end_time_unix_nano, got.kind) == (1700000000000000001, 1700000000000000002, 2)


def test_every_kind_of_value() -> None:
    values = [
        ({"stringValue": ""}, ""),
        ({"stringValue": "é\u0000"}, "é\u0000"),
        ({"boolValue": False}, False),
        ({"intValue": "0"}, 0),
        ({"intValue": -5}, -5),
        ({"intValue": str(-(1 << 63))}, -(1 << 63)),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": "Infinity"}, math.inf),
        ({"bytesValue": "AAH/"}, b"\x00\x01\xff"),
        ({"arrayValue": {"values": [{"intValue": "1"}, {"arrayValue": {}}, {}]}}, [1, [], None]),
        ({"kvlistValue": {"values": [{"key": "a", "value": {"kvlistValue": {}}}]}}, {"a": {}}),
        ({}, None),
    ]
    for document, expected in values:
        got = span(attributes=[{"key": "k", "value": document}]).attributes[0].value.SerializeToString()
        assert any_value(got) == expected and type(any_value(got)) is type(expected)
        assert encode(expected) == got


def test_nan_is_kept() -> None:
    assert math.isnan(span(attributes=[{"key": "k", "value": {"doubleValue": "NaN"}}]).attributes[0].value.double_value)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "SPAN_KIND_SERVER"},
        {"startTimeUnixNano": str(1 << 64)},
        {"startTimeUnixNano": 1 << 64},
        {"startTimeUnixNano": "1e9"},
        {"startTimeUnixNano": True},
        {"startTimeUnixNano": 1.5},
        {"traceId": "xyz"},
        {"traceId": 5},
        {"attributes": {"key": "k"}},
        {"attributes": [5]},
        {"attributes": [{"key": 5}]},
        {"attributes": [{"key": "k", "value": {"intValue": "9" * 5_000}}]},
        {"attributes": [{"key": "k", "value": {"bytesValue": "!"}}]},
        {"attributes": [{"key": "k", "value": {"boolValue": "true"}}]},
        {"attributes": [{"key": "k", "value": {"doubleValue": "1e400"}}]},
        {"status": []},
        {"kind": 1 << 40},
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        span(**fields)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b"\xff", b'{"a":NaN}', b'{"a":1e400}', b'{"a":"\\ud800"}', b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000]
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument):
        decode(TRACES.request, body, 64)


def test_nesting_is_bounded_and_what_passes_can_be_parsed_again() -> None:
    def nested(depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {"intValue": "1"}
        for _ in range(depth):
            value = {"arrayValue": {"values": [value]}}
        return value

    got = span(attributes=[{"key": "k", "value": nested(38)}])
    assert type(got).FromString(got.SerializeToString()) == got
    with pytest.raises(InvalidArgument):
        span(attributes=[{"key": "k", "value": nested(200)}])


def test_metrics() -> None:
    document = {
        "resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [{"asInt": "7", "timeUnixNano": "5"}, {"asDouble": 0}]}}]}]}]
    }
    request: Any = decode(METRICS.request, json.dumps(document).encode(), 64)
    points = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    assert [point.WhichOneof("value") for point in points] == ["as_int", "as_double"] and points[0].as_int == 7
