"""The newest stored spans, as rules of evaluation see them."""

from typing import Final

from query_api.readers.rows import Rows, integer
from query_api.readers.visible_spans import VisibleSpans
from schemas.evaluators.span import COLUMNS, EvaluatedSpan

_MINUTE: Final = "toStartOfMinute(start_time)"
# FINAL is dear, so it is kept to the newest minutes that hold twice the spans wanted, counted without it.
_FLOOR: Final = f"""
SELECT toUnixTimestamp(max(minute)) AS floor_s FROM (
    SELECT minute, sum(spans) OVER (ORDER BY minute DESC) AS newer FROM (
        SELECT {_MINUTE} AS minute, count() AS spans FROM spans WHERE {{conditions}} GROUP BY minute
    )
) WHERE newer >= 2 * {{limit:UInt32}}
"""
_NEWEST: Final = f"""
SELECT {COLUMNS}
FROM spans FINAL
WHERE {{conditions}}
ORDER BY start_time DESC, trace_id DESC, span_id DESC
LIMIT 1 BY trace_id, span_id
LIMIT {{limit:UInt32}}
"""


class NewestSpans:
    """Reads ended spans that were not deleted."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._visible = VisibleSpans(rows)

    async def newest(self, tenant: str, project: str, *, roots: bool, limit: int) -> list[EvaluatedSpan]:
        """Up to `limit` spans, the newest first: of a project, or of all when it is empty; with `roots` only those without a parent."""
        visible = await (self._visible.of_project(tenant, project) if project else self._visible.of_tenant(tenant))
        wanted = visible.and_also("quarantined = 0 AND end_time > toDateTime64(0, 9, 'UTC')" + (" AND parent_id = ''" if roots else ""), limit=limit)
        (floor,) = await self._rows.query(_FLOOR.replace("{conditions}", wanted.where), wanted.params)
        floor_s = integer(floor["floor_s"] or 0)
        near = wanted.and_also(f"{_MINUTE} >= toDateTime({{floor_s:UInt32}}, 'UTC')", floor_s=floor_s)
        rows = await self._rows.query(_NEWEST.replace("{conditions}", near.where), near.params)
        return [EvaluatedSpan.from_row(row) for row in rows]
