"""A stored span as the surface shows it: in the shape of Phoenix's REST API, and as OTLP JSON with underscores in its names."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from query_api.readers.spans import StoredSpan
from schemas.any_value import decode, typed
from schemas.global_id import global_id, span_number
from schemas.llm_model import flat, openinference
from schemas.tables.spans import REST_SCOPE
from schemas.windows import to_iso

STATUS_CODES = {"UNSET": 0, "OK": 1, "ERROR": 2}
_STATUS_NAMES = {code: name for name, code in STATUS_CODES.items()}


def span_json(span: StoredSpan) -> dict[str, Any]:
    """The span as JSON-able values; attributes are flat, with dotted names. One that still runs has no `end_time`."""
    return {
        "id": span_id(span.trace_id, span.span_id),
        "name": span.name,
        "context": {"trace_id": span.trace_id, "span_id": span.span_id},
        "span_kind": span_kind(span.span_kind),
        "parent_id": span.parent_id or None,
        "start_time": to_iso(span.start_ns // 1_000),
        "end_time": time_json(span.end_ns),
        "status_code": status_name(span.status_code),
        "status_message": span.status_message,
        "attributes": attributes_of(span),
        "events": [
            {
                "name": event.name,
                "timestamp": to_iso(event.time_unix_nano // 1_000),
                "attributes": flat({item.key: typed(item.value) for item in event.attributes}),
            }
            for event in _events(span.events)
        ],
    }


def otlp_json(span: StoredSpan) -> dict[str, Any]:
    """The span as OTLP JSON, with underscores in its names, ids in hex and whole numbers as numbers."""
    return {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_span_id": span.parent_id or None,
        "trace_state": span.trace_state or None,
        "flags": span.flags or None,
        "name": span.name,
        "kind": span.kind,
        "start_time_unix_nano": span.start_ns,
        "end_time_unix_nano": span.end_ns,
        "attributes": _key_values(attributes_of(span)),
        "events": [
            {
                "name": event.name,
                "time_unix_nano": event.time_unix_nano,
                "attributes": _key_values(flat({item.key: typed(item.value) for item in event.attributes})),
                "dropped_attributes_count": event.dropped_attributes_count,
            }
            for event in _events(span.events)
        ],
        "status": {"code": span.status_code, "message": span.status_message or None},
    }


def attributes_of(span: StoredSpan) -> dict[str, Any]:
    """The attributes in the one model of LLM spans; JSON text is read in spans that came by OTLP."""
    return openinference({name: decode(raw) for name, raw in span.attributes.items()}, json_texts=span.scope_name != REST_SCOPE)


def span_id(trace: str, span: str) -> str:
    """The id of a span on this surface."""
    return global_id("Span", span_number(trace, span))


def span_kind(stored: str) -> str:
    """A stored kind as it is shown."""
    return stored.upper() or "UNKNOWN"


def status_name(code: int) -> str:
    """A stored status as it is shown."""
    return _STATUS_NAMES.get(code, "UNSET")


def time_json(ns: int) -> str | None:
    """A time as it is shown; None for one that is not known yet."""
    return to_iso(ns // 1_000) if ns else None


def _events(raw: Sequence[bytes]) -> list[SpanMessage.Event]:
    found = []
    for each in raw:
        try:
            found.append(SpanMessage.Event.FromString(each))
        except DecodeError:
            continue  # the door checked what it took; an unreadable event must not hide the span that carries it
    return found


def _key_values(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _any_value(value)} for name, value in attributes.items()]


def _any_value(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {}
        case bool():
            return {"bool_value": value}
        case int():
            return {"int_value": value}
        case float():
            return {"double_value": value}
        case str():
            return {"string_value": value}
        case list():
            return {"array_value": {"values": [_any_value(item) for item in value]}}
    return {"kvlist_value": {"values": _key_values(value)}}
