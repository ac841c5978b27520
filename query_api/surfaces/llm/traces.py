"""Traces: listed, deleted and moved between projects."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy, Waits
from query_api.domain.session_list import session_id
from query_api.domain.span_delete import SpanEditing
from query_api.domain.trace_list import list_traces
from query_api.errors import error_responses
from query_api.readers.traces import Sort, TraceFilter
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.llm.projects import Identifier
from query_api.surfaces.llm.sessions import Order
from query_api.surfaces.llm.span_models import Traces, Transfer, TransferAnswer
from query_api.surfaces.llm.spans import Cursor, Limit
from query_api.surfaces.policy import json_response, list_response
from query_api.surfaces.times import nanos
from schemas.global_id import global_id

router = APIRouter(tags=["traces"])

_CHANGE = ("unauthenticated", "forbidden", "not_found", "validation_failed", "unavailable", "not_visible_yet", "internal")
_READ = (*_CHANGE, "query_limit")
_NS = 1_000_000

Latency = Annotated[float | None, Query(ge=0, le=1e12, allow_inf_nan=False)]


@router.get(
    "/projects/{project_identifier}/traces",
    response_model=Traces,
    operation_id="listProjectTraces",
    summary="List traces of a project",
    responses=error_responses(LLM, *_READ),
)
async def traces(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Annotated[Caller, Allowed("traces:read")],
    wait: Waits,
    project_identifier: Identifier,
    start_time: Annotated[datetime | None, Query(description="Traces that began at or after this; UTC without an offset.")] = None,
    end_time: Annotated[datetime | None, Query(description="Traces that began before this.")] = None,
    sort: Annotated[Sort, Query(description="What orders the list.")] = "start_time",
    order: Annotated[Order, Query(description="Rising or falling.")] = "desc",
    include_spans: Annotated[bool, Query(description="Also the spans, without their attributes.")] = False,
    session_identifier: Annotated[list[str] | None, Query(description="Only traces of these sessions: GlobalIDs or the programs' own ids.")] = None,
    error: Annotated[bool | None, Query(description="Only traces in which a span failed, or only those in which none did.")] = None,
    min_latency_ms: Annotated[Latency, Query(description="Only traces that took this long or longer.")] = None,
    max_latency_ms: Annotated[Latency, Query(description="Only traces that took this long or shorter.")] = None,
    cursor: Cursor = None,
    limit: Limit = LLM.paging.default,
) -> Response:
    """A trace begins with its first span and ends with the span that ends last, whether or not there is a root among them."""
    wanted = TraceFilter(
        start_ns=nanos(start_time),
        end_ns=nanos(end_time),
        sessions=[session_id(each) for each in session_identifier] if session_identifier else None,
        error=error,
        min_latency_ns=None if min_latency_ms is None else round(min_latency_ms * _NS),
        max_latency_ns=None if max_latency_ms is None else round(max_latency_ms * _NS),
    )
    page = await list_traces(
        parts,
        caller.tenant,
        project_identifier,
        wanted,
        sort=sort,
        descending=order == "desc",
        include_spans=include_spans,
        limit=limit,
        cursor=cursor,
        wait=wait,
    )
    return list_response(policy, page)


@router.post(
    "/traces/transfer",
    response_model=TransferAnswer,
    operation_id="transferTraces",
    summary="Move traces to a project",
    responses=error_responses(LLM, *_CHANGE),
)
async def transfer(parts: SharedParts, caller: Annotated[Caller, Allowed("traces:write")], body: Transfer) -> Response:
    """All of them or none; they must be in one project. Later spans of a moved trace follow it."""
    count, project = await SpanEditing(parts, caller).move(body.trace_identifiers, body.destination_project_identifier)
    return json_response({"data": {"transferred_trace_count": count, "destination_project_id": global_id("Project", project.number)}})


@router.delete("/traces/{trace_identifier}", status_code=204, operation_id="deleteTrace", summary="Delete a trace", responses=error_responses(LLM, *_CHANGE))
async def remove(
    parts: SharedParts, caller: Annotated[Caller, Allowed("traces:delete")], trace_identifier: Annotated[str, Path(description="GlobalID, or the trace id.")]
) -> Response:
    """With all its spans, also those that come later."""
    await SpanEditing(parts, caller).delete_trace(trace_identifier)
    return Response(status_code=204)
