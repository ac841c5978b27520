"""Which projects have spans."""

from collections.abc import Sequence
from typing import Final

from query_api.readers.rows import Rows
from query_api.readers.visible_spans import VisibleSpans

_NAMES: Final = "SELECT project, min(received) AS first FROM spans WHERE {where} GROUP BY project ORDER BY first, project"
_ANY: Final = "SELECT 1 AS one FROM spans WHERE {where} LIMIT 1"


class ProjectReader:
    """Reads project names from the spans that are visible."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._visible = VisibleSpans(rows)

    async def names(self, tenant: str) -> Sequence[str]:
        """Names of all projects with spans, in the order in which the first span of each came."""
        conditions = await self._visible.of_tenant(tenant)
        return [row["project"] for row in await self._rows.query(_NAMES.format(where=conditions.where), conditions.params)]

    async def has_spans(self, tenant: str, name: str) -> bool:
        """Whether there is a span in a project of this name."""
        conditions = await self._visible.of_project(tenant, name)
        return bool(await self._rows.query(_ANY.format(where=conditions.where), conditions.params))
