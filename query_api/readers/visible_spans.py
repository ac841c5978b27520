"""Which stored spans a read may see: not those that were deleted, and a moved trace only in the project it is in now.

Every read of spans for the LLM surface asks here for its conditions, so that a deletion is in force everywhere at once and is
not undone by whatever of the same trace arrives later.
"""

from typing import Any, Final

from query_api.readers.conditions import Conditions
from query_api.readers.rows import Rows, integer

_EDITS: Final = """
SELECT countIf(edit = 'span') AS spans, countIf(edit = 'trace') AS traces, countIf(edit = 'moved') AS moved,
       toUnixTimestamp64Nano(maxIf(at, edit = 'project' AND key = {project:String})) AS cut_ns,
       arrayMap(e -> (e.1, toUnixTimestamp64Nano(e.2)), groupArrayIf((key, at), edit = 'project')) AS cuts
FROM span_edits FINAL
WHERE tenant = {tenant:String}
"""
_OF: Final = "SELECT key FROM span_edits FINAL WHERE tenant = {tenant:String} AND edit"
_NO_SPAN: Final = f"concat(trace_id, span_id) NOT IN ({_OF} = 'span')"
_NO_TRACE: Final = f"trace_id NOT IN ({_OF} = 'trace')"
_SINCE: Final = "start_time >= fromUnixTimestamp64Nano({cut_ns:Int64}, 'UTC')"
_AWAY: Final = f"trace_id NOT IN ({_OF} = 'moved' AND project != {{project:String}})"
_HERE: Final = f"trace_id IN ({_OF} = 'moved' AND project = {{project:String}} AND at >= fromUnixTimestamp64Nano({{cut_ns:Int64}}, 'UTC'))"


class VisibleSpans:
    """Finds the conditions; one small query each time."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def of_project(self, tenant: str, project: str) -> Conditions:
        """The spans that are in a project."""
        (edits,) = await self._rows.query(_EDITS, {"tenant": tenant, "project": project})
        params: dict[str, Any] = {"tenant": tenant, "project": project}
        own, cut = ["project = {project:String}"], integer(edits["cut_ns"])
        if cut > 0:
            own.append(_SINCE)
        if cut > 0 or integer(edits["moved"]):
            params["cut_ns"] = cut
        if not integer(edits["moved"]):
            return Conditions(["tenant = {tenant:String}", *own, *_kept(edits)], params)
        inside = f"({' AND '.join([*own, _AWAY])} OR {_HERE})"
        return Conditions(["tenant = {tenant:String}", inside, *_kept(edits)], params)

    async def of_tenant(self, tenant: str) -> Conditions:
        """The spans of all projects of a tenant; `project` of a moved trace is where it came from."""
        (edits,) = await self._rows.query(_EDITS, {"tenant": tenant, "project": ""})
        sql: list[str] = ["tenant = {tenant:String}", *_kept(edits)]
        params: dict[str, Any] = {"tenant": tenant}
        for number, (name, at_ns) in enumerate(edits["cuts"]):
            sql.append(f"NOT (project = {{cut_{number}:String}} AND start_time < fromUnixTimestamp64Nano({{cut_{number}_ns:Int64}}, 'UTC'))")
            params |= {f"cut_{number}": name, f"cut_{number}_ns": integer(at_ns)}
        return Conditions(sql, params)


def _kept(edits: Any) -> list[str]:
    return [condition for condition, count in ((_NO_SPAN, edits["spans"]), (_NO_TRACE, edits["traces"])) if integer(count)]
