"""Spans created through the REST API: checked as a whole, then published as one block like those of the OTLP doors."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from google.protobuf.message import DecodeError, EncodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infra.runtime.clock import uuid7
from infra.runtime.errors import InvalidArgument, NotVisibleYet
from query_api.access import Caller
from query_api.domain.projects import Projects
from query_api.domain.span_view import STATUS_CODES
from query_api.parts import Parts
from query_api.readers.span_edits import SpanEdits
from query_api.readers.spans import SpanReader
from schemas.any_value import message_of
from schemas.blocks import Block, Touched
from schemas.fields import to_us
from schemas.global_id import parse
from schemas.llm_model import flat
from schemas.otlp_sql import PROJECT_ATTRIBUTE
from schemas.otlp_wire import Window, envelope_head
from schemas.position import Positions, merge
from schemas.span_feedback import feedback_of
from schemas.tables.spans import REST_SCOPE
from schemas.topics import ANNOTATIONS, SPANS

_MINUTE_NS: Final = 60_000_000_000
_LATEST_NS: Final = 2**63 - 1
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")
_KIND: Final = "openinference.span.kind"
_TOO_DEEP: Final = "nests deeper than a span can hold; flatten it first"


@dataclass(frozen=True)
class NewEvent:
    """Something that happened during a span."""

    name: str
    timestamp: datetime
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class NewSpan:
    """A span as a client describes it; times know their offset."""

    name: str
    trace_id: str
    span_id: str
    span_kind: str
    parent_id: str | None
    start_time: datetime
    end_time: datetime | None
    """None while it runs."""
    status_code: str
    status_message: str
    attributes: Mapping[str, Any]
    events: Sequence[NewEvent]


@dataclass(frozen=True)
class Created:
    """What became of a request."""

    count: int
    position: Positions


class SpansRefused(InvalidArgument):
    """The text is JSON and names every span that was not taken, as the clients read it."""


async def create_spans(parts: Parts, caller: Caller, identifier: str, spans: Sequence[NewSpan]) -> Created:
    """Stores all of the spans or none, in a project that is made when there is none of this name; returns when reads see them, or at the deadline.

    Raises SpansRefused when a span is invalid, deleted or stored already, and NotFound for the GlobalID of no project.
    """
    named = parse(identifier)
    name = (await Projects(parts).get(caller.tenant, identifier)).name if named is not None and named.type == "Project" else identifier
    messages, invalid = messages_of(spans)
    duplicate = await _duplicates(parts, caller.tenant, messages)
    invalid += await _deleted(parts, caller.tenant, name, messages)
    if invalid or duplicate:
        raise SpansRefused(_refusal(len(spans), duplicate, invalid))
    await Projects(parts).named(caller.tenant, name)
    if not messages:
        return Created(0, {})
    # First, since nobody sees what is about a span that is not stored, and a request that failed in between may be sent again.
    feedback = feedback_of(messages, parts.clock.now_us()).annotations
    heard = await parts.writer.write(ANNOTATIONS, [each.row(caller.tenant) for each in feedback])
    position = merge(heard, await parts.writer.publish(_block(parts, caller.tenant, name, messages)))
    with suppress(NotVisibleYet):
        await parts.writer.visible(position)
    return Created(len(messages), position)


def messages_of(spans: Sequence[NewSpan]) -> tuple[list[Span], list[dict[str, str]]]:
    """The spans as OTLP has them, and what is wrong with the others."""
    messages, invalid = [], []
    for span in spans:
        try:
            messages.append(_message(span))
        except ValueError as error:
            invalid.append({"span_id": span.span_id, "trace_id": span.trace_id, "error": str(error)})
    return messages, invalid


def _message(span: NewSpan) -> Span:
    """Raises ValueError, saying what is wrong."""
    message = Span(
        trace_id=_id(_TRACE_ID, span.trace_id, "trace_id"),
        span_id=_id(_SPAN_ID, span.span_id, "span_id"),
        parent_span_id=_id(_SPAN_ID, span.parent_id, "parent_id") if span.parent_id else b"",
        name=span.name,
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=_ns(span.start_time, "start_time"),
        end_time_unix_nano=0 if span.end_time is None else _ns(span.end_time, "end_time"),
    )
    message.status.code = STATUS_CODES.get(span.status_code.upper(), 0)  # type: ignore[assignment]
    message.status.message = span.status_message
    kind = {} if span.span_kind.upper() == "UNKNOWN" else {_KIND: span.span_kind.upper()}
    message.attributes.extend(_key_values({**span.attributes, **kind}))
    for event in span.events:
        added = message.events.add(name=event.name, time_unix_nano=_ns(event.timestamp, "events.timestamp"))
        added.attributes.extend(_key_values(event.attributes))
    try:
        return Span.FromString(message.SerializeToString())
    except (DecodeError, EncodeError) as error:
        raise ValueError(_TOO_DEEP) from error


def _id(form: re.Pattern[str], text: str, field: str) -> bytes:
    plain = text.lower().replace("-", "")
    if form.fullmatch(plain) is None or not int(plain, 16):
        digits = 32 if form is _TRACE_ID else 16
        raise ValueError(f"{field} {text[:64]!r} is not {digits} hexadecimal digits that are not all 0")
    return bytes.fromhex(plain)


def _ns(time: datetime, field: str) -> int:
    ns = to_us(time) * 1_000
    if not 0 < ns <= _LATEST_NS:
        raise ValueError(f"{field} must lie between 1970 and 2262")
    return ns


def _key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    found = []
    try:
        leaves = flat(attributes)
    except RecursionError as error:
        raise ValueError(f"attributes: {_TOO_DEEP}") from error
    for name, value in leaves.items():
        if value is not None:
            try:
                found.append(KeyValue(key=name, value=message_of(value)))
            except (DecodeError, EncodeError, RecursionError) as error:
                raise ValueError(f"attribute {name[:100]!r}: {_TOO_DEEP}") from error
            except (ValueError, TypeError) as error:
                raise ValueError(f"attribute {name[:100]!r}: {error}") from error
    return found


async def _duplicates(parts: Parts, tenant: str, messages: Sequence[Span]) -> list[dict[str, str]]:
    """Spans that are stored already, running ones apart, and those named twice."""
    visible = await parts.visible.of_tenant(tenant)
    places = await SpanReader(parts.rows).places(visible, list({message.span_id.hex() for message in messages}))
    seen = {(place.trace_id, place.span_id) for place in places if place.ended}
    found = []
    for message in messages:
        key = (message.trace_id.hex(), message.span_id.hex())
        if key in seen:
            found.append({"span_id": key[1], "trace_id": key[0]})
        seen.add(key)
    return found


async def _deleted(parts: Parts, tenant: str, project: str, messages: Sequence[Span]) -> list[dict[str, str]]:
    """Spans that reads would not see because they, their trace or their project were deleted."""
    keys = [(message.trace_id.hex(), message.span_id.hex()) for message in messages]
    edits = await SpanEdits(parts.rows).of(tenant, project, keys)
    found = []
    for message, (trace, span) in zip(messages, keys, strict=True):
        reason = ""
        if trace + span in edits.spans:
            reason = "a span with these ids was deleted; use another span_id"
        elif trace in edits.traces:
            reason = "the trace was deleted; use another trace_id"
        elif message.start_time_unix_nano < edits.project_cut_ns:
            reason = "it began before the project of this name was deleted; use another project"
        if reason:
            found.append({"span_id": span, "trace_id": trace, "error": reason})
    return found


def _refusal(received: int, duplicate: Sequence[Mapping[str, str]], invalid: Sequence[Mapping[str, str]]) -> str:
    counts = {"total_received": received, "total_queued": 0, "total_duplicates": len(duplicate), "total_invalid": len(invalid)}
    error = "The request holds spans that are invalid or stored already. Nothing was stored."
    return orjson.dumps({"error": error, **counts, "duplicate_spans": duplicate, "invalid_spans": invalid}).decode()


def _block(parts: Parts, tenant: str, project: str, messages: Sequence[Span]) -> Block:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key=PROJECT_ATTRIBUTE).value.string_value = project
    scope = resource.scope_spans.add()
    scope.scope.name = REST_SCOPE
    scope.spans.extend(messages)
    body = request.SerializeToString()
    now = parts.clock.now_us()
    window = Window.around(now, parts.settings.ingest.max_past_s, parts.settings.ingest.max_future_s)
    times = [time for message in messages if window.earliest_ns <= (time := message.start_time_unix_nano) <= window.latest_ns]
    touched = (Touched(tenant, "", tuple(sorted({time // _MINUTE_NS for time in times})), None, True),) if times else ()
    low, high = min(times, default=now * 1_000), max(times, default=now * 1_000)
    envelope = envelope_head(tenant, window, [""], [project], len(body)) + body
    return Block(SPANS, str(uuid7(now)), "spans/1", len(messages), envelope, low // 1_000, high // 1_000, now, touched)
