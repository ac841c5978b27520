"""Fills a database of Arize Phoenix with the spans of export requests; runs in the environment of Arize Phoenix.

`python load_spans.py DATABASE < REQUESTS`, each request with its length in front, four bytes. The spans go through Phoenix's own decoder
and into its own models, the figures it keeps on parents added up as its door would, but many rows at a time.
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from openinference.semconv.trace import SpanAttributes
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from phoenix.db import models
from phoenix.db.engines import create_engine
from phoenix.trace.attributes import get_attribute_value
from phoenix.trace.otel import decode_otlp_span
from phoenix.trace.schemas import Span, SpanStatusCode
from sqlalchemy import insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession


def requests() -> Iterator[list[Span]]:
    """The decoded spans of each request."""
    while length := sys.stdin.buffer.read(4):
        request = ExportTraceServiceRequest.FromString(sys.stdin.buffer.read(int.from_bytes(length, "little")))
        yield [decode_otlp_span(span) for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def figures(spans: list[Span]) -> dict[str, tuple[int, int, int]]:
    """Errors, prompt and completion tokens of each span with all below it."""
    own = {span.context.span_id: [int(span.status_code is SpanStatusCode.ERROR), _tokens(span, "PROMPT"), _tokens(span, "COMPLETION")] for span in spans}
    parents = {span.context.span_id: span.parent_id for span in spans}
    added: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for span_id, values in own.items():
        above: str | None = span_id
        while above in own:
            added[above] = [total + value for total, value in zip(added[above], values, strict=True)]
            above = parents[above]
    return {span_id: (values[0], values[1], values[2]) for span_id, values in added.items()}


def _tokens(span: Span, which: str) -> int:
    return int(get_attribute_value(span.attributes, getattr(SpanAttributes, f"LLM_TOKEN_COUNT_{which}")) or 0)


class Loader:
    """Keeps the row ids that spans refer to."""

    def __init__(self, session: AsyncSession, project: int) -> None:
        self._session = session
        self._project = project
        self._sessions: dict[str, int] = {}

    async def store(self, spans: list[Span]) -> None:
        """Store the spans of whole traces."""
        traces: dict[str, list[Span]] = defaultdict(list)
        for span in spans:
            traces[span.context.trace_id].append(span)
        for name, times in self._new_sessions(traces).items():
            await self._session.execute(insert(models.ProjectSession).values(session_id=name, project_id=self._project, start_time=times[0], end_time=times[1]))
        if missing := [name for name in {_session(group) for group in traces.values()} if name not in self._sessions]:
            found = await self._session.execute(
                select(models.ProjectSession.session_id, models.ProjectSession.id).where(models.ProjectSession.session_id.in_(missing))
            )
            self._sessions |= dict(found.all())
        rows = [
            {
                "project_rowid": self._project,
                "trace_id": trace_id,
                "project_session_rowid": self._sessions[_session(group)],
                "start_time": min(span.start_time for span in group),
                "end_time": max(span.end_time for span in group),
            }
            for trace_id, group in traces.items()
        ]
        await self._session.execute(insert(models.Trace), rows)
        found = await self._session.execute(select(models.Trace.trace_id, models.Trace.id).where(models.Trace.trace_id.in_(list(traces))))
        numbers = dict(found.all())
        await self._session.execute(insert(models.Span), [row for trace_id, group in traces.items() for row in _rows(group, numbers[trace_id])])

    def _new_sessions(self, traces: dict[str, list[Span]]) -> dict[str, tuple[datetime, datetime]]:
        new: dict[str, tuple[datetime, datetime]] = {}
        for group in traces.values():
            name = _session(group)
            if name not in self._sessions:
                start, end = min(span.start_time for span in group), max(span.end_time for span in group)
                known = new.get(name, (start, end))
                new[name] = (min(start, known[0]), max(end, known[1]))
        return new


def _session(group: list[Span]) -> str:
    return str(get_attribute_value(group[0].attributes, SpanAttributes.SESSION_ID))


def _rows(group: list[Span], trace: int) -> Iterator[dict[str, Any]]:
    added = figures(group)
    for span in group:
        errors, prompt, completion = added[span.context.span_id]
        called = span.span_kind.value == "LLM"
        yield {
            "span_id": span.context.span_id,
            "trace_rowid": trace,
            "parent_id": span.parent_id,
            "span_kind": span.span_kind.value,
            "name": span.name,
            "start_time": span.start_time,
            "end_time": span.end_time,
            "attributes": span.attributes,
            "events": [asdict(event) for event in span.events],
            "status_code": span.status_code.value,
            "status_message": span.status_message,
            "cumulative_error_count": errors,
            "cumulative_llm_token_count_prompt": prompt,
            "cumulative_llm_token_count_completion": completion,
            "llm_token_count_prompt": _tokens(span, "PROMPT") if called else None,
            "llm_token_count_completion": _tokens(span, "COMPLETION") if called else None,
        }


async def main() -> None:
    """Fill the database named on the command line."""
    engine = create_engine(make_url(f"sqlite+aiosqlite:///{sys.argv[1]}"), migrate=False)
    async with AsyncSession(engine) as session:
        await session.execute(
            insert(models.Project).prefix_with("OR IGNORE").values(name="bench", gradient_start_color="#111111", gradient_end_color="#222222")
        )
        project = await session.scalar(select(models.Project.id).where(models.Project.name == "bench"))
        assert project is not None
        loader = Loader(session, project)
        for spans in requests():
            await loader.store(spans)
            await session.commit()
        # What a database gets that grew over time.
        await session.execute(text("ANALYZE"))
        await session.commit()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
