"""Which stored spans a read may see: not those that were deleted, and a moved trace only in the project it is in now.

Every read of spans for the LLM surface asks here for its conditions, so that a deletion is in force everywhere at once and is
not undone by whatever of the same trace arrives later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from query_api.readers.conditions import Conditions
from query_api.readers.rows import Rows, integer
from schemas.position import Positions
from schemas.topics import SPAN_EDITS

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
_PLACES: Final = f"{SPAN_EDITS.name}:"
_MAX_KNOWN: Final = 10_000
"""Projects; then they are asked for again."""


@dataclass(frozen=True)
class SpansOfProject(Conditions):
    """The conditions of the spans that are in a project."""

    traces_moved: bool = False
    """Whether the tenant ever moved a trace, so that spans sent to another project may be in this one."""


class VisibleSpans:
    """Finds the conditions, by one small query where it does not know that nothing was edited since the last one."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._known: dict[tuple[str, str], tuple[Positions, Mapping[str, Any]]] = {}

    async def of_project(self, tenant: str, project: str, watermark: Positions | None = None) -> SpansOfProject:
        """The spans that are in a project, as of a watermark or of now: every edit that it covers is in force, later ones may be."""
        return _of_project(tenant, project, await (self._edits(tenant, project) if watermark is None else self._edits_as_of(tenant, project, watermark)))

    def remembered(self, tenant: str, project: str) -> SpansOfProject | None:
        """What `of_project` said as of the last watermark it was asked for; None when it was not asked. Does not block."""
        known = self._known.get((tenant, project))
        return None if known is None else _of_project(tenant, project, known[1])

    async def of_tenant(self, tenant: str) -> Conditions:
        """The spans of all projects of a tenant; `project` of a moved trace is where it came from."""
        edits = await self._edits(tenant, "")
        sql: list[str] = ["tenant = {tenant:String}", *_kept(edits)]
        params: dict[str, Any] = {"tenant": tenant}
        for number, (name, at_ns) in enumerate(edits["cuts"]):
            sql.append(f"NOT (project = {{cut_{number}:String}} AND start_time < fromUnixTimestamp64Nano({{cut_{number}_ns:Int64}}, 'UTC'))")
            params |= {f"cut_{number}": name, f"cut_{number}_ns": integer(at_ns)}
        return Conditions(sql, params)

    async def _edits(self, tenant: str, project: str) -> Mapping[str, Any]:
        (edits,) = await self._rows.query(_EDITS, {"tenant": tenant, "project": project})
        return edits

    async def _edits_as_of(self, tenant: str, project: str, watermark: Positions) -> Mapping[str, Any]:
        covered = {place: offset for place, offset in watermark.items() if place.startswith(_PLACES)}
        known = self._known.get((tenant, project))
        if known is None or known[0] != covered:
            known = covered, await self._edits(tenant, project)
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[tenant, project] = known
        return known[1]


def _of_project(tenant: str, project: str, edits: Mapping[str, Any]) -> SpansOfProject:
    params: dict[str, Any] = {"tenant": tenant, "project": project}
    own, cut = ["project = {project:String}"], integer(edits["cut_ns"])
    if cut > 0:
        own.append(_SINCE)
    if cut > 0 or integer(edits["moved"]):
        params["cut_ns"] = cut
    if not integer(edits["moved"]):
        return SpansOfProject(["tenant = {tenant:String}", *own, *_kept(edits)], params)
    inside = f"({' AND '.join([*own, _AWAY])} OR {_HERE})"
    return SpansOfProject(["tenant = {tenant:String}", inside, *_kept(edits)], params, traces_moved=True)


def _kept(edits: Any) -> list[str]:
    return [condition for condition, count in ((_NO_SPAN, edits["spans"]), (_NO_TRACE, edits["traces"])) if integer(count)]
