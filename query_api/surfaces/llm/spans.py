"""`projects/{project}/spans`: the stored spans, each exactly once over the pages."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel
from starlette.responses import Response

from query_api.dependencies import Reader, SharedParts, SurfacePolicy, Waits
from query_api.domain.span_list import STATUS_CODES, list_spans, project_name
from query_api.errors import error_responses
from query_api.readers.spans import SpanFilter, SpanReader
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import list_response
from query_api.surfaces.times import nanos

router = APIRouter(tags=["spans"])

_ERRORS = ("invalid_argument", "unauthenticated", "forbidden", "validation_failed", "query_limit", "unavailable", "not_visible_yet", "internal")


class SpanContext(BaseModel):
    """Ids of a span."""

    trace_id: str
    span_id: str


class SpanEvent(BaseModel):
    """Something that happened during a span."""

    name: str
    timestamp: datetime
    attributes: dict[str, Any]


class Span(BaseModel):
    """One span."""

    id: str
    name: str
    context: SpanContext
    span_kind: str
    parent_id: str | None
    start_time: datetime
    end_time: datetime
    status_code: Literal["UNSET", "OK", "ERROR"]
    status_message: str
    attributes: dict[str, Any]
    events: list[SpanEvent]


class Spans(BaseModel):
    """A page of spans."""

    data: list[Span]
    next_cursor: str | None


_EXAMPLE: dict[str, Any] = {
    "data": [
        {
            "id": "U3Bhbjo0YmY5MmYzNTc3YjM0ZGE2YTNjZTkyOWQwZTBlNDczNjAwZjA2N2FhMGJhOTAyYjc=",
            "name": "ChatCompletion",
            "context": {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"},
            "span_kind": "LLM",
            "parent_id": None,
            "start_time": "2026-01-01T12:00:00Z",
            "end_time": "2026-01-01T12:00:01.250000Z",
            "status_code": "OK",
            "status_message": "",
            "attributes": {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.token_count.prompt": 31},
            "events": [],
        }
    ],
    "next_cursor": None,
}


@router.get(
    "/projects/{project}/spans",
    response_model=Spans,
    operation_id="getSpans",
    summary="List spans of a project",
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}, **error_responses(LLM, *_ERRORS)},
)
async def spans(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Reader,
    wait: Waits,
    project: Annotated[str, Path(description="Name of the project, or its GlobalID.", examples=["default"])],
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=LLM.paging.maximum, description="Most spans in the answer.")] = LLM.paging.default,
    start_time: Annotated[datetime | None, Query(description="Spans that began at or after this; UTC without an offset.")] = None,
    end_time: Annotated[datetime | None, Query(description="Spans that began before this.")] = None,
    trace_id: Annotated[list[str] | None, Query(description="Only these traces; hex, may be repeated.")] = None,
    span_id: Annotated[list[str] | None, Query(description="Only these spans; hex, may be repeated.")] = None,
    name: Annotated[list[str] | None, Query(description="Only these names; may be repeated.")] = None,
    span_kind: Annotated[list[str] | None, Query(description="Only these kinds, in any case; may be repeated.", examples=["LLM"])] = None,
    status_code: Annotated[list[Literal["UNSET", "OK", "ERROR"]] | None, Query(description="Only these; may be repeated.")] = None,
    parent_id: Annotated[str | None, Query(description="Only children of this span; `null` for roots.")] = None,
) -> Response:
    """Newest first. Every stored span comes exactly once over the pages, however often it was sent."""
    wanted = SpanFilter(
        trace_ids=[text.lower() for text in trace_id] if trace_id else None,
        span_ids=[text.lower() for text in span_id] if span_id else None,
        names=name or None,
        span_kinds=[text.upper() for text in span_kind] if span_kind else None,
        status_codes=[STATUS_CODES[code] for code in status_code] if status_code else None,
        parent_id=None if parent_id is None else "" if parent_id == "null" else parent_id.lower(),
        start_ns=nanos(start_time),
        end_ns=nanos(end_time),
    )
    watermark = await parts.freshness.raw(wait)
    page = await list_spans(SpanReader(parts.rows), caller.tenant, project_name(project), wanted, limit=limit, cursor=cursor, watermark=watermark)
    return list_response(policy, page)
