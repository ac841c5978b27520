"""Lists the spans of a project, newest first."""

from collections.abc import Callable
from typing import Any

from query_api.control.projects import Project
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.visible_read import read_visible
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.span_list_filter import SpanFilter
from query_api.readers.spans import Key, SpanReader, StoredSpan
from query_api.readers.visible_spans import SpansOfProject
from query_api.surfaces.policy import Page


async def list_spans(
    parts: Parts, tenant: str, project: str, wanted: SpanFilter, *, limit: int, cursor: str | None, wait: Wait, view: Callable[[StoredSpan], Any]
) -> Page:
    """One page, newest first. Raises NotFound for an unknown project, ValidationFailed for a cursor of another list."""
    after = decode_cursor(cursor, Key) if cursor else None

    async def read(_: Project, visible: SpansOfProject) -> list[StoredSpan]:
        return await SpanReader(parts.rows).page(visible, wanted, limit=limit + 1, after=after, newest=parts.newest)

    watermark, spans = await read_visible(parts, tenant, project, wait, read)
    page = spans[:limit]
    return Page([view(span) for span in page], encode_cursor(page[-1].key) if len(spans) > limit else None, watermark)
