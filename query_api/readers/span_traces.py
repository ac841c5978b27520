"""Which trace a span belongs to, and what traces cost in tokens."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from query_api.readers.rows import Rows, integer
from query_api.readers.visible_spans import VisibleSpans

_TRACES: Final = "SELECT span_id, argMax(trace_id, start_time) AS trace FROM spans WHERE {where} AND span_id IN {{ids:Array(String)}} GROUP BY span_id"
_TOKENS: Final = """
SELECT trace_id, sum(prompt_tokens) AS prompt, sum(completion_tokens) AS completion FROM spans FINAL WHERE {where}
GROUP BY trace_id HAVING prompt + completion > 0
"""
_BATCH: Final = 5_000
"""Ids in one query."""


class Tokens(NamedTuple):
    """Tokens of a trace."""

    prompt: int
    completion: int


class SpanTraces:
    """Reads from the spans that are visible."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._visible = VisibleSpans(rows)

    async def traces(self, tenant: str, span_ids: Sequence[str]) -> Mapping[str, str]:
        """Trace id by span id, of those that are stored; of the newest span where several traces have one of this id."""
        conditions = await self._visible.of_tenant(tenant)
        found: dict[str, str] = {}
        for start in range(0, len(span_ids), _BATCH):
            ids = list(span_ids[start : start + _BATCH])
            rows = await self._rows.query(_TRACES.format(where=conditions.where), {**conditions.params, "ids": ids})
            found |= {row["span_id"]: row["trace"] for row in rows}
        return found

    async def tokens(self, tenant: str, project: str) -> Mapping[str, Tokens]:
        """Tokens by trace id, of the traces of a project that used any."""
        conditions = await self._visible.of_project(tenant, project)
        rows = await self._rows.query(_TOKENS.format(where=conditions.where), conditions.params)
        return {row["trace_id"]: Tokens(integer(row["prompt"]), integer(row["completion"])) for row in rows}
