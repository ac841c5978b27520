"""Which sessions a project has, in the order in which they began."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from query_api.readers.rows import Rows, integer

# The first of many starts, to find out which sessions can be on the page at all: adding up every session of a project takes longer the more there are.
_EDGE: Final = """
SELECT count() AS starts, toUnixTimestamp64Nano({furthest}(began)) AS edge_ns FROM (
    SELECT began FROM session_starts WHERE tenant = {{tenant:String}} AND project = {{project:String}} AND {reached}
    ORDER BY began {order} LIMIT {{window:UInt64}}
)
"""
_PAGE: Final = """
SELECT session_id, toUnixTimestamp64Nano(min(began)) AS began_ns FROM (
    SELECT session_id, began FROM session_starts WHERE tenant = {{tenant:String}} AND project = {{project:String}} AND {likely}
    {moved}
)
GROUP BY session_id HAVING {having}
ORDER BY began_ns {order}, session_id {order} LIMIT {{limit:UInt32}}
"""
_LIKELY: Final = """session_id IN (
        SELECT session_id FROM session_starts WHERE tenant = {{tenant:String}} AND project = {{project:String}} AND {reached} AND {within}
    )"""
_MOVED: Final = """UNION ALL
    SELECT session_id, start_time AS began FROM spans WHERE tenant = {tenant:String} AND session_id != '' AND trace_id IN (
        SELECT key FROM span_edits FINAL WHERE tenant = {tenant:String} AND edit = 'moved' AND project = {project:String}
    )"""
_BEHIND: Final = "(began_ns, session_id) {side} ({{after_ns:Int64}}, {{after_session:String}})"
_BEGAN: Final = "began {side}= fromUnixTimestamp64Nano({{{name}:Int64}}, 'UTC')"
_STARTS_OF_SESSION: Final = 4
"""Looked at for each session wanted: one has as many as blocks named it, until they are merged."""
_GROWTH: Final = 8


class SessionPlace(NamedTuple):
    """Place of a session in the list."""

    began_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    session_id: str


class SessionReader:
    """Reads the sessions that spans named."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def page(self, tenant: str, project: str, *, moved: bool, descending: bool, limit: int, after: SessionPlace | None = None) -> list[SessionPlace]:
        """Up to `limit` sessions from behind a place on, also those whose spans are deleted or in another project by now. With `moved` those of
        traces that were moved here too."""
        order, side, other, furthest = ("DESC", "<", ">", "min") if descending else ("ASC", ">", "<", "max")
        params: dict[str, Any] = {"tenant": tenant, "project": project, "limit": limit}
        having, reached = "1", "1"
        if after is not None:
            having, reached = _BEHIND.format(side=side), _BEGAN.format(side=side, name="after_ns")
            params |= {"after_ns": after.began_ns, "after_session": after.session_id}
        window = _STARTS_OF_SESSION * limit
        while not moved:
            sql = _EDGE.format(furthest=furthest, reached=reached, order=order)
            (edge,) = await self._rows.query(sql, {**params, "window": window})
            if integer(edge["starts"]) < window:
                break
            # Every session that began before the edge has a start there, and those that began behind it are not on this page.
            likely = _LIKELY.format(reached=reached, within=_BEGAN.format(side=other, name="edge_ns"))
            inside = f"{having} AND began_ns {other}= {{edge_ns:Int64}}"
            found = await self._page(_PAGE.format(likely=likely, moved="", order=order, having=inside), {**params, "edge_ns": integer(edge["edge_ns"])})
            if len(found) == limit:
                return found
            window *= _GROWTH
        return await self._page(_PAGE.format(likely="1", moved=_MOVED if moved else "", order=order, having=having), params)

    async def _page(self, sql: str, params: Mapping[str, Any]) -> list[SessionPlace]:
        return [SessionPlace(integer(row["began_ns"]), row["session_id"]) for row in await self._rows.query(sql, params)]
