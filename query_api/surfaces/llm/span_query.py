"""`spans` as a table: the queries of the clients' DataFrame methods, with the filter language of spans."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from secrets import token_urlsafe
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, Waits
from query_api.domain.span_query.frame import Frame
from query_api.domain.span_query.query import SpanQuery, understood
from query_api.domain.span_query.run import Range, SpanQueries
from query_api.errors import error_responses
from query_api.readers.span_query import Roots
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import WATERMARK_HEADER
from query_api.surfaces.streamed import streamed
from query_api.surfaces.times import nanos
from schemas.position import encode

router = APIRouter(tags=["spans"])


class TableQuery(BaseModel):
    """What of the spans, as `SpanQuery` of the client writes it. Nothing selected, exploded or joined: every column there is."""

    select: dict[str, Any] | None = Field(
        None, description="Fields, attributes and annotation results by column.", examples=[{"model": {"key": "llm.model_name"}}]
    )
    filter: dict[str, Any] | None = Field(
        None,
        description="A condition in a subset of Python's expressions, which is parsed and never run.",
        examples=[{"condition": "span_kind == 'LLM' and 'weather' in input.value and latency_ms > 100 and evals['quality'].label == 'good'"}],
    )
    explode: dict[str, Any] | None = Field(None, description="A list to make rows of.", examples=[{"key": "retrieval.documents"}])
    concat: dict[str, Any] | None = Field(None, description="A list whose texts become one.")
    rename: dict[str, Any] | None = Field(None, description="New names of columns by their old ones.")
    index: dict[str, Any] | None = Field(None, description="What the rows are called by; the span id if nothing else.")


class TableQueries(BaseModel):
    """Queries over the spans of one project."""

    queries: list[TableQuery] = Field(min_length=1, max_length=20)
    start_time: datetime | None = Field(None, description="Spans that began at or after this; UTC without an offset.")
    end_time: datetime | None = Field(None, description="Spans that began before this.")
    stop_time: datetime | None = Field(None, description="Former name of `end_time`.")
    limit: int = Field(1_000, ge=0, le=10_000_000, description="Most spans of a query.")
    root_spans_only: bool | None = Field(None, description="Only spans without a parent; the condition `parent_span is None` says the same.")
    orphan_span_as_root_span: bool = Field(True, description="Whether a span whose parent is not stored is one of them.")
    project_name: str | None = Field(None, description="Former place of the parameter.")


@router.post(
    "/spans",
    operation_id="querySpans",
    summary="Query spans as a table",
    responses={
        200: {"content": {"multipart/mixed": {"schema": {"type": "string"}}, "application/x-pandas-arrow": {"schema": {"type": "string", "format": "binary"}}}},
        **error_responses(LLM, "unauthenticated", "forbidden", "validation_failed", "query_limit", "unavailable", "not_visible_yet", "internal"),
    },
    response_class=StreamingResponse,
)
async def query_spans(
    parts: SharedParts,
    caller: Annotated[Caller, Allowed("traces:read")],
    wait: Waits,
    body: TableQueries,
    request: Request,
    project_name: Annotated[str | None, Query(description="Name of the project, or its GlobalID; the default project if not given.")] = None,
) -> Response:
    """One table for each query, the newest spans first. With `accept: application/json` pandas' table schema with the data by column, each table in a
    part of its own; else Arrow streams, one after the other. The path of `get_spans_dataframe`."""
    queries = [understood(query.model_dump()) for query in body.queries]
    runner = SpanQueries(parts)
    watermark = await parts.freshness.raw(wait)
    project = await runner.project(caller.tenant, project_name or body.project_name or parts.settings.default_project)
    roots: Roots = "" if not body.root_spans_only else "orphans too" if body.orphan_span_as_root_span else "strict"
    answer = _Answer(runner, caller.tenant, project, queries, Range(nanos(body.start_time), nanos(body.end_time or body.stop_time), body.limit, roots))
    headers = {WATERMARK_HEADER: encode(watermark)}
    if "application/json" in request.headers.get("accept", ""):
        boundary = token_urlsafe(32)
        return await streamed(answer.multipart(boundary), f"multipart/mixed; boundary={boundary}", headers)
    return await streamed(answer.arrow(), "application/x-pandas-arrow", headers)


class _Answer:
    def __init__(self, runner: SpanQueries, tenant: str, project: str, queries: list[SpanQuery], within: Range) -> None:
        self._runner = runner
        self._tenant = tenant
        self._project = project
        self._queries = queries
        self._within = within

    async def multipart(self, boundary: str) -> AsyncGenerator[bytes, None]:
        """While a table is still being read, blanks keep the client from giving up on it."""
        for query in self._queries:
            head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n".encode()
            async with aclosing(self._frames(query)) as frames:
                async for frame in frames:
                    yield head
                    head = b" "
                    if frame.whole:
                        for piece in frame.json():
                            yield piece
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    async def arrow(self) -> AsyncGenerator[bytes, None]:
        """Each table whole."""
        for query in self._queries:
            async with aclosing(self._frames(query)) as frames:
                async for frame in frames:
                    if frame.whole:
                        yield await asyncio.to_thread(_stream, frame)

    def _frames(self, query: SpanQuery) -> AsyncGenerator[Frame, None]:
        return self._runner.frame(self._tenant, self._project, query, self._within)


def _stream(frame: Frame) -> bytes:
    table = frame.table()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body
