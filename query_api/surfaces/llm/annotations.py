"""Annotations of spans, traces, sessions and documents: written, listed and deleted."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.responses import Response

from infra.runtime.errors import InvalidArgument, ValidationFailed
from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy, Waits
from query_api.domain.annotations import Annotations, Draft, malformed, noun
from query_api.errors import error_responses
from query_api.parts import Parts
from query_api.readers.annotations import AnnotationFilter
from query_api.surfaces.llm import annotation_models as models
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import Policy, json_response, list_response
from query_api.surfaces.times import micros
from schemas.annotation import NOTE, Target
from schemas.position import encode

router = APIRouter(tags=["annotations"])

POSITION_HEADER: Final = "X-Millstream-Position"
MAX_IDS: Final = 1_000
"""Ids that one list may be asked for."""
MAX_PAGE: Final = 10_000
_READ: Final = ("unauthenticated", "forbidden", "not_found", "validation_failed", "unavailable", "internal")
_CHANGE: Final = (*_READ, "not_visible_yet")
_WRITE: Final = (*_CHANGE, "invalid_argument", "too_large")

Reader = Annotated[Caller, Allowed("traces:read")]
Writer = Annotated[Caller, Allowed("traces:write")]
Deleter = Annotated[Caller, Allowed("traces:delete")]
Project = Annotated[str, Path(description="Name of the project, or its GlobalID.", examples=["default"])]
Sync = Annotated[bool, Query(description="Refuse what does not exist, wait until the annotations are visible, and return their ids.")]
Ids = Annotated[list[str] | None, Query(description="Only those of these targets; may be repeated, up to 1,000 times. Needed unless `identifier` is given.")]
Name = Annotated[str, Field(min_length=1)]


async def _write(parts: Parts, caller: Caller, target: Target, drafts: Sequence[Draft], sync: bool) -> Response:
    """Answers a request that writes. Raises InvalidArgument for the name of notes."""
    if not drafts:
        return json_response({"data": []})
    if target != "document" and any(draft.name == NOTE for draft in drafts):
        raise InvalidArgument(f"The name {NOTE!r} is reserved for notes. Use POST /v1/{target}_notes instead.")
    if sync:
        ids, positions = await Annotations(parts).write_visible(caller, target, drafts)
        return json_response({"data": [{"id": each} for each in ids]}, headers={POSITION_HEADER: encode(positions)})
    # What waits for its target must be able to find it; a target that has to be there already is looked for instead.
    _check_ids(target, drafts)
    positions = await Annotations(parts).write(caller, target, drafts)
    return json_response({"data": []}, headers={POSITION_HEADER: encode(positions)})


def _check_ids(target: Target, drafts: Sequence[Draft]) -> None:
    faults = [
        {"type": "value_error", "loc": ("body", "data", index, f"{noun(target)}_id"), "msg": problem}
        for index, draft in enumerate(drafts)
        if (problem := malformed(target, draft.target_id))
    ]
    if faults:
        raise RequestValidationError(faults)


class _Listing:
    """Which annotations to list, as the query says it beside the targets."""

    def __init__(
        self,
        wait: Waits,
        identifier: Annotated[list[Name] | None, Query(description="Only those with these identifiers; may be repeated.")] = None,
        include_annotation_names: Annotated[list[str] | None, Query(description="Only these names; may be repeated.")] = None,
        exclude_annotation_names: Annotated[list[str] | None, Query(description="Not these names, such as `note`; may be repeated.")] = None,
        cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most annotations in the answer.")] = 10,
    ) -> None:
        self.wait, self.cursor, self.limit = wait, cursor, limit
        self._identifiers, self._names, self._others = identifier or None, include_annotation_names or None, exclude_annotation_names or None

    async def answer(self, parts: Parts, policy: Policy, caller: Caller, project: str, target: Target, ids: Sequence[str] | None) -> Response:
        """The page. Raises ValidationFailed without ids and identifiers, and with too many."""
        name = f"{noun(target)}_id"
        for words, given in ((f"{name}s", ids), ("identifiers", self._identifiers)):
            if len(given or ()) > MAX_IDS:
                raise ValidationFailed(f"Too many {words} supplied: {len(given or ())} (max {MAX_IDS})")
        if not ids and not self._identifiers:
            raise ValidationFailed(f"At least one of {name}s or identifier must be supplied")
        wanted_ids = list(dict.fromkeys(each if target == "session" else each.lower() for each in ids)) if ids else None
        wanted = AnnotationFilter(wanted_ids, self._identifiers, self._names, self._others)
        watermark = await parts.freshness.raw(self.wait)
        page = await Annotations(parts).page(caller.tenant, project, target, wanted, limit=self.limit, cursor=self.cursor, watermark=watermark)
        return list_response(policy, page)


class _Deletion:
    """Which annotations to delete, as the query says it."""

    def __init__(
        self,
        name: Annotated[str | None, Query(min_length=1, description="Only those of this name.")] = None,
        identifier: Annotated[str | None, Query(min_length=1, description="Only the one with this identifier.")] = None,
        annotator_kind: Annotated[models.Kind | None, Query(description="Only those of this kind of annotator.")] = None,
        start_time: Annotated[datetime | None, Query(description="Only those created at or after this; UTC without an offset.")] = None,
        end_time: Annotated[datetime | None, Query(description="Only those created before this.")] = None,
        delete_all: Annotated[bool, Query(description="Needed unless both times are given.")] = False,
    ) -> None:
        if not delete_all and (start_time is None or end_time is None):
            raise ValidationFailed("Delete is unbounded. Set delete_all=true, or give both start_time and end_time.")
        start_us, end_us = micros(start_time), micros(end_time)
        if start_us is not None and end_us is not None and start_us >= end_us:
            raise ValidationFailed("`start_time` must be earlier than `end_time`.")
        self.wanted = AnnotationFilter(
            names=name and [name],
            identifiers=identifier and [identifier],
            annotator_kind=annotator_kind,
            created_from_us=start_us,
            created_before_us=end_us,
        )


Listing = Annotated[_Listing, Depends()]
Deletion = Annotated[_Deletion, Depends()]


async def _delete(parts: Parts, caller: Caller, project: str, target: Target, deletion: _Deletion) -> Response:
    await Annotations(parts).delete(caller, project, target, deletion.wanted)
    return Response(status_code=204)


@router.post(
    "/span_annotations",
    response_model=models.InsertedList,
    operation_id="annotateSpans",
    summary="Write annotations of spans",
    responses=error_responses(LLM, *_WRITE),
)
async def annotate_spans(parts: SharedParts, caller: Writer, body: models.SpanAnnotations, sync: Sync = False) -> Response:
    """Without `sync` the annotations may come before their spans, and are seen as soon as those are stored."""
    return await _write(parts, caller, "span", [each.draft() for each in body.data], sync)


@router.get(
    "/projects/{project_identifier}/span_annotations",
    response_model=models.SpanAnnotationPage,
    operation_id="listSpanAnnotationsBySpanIds",
    summary="List annotations of spans",
    responses=error_responses(LLM, *_READ),
)
async def list_of_spans(
    parts: SharedParts, policy: SurfacePolicy, caller: Reader, project_identifier: Project, listing: Listing, span_ids: Ids = None
) -> Response:
    """Newest first by when they were created. Those of deleted spans are not found."""
    return await listing.answer(parts, policy, caller, project_identifier, "span", span_ids)


@router.delete(
    "/projects/{project_identifier}/span_annotations",
    status_code=204,
    operation_id="deleteSpanAnnotations",
    summary="Delete annotations of spans",
    responses=error_responses(LLM, *_CHANGE),
)
async def delete_of_spans(parts: SharedParts, caller: Deleter, project_identifier: Project, deletion: Deletion) -> Response:
    """All that match every given condition, for reads at once; deleting none is a success too."""
    return await _delete(parts, caller, project_identifier, "span", deletion)


@router.post(
    "/trace_annotations",
    response_model=models.InsertedList,
    operation_id="annotateTraces",
    summary="Write annotations of traces",
    responses=error_responses(LLM, *_WRITE),
)
async def annotate_traces(parts: SharedParts, caller: Writer, body: models.TraceAnnotations, sync: Sync = False) -> Response:
    """As for spans; a trace is there as soon as one of its spans is."""
    return await _write(parts, caller, "trace", [each.draft() for each in body.data], sync)


@router.get(
    "/projects/{project_identifier}/trace_annotations",
    response_model=models.TraceAnnotationPage,
    operation_id="listTraceAnnotationsByTraceIds",
    summary="List annotations of traces",
    responses=error_responses(LLM, *_READ),
)
async def list_of_traces(
    parts: SharedParts, policy: SurfacePolicy, caller: Reader, project_identifier: Project, listing: Listing, trace_ids: Ids = None
) -> Response:
    """Newest first by when they were created. Those of deleted traces are not found."""
    return await listing.answer(parts, policy, caller, project_identifier, "trace", trace_ids)


@router.delete(
    "/projects/{project_identifier}/trace_annotations",
    status_code=204,
    operation_id="deleteTraceAnnotations",
    summary="Delete annotations of traces",
    responses=error_responses(LLM, *_CHANGE),
)
async def delete_of_traces(parts: SharedParts, caller: Deleter, project_identifier: Project, deletion: Deletion) -> Response:
    """All that match every given condition, for reads at once; deleting none is a success too."""
    return await _delete(parts, caller, project_identifier, "trace", deletion)


@router.post(
    "/session_annotations",
    response_model=models.InsertedList,
    operation_id="annotateSessions",
    summary="Write annotations of sessions",
    responses=error_responses(LLM, *_WRITE),
)
async def annotate_sessions(parts: SharedParts, caller: Writer, body: models.SessionAnnotations, sync: Sync = False) -> Response:
    """As for spans; a session is there as soon as a span with its id is."""
    return await _write(parts, caller, "session", [each.draft() for each in body.data], sync)


@router.get(
    "/projects/{project_identifier}/session_annotations",
    response_model=models.SessionAnnotationPage,
    operation_id="listSessionAnnotationsBySessionIds",
    summary="List annotations of sessions",
    responses=error_responses(LLM, *_READ),
)
async def list_of_sessions(
    parts: SharedParts, policy: SurfacePolicy, caller: Reader, project_identifier: Project, listing: Listing, session_ids: Ids = None
) -> Response:
    """Newest first by when they were created. Those of sessions without any span left are not found."""
    return await listing.answer(parts, policy, caller, project_identifier, "session", session_ids)


@router.delete(
    "/projects/{project_identifier}/session_annotations",
    status_code=204,
    operation_id="deleteSessionAnnotations",
    summary="Delete annotations of sessions",
    responses=error_responses(LLM, *_CHANGE),
)
async def delete_of_sessions(parts: SharedParts, caller: Deleter, project_identifier: Project, deletion: Deletion) -> Response:
    """All that match every given condition, for reads at once; deleting none is a success too."""
    return await _delete(parts, caller, project_identifier, "session", deletion)


@router.post(
    "/document_annotations",
    response_model=models.InsertedList,
    operation_id="annotateSpanDocuments",
    summary="Write annotations of documents that spans retrieved",
    responses=error_responses(LLM, *_WRITE),
)
async def annotate_documents(parts: SharedParts, caller: Writer, body: models.DocumentAnnotations, sync: Sync = False) -> Response:
    """As for spans. With `sync`, a position beyond what the span retrieved is refused."""
    return await _write(parts, caller, "document", [each.draft() for each in body.data], sync)


@router.get(
    "/projects/{project_identifier}/document_annotations",
    response_model=models.DocumentAnnotationPage,
    operation_id="listDocumentAnnotations",
    summary="List annotations of documents that spans retrieved",
    responses=error_responses(LLM, *_READ),
)
async def list_of_documents(
    parts: SharedParts, policy: SurfacePolicy, caller: Reader, project_identifier: Project, listing: Listing, span_ids: Ids = None
) -> Response:
    """Newest first by when they were created. Those of deleted spans are not found."""
    return await listing.answer(parts, policy, caller, project_identifier, "document", span_ids)


@router.delete(
    "/projects/{project_identifier}/document_annotations",
    status_code=204,
    operation_id="deleteDocumentAnnotations",
    summary="Delete annotations of documents that spans retrieved",
    responses=error_responses(LLM, *_CHANGE),
)
async def delete_of_documents(parts: SharedParts, caller: Deleter, project_identifier: Project, deletion: Deletion) -> Response:
    """All that match every given condition, for reads at once; deleting none is a success too."""
    return await _delete(parts, caller, project_identifier, "document", deletion)
