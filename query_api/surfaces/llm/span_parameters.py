"""The query parameters that every list of spans takes, and what they ask for."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query

from infra.runtime.errors import ValidationFailed
from query_api.domain.attribute_filter import parse_attribute
from query_api.domain.span_view import STATUS_CODES
from query_api.readers.span_list_filter import SpanFilter
from query_api.surfaces.times import nanos

_ATTRIBUTE = (
    "`dotted.path:value`; may be repeated, and all must hold. The value is JSON, or a text that is no JSON: `llm.model_name:gpt-4o`, `retries:2`, "
    '`cached:true`. A text that looks like JSON is quoted: `user.id:"42"`. Numbers are equal when their values are.'
)


async def _wanted(
    start_time: Annotated[datetime | None, Query(description="Spans that began at or after this; UTC without an offset.")] = None,
    end_time: Annotated[datetime | None, Query(description="Spans that began before this.")] = None,
    trace_id: Annotated[list[str] | None, Query(description="Only these traces; hex, may be repeated.")] = None,
    span_id: Annotated[list[str] | None, Query(description="Only these spans; hex, may be repeated.")] = None,
    name: Annotated[list[str] | None, Query(description="Only these names; may be repeated.")] = None,
    span_kind: Annotated[list[str] | None, Query(description="Only these kinds, in any case; may be repeated.", examples=["LLM"])] = None,
    status_code: Annotated[list[str] | None, Query(description="Only these: UNSET, OK, ERROR, in any case; may be repeated.")] = None,
    parent_id: Annotated[str | None, Query(description="Only children of this span; `null` for roots.")] = None,
    attribute: Annotated[list[str] | None, Query(description=_ATTRIBUTE)] = None,
) -> SpanFilter:
    return SpanFilter(
        trace_ids=[text.lower() for text in trace_id] if trace_id else None,
        span_ids=[text.lower() for text in span_id] if span_id else None,
        names=name or None,
        span_kinds=[text.upper() for text in span_kind] if span_kind else None,
        status_codes=_status_codes(status_code) if status_code else None,
        parent_id=None if parent_id is None else "" if parent_id == "null" else parent_id.lower(),
        start_ns=nanos(start_time),
        end_ns=nanos(end_time),
        attributes=[parse_attribute(text) for text in attribute or ()],
    )


def _status_codes(names: list[str]) -> list[int]:
    unknown = [name for name in names if name.upper() not in STATUS_CODES]
    if unknown:
        raise ValidationFailed(f"Invalid status_code values: {unknown}; known are {', '.join(STATUS_CODES)}")
    return [STATUS_CODES[name.upper()] for name in names]


Wanted = Annotated[SpanFilter, Depends(_wanted)]
"""The spans that a request asks for."""
