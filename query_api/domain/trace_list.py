"""Lists the traces of a project."""

from collections import defaultdict
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from infra.runtime.errors import ValidationFailed
from query_api.control.projects import Project
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.span_view import span_id, span_kind, status_name, time_json
from query_api.domain.visible_read import read_visible
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.traces import Sort, Trace, TraceFilter, TracePlace, TraceReader, TraceSpan
from query_api.readers.visible_spans import SpansOfProject
from query_api.surfaces.policy import Page
from schemas.global_id import global_id, trace_number
from schemas.windows import to_iso


class _Cursor(NamedTuple):
    sort: str
    value: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    trace_id: str


async def list_traces(
    parts: Parts,
    tenant: str,
    project: str,
    wanted: TraceFilter,
    *,
    sort: Sort,
    descending: bool,
    include_spans: bool,
    limit: int,
    cursor: str | None,
    wait: Wait,
) -> Page:
    """One page. Raises NotFound for an unknown project, ValidationFailed for a cursor of another list."""
    after = TracePlace(*decode_cursor(cursor, _Cursor)) if cursor else None
    if after is not None and after.sort != sort:
        raise ValidationFailed(f"the cursor belongs to a list sorted by {after.sort[:40]!r}; start again without it")

    async def read(found: Project, visible: SpansOfProject) -> tuple[list[dict[str, Any]], str | None]:
        reader = TraceReader(parts.rows)
        places = await reader.page(visible, wanted, sort=sort, descending=descending, limit=limit + 1, after=after)
        page = [place.trace_id for place in places[:limit]]
        traces = {trace.trace_id: trace for trace in await reader.of_ids(visible, page)}
        spans: dict[str, list[dict[str, Any]]] = defaultdict(list)
        if include_spans and page:
            for span in await reader.spans(visible, page):
                spans[span.trace_id].append(_span_json(span))
        project_id = global_id("Project", found.number)
        items = [_trace_json(traces[each], project_id, spans[each] if include_spans else None) for each in page if each in traces]
        return items, encode_cursor(places[limit - 1]) if len(places) > limit else None

    watermark, (items, following) = await read_visible(parts, tenant, project, wait, read)
    return Page(items, following, watermark)


def trace_times(trace: Trace) -> dict[str, str]:
    """What lists of traces and sessions alike show of a trace."""
    return {
        "id": global_id("Trace", trace_number(trace.trace_id)),
        "trace_id": trace.trace_id,
        "start_time": to_iso(trace.start_ns // 1_000),
        "end_time": to_iso(trace.end_ns // 1_000),
    }


def token_counts(prompt: int, completion: int) -> dict[str, int]:
    """Tokens as traces and sessions show them."""
    return {"token_count_prompt": prompt, "token_count_completion": completion, "token_count_total": prompt + completion}


def _trace_json(trace: Trace, project_id: str, spans: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {**trace_times(trace), "project_id": project_id, **token_counts(trace.prompt, trace.completion), "spans": spans}


def _span_json(span: TraceSpan) -> dict[str, Any]:
    return {
        "id": span_id(span.trace_id, span.span_id),
        "span_id": span.span_id,
        "parent_id": span.parent_id or None,
        "name": span.name,
        "span_kind": span_kind(span.span_kind),
        "status_code": status_name(span.status_code),
        "start_time": to_iso(span.start_ns // 1_000),
        "end_time": time_json(span.end_ns),
    }
