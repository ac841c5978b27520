"""Deletes spans and traces and moves traces: each is an edit, stored like spans are and in force when the call returns.

What was deleted stays deleted whatever of it comes again. A deleted span leaves its children where they are.
"""

from collections.abc import Sequence
from typing import Final, Literal

from infra.runtime.errors import Conflict, NotFound, ValidationFailed
from query_api.access import Caller
from query_api.control.projects import Project
from query_api.domain.projects import Projects
from query_api.domain.span_view import span_id
from query_api.parts import Parts
from query_api.readers.span_edits import SpanEdits
from query_api.readers.spans import SpanReader
from query_api.readers.traces import TraceReader
from schemas.global_id import number_of, span_ids, trace_id
from schemas.topics import SPAN_EDITS

MAX_MOVED: Final = 1_000
"""Traces of one transfer."""
_SHOWN: Final = 200


class SpanEditing:
    """Edits of one caller's spans."""

    def __init__(self, parts: Parts, caller: Caller) -> None:
        self._parts = parts
        self._tenant = caller.tenant

    async def delete_span(self, identifier: str) -> None:
        """By GlobalID, or by the span id of OpenTelemetry. Raises NotFound, and Conflict when several traces have a span of this id."""
        number = number_of(identifier, "Span")
        ids = None if number is None else span_ids(number)
        visible = await self._parts.visible.of_tenant(self._tenant)
        found = await SpanReader(self._parts.rows).places(visible, [ids[1] if ids else identifier.lower()])
        matching = [place for place in found if ids is None or place.trace_id == ids[0]]
        if not matching:
            raise NotFound(f"Span with {'ID' if ids else 'span_id'} '{identifier[:_SHOWN]}' not found")
        if len(matching) > 1:
            several = ", ".join(span_id(place.trace_id, place.span_id) for place in matching[:5])
            raise Conflict(f"{len(matching)} traces have a span with span_id '{identifier[:_SHOWN]}'; delete it by its ID, one of: {several}")
        await self.write("span", [matching[0].trace_id + matching[0].span_id])

    async def delete_trace(self, identifier: str) -> None:
        """By GlobalID, or by the trace id of OpenTelemetry. Raises NotFound."""
        visible = await self._parts.visible.of_tenant(self._tenant)
        if not await TraceReader(self._parts.rows).of_ids(visible, [_trace(identifier)]):
            named = "trace_id" if number_of(identifier, "Trace") is None else "ID"
            raise NotFound(f"Trace with {named} '{identifier[:_SHOWN]}' not found")
        await self.write("trace", [_trace(identifier)])

    async def move(self, identifiers: Sequence[str], destination: str) -> tuple[int, Project]:
        """Moves traces to another project; gives how many, and the project.

        Raises NotFound when a trace or the project is unknown, and ValidationFailed when the traces are not all in one project.
        """
        project = await Projects(self._parts).get(self._tenant, destination)
        wanted = list(dict.fromkeys(_trace(identifier) for identifier in identifiers))
        visible = await self._parts.visible.of_tenant(self._tenant)
        homes = {trace.trace_id: trace.home for trace in await TraceReader(self._parts.rows).of_ids(visible, wanted)}
        missing = [each for each in wanted if each not in homes]
        if missing:
            raise NotFound(f"One or more traces not found: {', '.join(each[:_SHOWN] for each in missing[:10])}")
        homes |= await SpanEdits(self._parts.rows).moved(self._tenant, wanted)
        if len(set(homes.values())) > 1:
            raise ValidationFailed(f"Cannot transfer traces from multiple projects at once; they are in: {', '.join(sorted(set(homes.values())))}")
        await self.write("moved", wanted, project.name)
        return len(wanted), project

    async def write(self, edit: Literal["span", "trace", "moved"], keys: Sequence[str], project: str = "") -> None:
        """Stores edits; they are in force when this returns. Raises NotVisibleYet when that takes too long; they stay stored."""
        now_ns = self._parts.clock.now_us() * 1_000
        rows = [{"tenant": self._tenant, "edit": edit, "key": key, "project": project, "at": now_ns} for key in keys]
        await self._parts.writer.visible(await self._parts.writer.write(SPAN_EDITS, rows))


def _trace(identifier: str) -> str:
    number = number_of(identifier, "Trace")
    return (trace_id(number) if number is not None else None) or identifier.lower()
