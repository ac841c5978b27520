"""Spans: listed, searched, created and deleted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from infra.runtime.errors import ValidationFailed
from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy, Waits
from query_api.domain.span_create import NewEvent, NewSpan, create_spans
from query_api.domain.span_delete import SpanEditing
from query_api.domain.span_list import list_spans
from query_api.domain.span_view import otlp_json, span_json
from query_api.errors import error_responses
from query_api.parts import Parts
from query_api.readers.span_list_filter import SpanFilter
from query_api.readers.spans import StoredSpan
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.llm.projects import Identifier
from query_api.surfaces.llm.span_models import CreatedSpans, NewSpans, OtlpSpans, Span, Spans
from query_api.surfaces.llm.span_parameters import Wanted
from query_api.surfaces.policy import Page, json_response, list_response
from schemas.position import encode

router = APIRouter(tags=["spans"])

_READ = ("unauthenticated", "forbidden", "not_found", "validation_failed", "query_limit", "unavailable", "not_visible_yet", "internal")
_CHANGE = ("unauthenticated", "forbidden", "not_found", "validation_failed", "unavailable", "internal")
_WORDS = 16

Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=LLM.paging.maximum, description="Most items in the answer.")]

_EXAMPLE: dict[str, Any] = {
    "data": [
        {
            "id": "U3BhbjoxODUyNjczNDI3Nzk3MDU5MTI2Nzc3MTM1NzYwMTM5MDA2NTI1NjUyMzE5NzU0NjUwMjQ5MDI0NjMxMzIxMzQ0MTI2NjEwMDc0MjM4OTc2",
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


async def _page(
    parts: Parts, caller: Caller, wait: Waits, project: str, wanted: SpanFilter, limit: int, cursor: str | None, view: Callable[[StoredSpan], Any] = span_json
) -> Page:
    return await list_spans(parts, caller.tenant, project, wanted, limit=limit, cursor=cursor, wait=wait, view=view)


@router.get(
    "/projects/{project_identifier}/spans",
    response_model=Spans,
    operation_id="getSpans",
    summary="List spans of a project",
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}, **error_responses(LLM, *_READ)},
)
async def spans(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Annotated[Caller, Allowed("traces:read")],
    wait: Waits,
    project_identifier: Identifier,
    wanted: Wanted,
    cursor: Cursor = None,
    limit: Limit = LLM.paging.default,
) -> Response:
    """Newest first. Every stored span comes exactly once over the pages, however often it was sent; of what was sent counts the copy that ended last."""
    return list_response(policy, await _page(parts, caller, wait, project_identifier, wanted, limit, cursor))


@router.get(
    "/projects/{project_identifier}/spans/otlpv1",
    response_model=OtlpSpans,
    operation_id="spanSearch",
    summary="List spans of a project as OTLP JSON",
    responses=error_responses(LLM, *_READ),
)
async def otlp_spans(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Annotated[Caller, Allowed("traces:read")],
    wait: Waits,
    project_identifier: Identifier,
    wanted: Wanted,
    cursor: Cursor = None,
    limit: Limit = LLM.paging.default,
) -> Response:
    """The same list; the end of a span that still runs is 0."""
    return list_response(policy, await _page(parts, caller, wait, project_identifier, wanted, limit, cursor, otlp_json))


@router.get(
    "/projects/{project_identifier}/spans/search",
    response_model=Spans,
    operation_id="searchSpans",
    summary="Search spans of a project for words",
    responses=error_responses(LLM, *_READ),
)
async def search(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Annotated[Caller, Allowed("traces:read")],
    wait: Waits,
    project_identifier: Identifier,
    wanted: Wanted,
    q: Annotated[str, Query(min_length=1, max_length=1_000, description="Words, apart by spaces, in any case of ASCII letters.", examples=["refund order"])],
    cursor: Cursor = None,
    limit: Limit = LLM.paging.default,
) -> Response:
    """Newest first: spans in which every word stands in the name, the input, the output or another attribute. Narrow old ones by `start_time`."""
    words = q.split()
    if not 0 < len(words) <= _WORDS:
        raise ValidationFailed(f"q must hold 1 to {_WORDS} words, apart by spaces")
    return list_response(policy, await _page(parts, caller, wait, project_identifier, replace(wanted, words=words), limit, cursor))


@router.post(
    "/projects/{project_identifier}/spans",
    response_model=CreatedSpans,
    status_code=202,
    operation_id="createSpans",
    summary="Create spans in a project",
    responses=error_responses(LLM, "invalid_argument", "too_large", *_CHANGE),
)
async def create(parts: SharedParts, caller: Annotated[Caller, Allowed("traces:write")], project_identifier: Identifier, body: NewSpans) -> Response:
    """All or nothing: when one is invalid, deleted or stored already, the answer is 400 and names it, as JSON text.

    A project that does not exist is made. An end that is null stands for a span that runs; sent again with its end, the span is replaced.
    """
    created = await create_spans(parts, caller, project_identifier, [_new(span) for span in body.data])
    headers = {"X-Millstream-Position": encode(created.position)} if created.position else {}
    return json_response({"total_received": created.count, "total_queued": created.count}, status=202, headers=headers)


@router.delete(
    "/spans/{span_identifier}", status_code=204, operation_id="deleteSpan", summary="Delete a span", responses=error_responses(LLM, "conflict", *_CHANGE)
)
async def remove(
    parts: SharedParts, caller: Annotated[Caller, Allowed("traces:delete")], span_identifier: Annotated[str, Path(description="GlobalID, or the span id.")]
) -> Response:
    """The span alone: its children stay. It is gone from reads when this answers, and stays gone if it is sent again."""
    await SpanEditing(parts, caller).delete_span(span_identifier)
    return Response(status_code=204)


def _new(span: Span) -> NewSpan:
    return NewSpan(
        name=span.name,
        trace_id=span.context.trace_id,
        span_id=span.context.span_id,
        span_kind=span.span_kind,
        parent_id=span.parent_id,
        start_time=span.start_time,
        end_time=span.end_time,
        status_code=span.status_code,
        status_message=span.status_message,
        attributes=span.attributes,
        events=[NewEvent(event.name, event.timestamp, event.attributes) for event in span.events],
    )
