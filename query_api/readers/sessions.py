"""Which sessions a project has, in the order in which they began."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from query_api.readers.batches import batches
from query_api.readers.rows import Rows, integer

# The first of many starts: the sessions on a page are mostly among theirs. Adding up every session of a project takes longer the more there are.
_STARTS: Final = """
SELECT session_id, toUnixTimestamp64Nano(began) AS began_ns FROM session_starts
WHERE tenant = {{tenant:String}} AND project = {{project:String}} AND {reached}
ORDER BY began {order} LIMIT {{window:UInt64}}
"""
_FIRST: Final = """
SELECT session_id, toUnixTimestamp64Nano(min(began)) AS began_ns FROM session_starts
WHERE tenant = {tenant:String} AND project = {project:String} AND session_id IN {sessions:Array(String)}
GROUP BY session_id
"""
_ALL: Final = """
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
_REACHED: Final = "began {side}= fromUnixTimestamp64Nano({{after_ns:Int64}}, 'UTC')"
_WINDOWS: Final = (4, 32)
"""Starts looked at for each session wanted, before all are: a session has as many as blocks named it, until they are merged."""
_NAMED_BYTES: Final = 30_000
"""Of the ids in one statement."""


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
        params: dict[str, Any] = {"tenant": tenant, "project": project, "limit": limit}
        having, reached = "1", "1"
        if after is not None:
            having, reached = _BEHIND.format(side=side), _REACHED.format(side=side)
            params |= {"after_ns": after.began_ns, "after_session": after.session_id}
        for starts in () if moved else _WINDOWS:
            rows = await self._rows.query(_STARTS.format(reached=reached, order=order), {**params, "window": starts * limit})
            places = sorted(await self._first({row["session_id"] for row in rows}, params), reverse=descending)
            if after is not None:
                places = [place for place in places if (place < after if descending else place > after)]
            if len(rows) < starts * limit:
                return places[:limit]
            # Whatever began before the last start of these has a start among them.
            edge = integer(rows[-1]["began_ns"])
            before = [place for place in places if (place.began_ns > edge if descending else place.began_ns < edge)]
            if len(before) >= limit:
                return before[:limit]
        return _places(await self._rows.query(_ALL.format(moved=_MOVED if moved else "", order=order, having=having), params))

    async def _first(self, sessions: Collection[str], params: Mapping[str, Any]) -> list[SessionPlace]:
        """When each of these began."""
        found: list[SessionPlace] = []
        for named in batches(sorted(sessions), _NAMED_BYTES):
            found += _places(await self._rows.query(_FIRST, {**params, "sessions": named}))
        return found


def _places(rows: Sequence[Mapping[str, Any]]) -> list[SessionPlace]:
    return [SessionPlace(integer(row["began_ns"]), row["session_id"]) for row in rows]
