"""Lists the spans of a project in the shape of Phoenix's REST API."""

from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.readers.spans import Key, SpanFilter, SpanReader, StoredSpan
from query_api.surfaces.policy import Page
from schemas.any_value import Value, decode, typed
from schemas.position import Positions
from schemas.windows import to_iso

STATUS_CODES = {"UNSET": 0, "OK": 1, "ERROR": 2}
_STATUS_NAMES = {code: name for name, code in STATUS_CODES.items()}


async def list_spans(reader: SpanReader, tenant: str, project: str, wanted: SpanFilter, *, limit: int, cursor: str | None, watermark: Positions) -> Page:
    """One page, newest first. Raises ValidationFailed for a cursor of another list."""
    after = decode_cursor(cursor, Key) if cursor else None
    found = await reader.page(tenant, project, wanted, limit=limit + 1, after=after)
    page = found[:limit]
    return Page([span_json(span) for span in page], encode_cursor(page[-1].key) if len(found) > limit else None, watermark)


def project_name(identifier: str) -> str:
    """The name a path means: a name, or a GlobalID, base64 of `Project:<name>`."""
    try:
        kind, _, name = urlsafe_b64decode(identifier.encode()).decode().partition(":")
    except ValueError:
        return identifier
    return name if kind == "Project" and name else identifier


def span_json(span: StoredSpan) -> dict[str, Any]:
    """The span as JSON-able values; attributes are flat, with dotted names."""
    return {
        "id": b64encode(f"Span:{span.trace_id}{span.span_id}".encode()).decode(),
        "name": span.name,
        "context": {"trace_id": span.trace_id, "span_id": span.span_id},
        "span_kind": span.span_kind.upper() or "UNKNOWN",
        "parent_id": span.parent_id or None,
        "start_time": to_iso(span.start_ns // 1_000),
        "end_time": to_iso(span.end_ns // 1_000),
        "status_code": _STATUS_NAMES.get(span.status_code, "UNSET"),
        "status_message": span.status_message,
        "attributes": flat({name: decode(raw) for name, raw in span.attributes.items()}),
        "events": [event for raw in span.events if (event := _event(raw)) is not None],
    }


def flat(attributes: Mapping[str, Value]) -> dict[str, Any]:
    """Attributes without nested mappings: `{"a": {"b": 1}}` is `{"a.b": 1}`. Bytes become base64, since JSON has none."""
    return {name: plain for name, value in attributes.items() for name, plain in _leaves(name, value)}


def _leaves(name: str, value: Value) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(f"{name}.{key}", item)
    else:
        yield name, _plain(value)


def _plain(value: Value) -> Any:
    match value:
        case bytes():
            return b64encode(value).decode()
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
    return value


def _event(raw: bytes) -> dict[str, Any] | None:
    try:
        event = SpanMessage.Event.FromString(raw)
    except DecodeError:
        # The door checked what it took; an unreadable event must not hide the span that carries it.
        return None
    return {
        "name": event.name,
        "timestamp": to_iso(event.time_unix_nano // 1_000),
        "attributes": flat({item.key: typed(item.value) for item in event.attributes}),
    }
