"""What was done to the spans and traces that somebody names: which were deleted, and where traces were moved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from query_api.readers.rows import Rows, integer

_DELETED: Final = """
SELECT edit, key, toUnixTimestamp64Nano(at) AS at_ns FROM span_edits FINAL
WHERE tenant = {tenant:String} AND (edit, key) IN (
    SELECT 'span', arrayJoin({spans:Array(String)}) UNION ALL SELECT 'trace', arrayJoin({traces:Array(String)}) UNION ALL SELECT 'project', {project:String}
)
"""
_MOVED: Final = """
SELECT key, project FROM span_edits FINAL WHERE tenant = {tenant:String} AND edit = 'moved' AND key IN {traces:Array(String)}
"""


@dataclass(frozen=True)
class Deleted:
    """What of it is deleted."""

    spans: frozenset[str]
    """Trace id and span id together."""
    traces: frozenset[str]
    project_cut_ns: int
    """Spans of the project that began before this are; 0 for none."""


class SpanEdits:
    """Reads edits by their keys."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def of(self, tenant: str, project: str, spans: Sequence[tuple[str, str]]) -> Deleted:
        """Of a project, and of spans by trace id and span id."""
        keys = {"spans": ["".join(span) for span in spans], "traces": list({trace for trace, _ in spans}), "project": project}
        rows = await self._rows.query(_DELETED, {"tenant": tenant, **keys})
        of = {edit: frozenset(row["key"] for row in rows if row["edit"] == edit) for edit in ("span", "trace")}
        return Deleted(of["span"], of["trace"], max((integer(row["at_ns"]) for row in rows if row["edit"] == "project"), default=0))

    async def moved(self, tenant: str, traces: Sequence[str]) -> dict[str, str]:
        """Project by trace id, of those that were moved."""
        rows = await self._rows.query(_MOVED, {"tenant": tenant, "traces": list(traces)})
        return {row["key"]: row["project"] for row in rows}
