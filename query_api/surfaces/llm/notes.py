"""Notes: what people write down about a span, a trace or a session. They are annotations named `note`."""

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from infra.runtime.clock import uuid7
from query_api.access import Caller
from query_api.dependencies import SharedParts
from query_api.domain.annotations import Annotations, Draft
from query_api.errors import error_responses
from query_api.parts import Parts
from query_api.surfaces.llm import annotation_models as models
from query_api.surfaces.llm.annotations import POSITION_HEADER, Writer
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import json_response
from schemas.annotation import NOTE, Target
from schemas.position import encode

router = APIRouter(tags=["annotations"])

_ERRORS: Final = ("unauthenticated", "forbidden", "not_found", "validation_failed", "too_large", "unavailable", "not_visible_yet", "internal")


async def _add(parts: Parts, caller: Caller, target: Target, target_id: str, note: models.NoteData) -> Response:
    identifier = note.identifier or f"note:{uuid7(parts.clock.now_us())}"
    draft = Draft(target_id, NOTE, "HUMAN", explanation=note.note, identifier=identifier)
    (added,), positions = await Annotations(parts).write_visible(caller, target, [draft])
    return json_response({"data": {"id": added}}, headers={POSITION_HEADER: encode(positions)})


@router.post(
    "/span_notes", response_model=models.InsertedOne, operation_id="createSpanNote", summary="Add a note to a span", responses=error_responses(LLM, *_ERRORS)
)
async def note_span(parts: SharedParts, caller: Writer, body: models.SpanNote) -> Response:
    """Seen when this answers. Every call adds one, unless it names the identifier of an earlier one."""
    return await _add(parts, caller, "span", body.data.span_id, body.data)


@router.post(
    "/trace_notes", response_model=models.InsertedOne, operation_id="createTraceNote", summary="Add a note to a trace", responses=error_responses(LLM, *_ERRORS)
)
async def note_trace(parts: SharedParts, caller: Writer, body: models.TraceNote) -> Response:
    """As for spans."""
    return await _add(parts, caller, "trace", body.data.trace_id, body.data)


@router.post(
    "/session_notes",
    response_model=models.InsertedOne,
    operation_id="createSessionNote",
    summary="Add a note to a session",
    responses=error_responses(LLM, *_ERRORS),
)
async def note_session(parts: SharedParts, caller: Writer, body: models.SessionNote) -> Response:
    """As for spans."""
    return await _add(parts, caller, "session", body.data.session_id, body.data)
