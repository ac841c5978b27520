"""Sessions: listed, read and deleted. A session is every trace with a span that names it."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from infra.runtime.errors import NotFound, ValidationFailed
from query_api.access import Caller
from query_api.control.projects import Project
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.projects import Projects
from query_api.domain.span_delete import SpanEditing
from query_api.domain.trace_list import token_counts, trace_times
from query_api.domain.visible_read import read_visible
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.sessions import SessionPlace, SessionReader
from query_api.readers.span_edits import SpanEdits
from query_api.readers.traces import Trace, TraceReader
from query_api.readers.visible_spans import SpansOfProject
from query_api.surfaces.policy import Page
from schemas.global_id import global_id, number_of, number_text, text_number
from schemas.windows import to_iso

_BATCH: Final = 1_000
_SHOWN: Final = 200


class Sessions:
    """The sessions of a tenant."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._traces = TraceReader(parts.rows)
        self._visible = parts.visible

    async def page(self, tenant: str, project: str, *, descending: bool, limit: int, cursor: str | None, wait: Wait) -> Page:
        """One page, by the start of their first span. Raises NotFound for an unknown project, ValidationFailed for a cursor of another list."""
        after = decode_cursor(cursor, SessionPlace) if cursor else None

        async def read(found: Project, visible: SpansOfProject) -> list[tuple[SessionPlace, dict[str, Any]]]:
            return await self._shown(tenant, found, visible, descending, limit + 1, after)

        watermark, shown = await read_visible(self._parts, tenant, project, wait, read)
        page = shown[:limit]
        return Page([item for _, item in page], encode_cursor(page[-1][0]) if len(shown) > limit else None, watermark)

    async def _shown(
        self, tenant: str, project: Project, visible: SpansOfProject, descending: bool, limit: int, after: SessionPlace | None
    ) -> list[tuple[SessionPlace, dict[str, Any]]]:
        """Up to `limit` sessions; those of which nothing is visible any more are passed over."""
        reader = SessionReader(self._parts.rows)
        shown: list[tuple[SessionPlace, dict[str, Any]]] = []
        while len(shown) < limit:
            wanted = limit - len(shown)
            places = await reader.page(tenant, project.name, moved=visible.traces_moved, descending=descending, limit=wanted, after=after)
            traces = _by_session(await self._traces.of_sessions(visible, [place.session_id for place in places]))
            shown += [(place, _session_json(place.session_id, project, traces[place.session_id])) for place in places if traces[place.session_id]]
            if len(places) < wanted:
                break
            after = places[-1]
        return shown

    async def get(self, tenant: str, identifier: str) -> dict[str, Any]:
        """One session by GlobalID or the program's own id, as of the project in which it was active last. Raises NotFound."""
        session = session_id(identifier)
        traces = await self._traces.of_sessions(await self._visible.of_tenant(tenant), [session])
        if not traces:
            raise _unknown(identifier)
        moved = await SpanEdits(self._parts.rows).moved(tenant, [trace.trace_id for trace in traces])
        homes = {trace.trace_id: moved.get(trace.trace_id, trace.home) for trace in traces}
        home = homes[max(traces, key=lambda trace: trace.end_ns).trace_id]
        project = await Projects(self._parts).named(tenant, home)
        return _session_json(session, project, [trace for trace in traces if homes[trace.trace_id] == home])

    async def delete(self, caller: Caller, identifier: str) -> None:
        """Deletes the traces of a session. Raises NotFound."""
        if not await self._delete(caller, [session_id(identifier)]):
            raise _unknown(identifier)

    async def delete_several(self, caller: Caller, identifiers: Sequence[str]) -> None:
        """Deletes the traces of sessions; unknown ones are passed over. Raises ValidationFailed for none, and for ids of both kinds at once."""
        if not identifiers:
            raise ValidationFailed("Session identifier list must not be empty.")
        if len({number_of(identifier, "ProjectSession") is None for identifier in identifiers}) > 1:
            raise ValidationFailed("All identifiers must be the same type: either all GlobalIDs or all session_id strings.")
        sessions = [session_id(identifier) for identifier in identifiers]
        for start in range(0, len(sessions), _BATCH):
            await self._delete(caller, sessions[start : start + _BATCH])

    async def _delete(self, caller: Caller, sessions: Sequence[str]) -> bool:
        traces = await self._traces.of_sessions(await self._visible.of_tenant(caller.tenant), sessions)
        if traces:
            await SpanEditing(self._parts, caller).write("trace", [trace.trace_id for trace in traces])
        return bool(traces)


def session_id(identifier: str) -> str:
    """The id that a program gave a session, by its GlobalID or by itself."""
    number = number_of(identifier, "ProjectSession")
    return (number_text(number) if number is not None else None) or identifier


def _unknown(identifier: str) -> NotFound:
    named = "session_id" if number_of(identifier, "ProjectSession") is None else "ID"
    return NotFound(f"Session with {named} {identifier[:_SHOWN]} not found")


def _by_session(traces: Sequence[Trace]) -> dict[str, list[Trace]]:
    found: dict[str, list[Trace]] = defaultdict(list)
    for trace in traces:
        for session in trace.sessions:
            found[session].append(trace)
    return found


def _session_json(session: str, project: Project, traces: Sequence[Trace]) -> dict[str, Any]:
    return {
        "id": global_id("ProjectSession", text_number(session)),
        "session_id": session,
        "project_id": global_id("Project", project.number),
        "start_time": to_iso(min(trace.start_ns for trace in traces) // 1_000),
        "end_time": to_iso(max(trace.end_ns for trace in traces) // 1_000),
        "traces": [trace_times(trace) for trace in traces],
        **token_counts(sum(trace.prompt for trace in traces), sum(trace.completion for trace in traces)),
    }
