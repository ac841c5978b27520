"""Which sessions a project has, in the order in which they began."""

from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from query_api.readers.rows import Rows, integer

_PAGE: Final = """
SELECT session_id, toUnixTimestamp64Nano(min(began)) AS began_ns FROM (
    SELECT session_id, began FROM session_starts WHERE tenant = {{tenant:String}} AND project = {{project:String}}
    {moved}
)
GROUP BY session_id HAVING {having}
ORDER BY began_ns {order}, session_id {order} LIMIT {{limit:UInt32}}
"""
_MOVED: Final = """UNION ALL
    SELECT session_id, start_time AS began FROM spans WHERE tenant = {tenant:String} AND session_id != '' AND trace_id IN (
        SELECT key FROM span_edits FINAL WHERE tenant = {tenant:String} AND edit = 'moved' AND project = {project:String}
    )"""
_BEHIND: Final = "(began_ns, session_id) {side} ({{after_ns:Int64}}, {{after_session:String}})"


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
        order, side = ("DESC", "<") if descending else ("ASC", ">")
        sql = _PAGE.format(moved=_MOVED if moved else "", order=order, having=_BEHIND.format(side=side) if after else "1")
        behind = {"after_ns": after.began_ns, "after_session": after.session_id} if after else {}
        rows = await self._rows.query(sql, {"tenant": tenant, "project": project, "limit": limit, **behind})
        return [SessionPlace(integer(row["began_ns"]), row["session_id"]) for row in rows]
