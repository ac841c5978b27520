"""Evaluations as earlier clients of Arize Phoenix post and read them: annotations by LLMs, without identifiers."""

import asyncio
from collections.abc import AsyncIterator
from math import isfinite
from typing import Any, Final

from google.protobuf.message import DecodeError

from infra.runtime.errors import NotFound, ValidationFailed
from query_api.access import Caller
from query_api.domain import evaluation_arrow
from query_api.domain.annotations import Annotations, Draft, malformed, noun
from query_api.domain.evaluation_arrow import EvaluationStream
from query_api.domain.projects import Projects
from query_api.parts import Parts
from query_api.readers.annotations import AnnotationFilter, AnnotationReader, Place
from schemas.annotation import Target
from schemas.evaluation_wire import Evaluation
from schemas.position import Positions

_PAGE = 10_000
_LLM: Final = "LLM"


class Evaluations:
    """The evaluations of a tenant."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reader = AnnotationReader(parts.rows)

    async def store_protobuf(self, caller: Caller, body: bytes) -> Positions:
        """Stores the one evaluation of a message. Raises ValidationFailed when it is none."""
        target, draft = _read_protobuf(body)
        return await self._store(caller, target, [draft])

    async def store_arrow(self, caller: Caller, body: bytes) -> Positions:
        """Stores the evaluations of a stream, all of one name. Raises ValidationFailed and TooLarge, and then has stored none."""
        limits = self._parts.settings.ingest
        target, drafts = await asyncio.to_thread(evaluation_arrow.read, body, limits.max_rows, limits.max_body_bytes)
        return await self._store(caller, target, drafts)

    async def streams(self, tenant: str, project_name: str) -> AsyncIterator[bytes]:
        """Arrow streams, one behind the other: those of traces, of spans and of documents, each by name. Raises NotFound when there are none."""
        project = (await Projects(self._parts).get(tenant, project_name)).name
        found: list[tuple[Target, str]] = []
        for target in evaluation_arrow.TYPES.values():
            names = await self._reader.names(tenant, project, target, AnnotationFilter(annotator_kind=_LLM))
            found += [(target, name) for name in names]
        if not found:
            raise NotFound(f"Project {project_name} has no evaluations")
        return self._pieces(tenant, project, found)

    async def _pieces(self, tenant: str, project: str, found: list[tuple[Target, str]]) -> AsyncIterator[bytes]:
        for target, name in found:
            stream, after = EvaluationStream(target, name), None
            wanted = AnnotationFilter(names=[name], annotator_kind=_LLM)
            while page := await self._reader.page(tenant, project, target, wanted, limit=_PAGE, after=after):
                yield stream.piece(page)
                after = Place.of(page[-1])
            yield stream.end()

    async def _store(self, caller: Caller, target: Target, drafts: list[Draft]) -> Positions:
        for draft in drafts:
            if problem := malformed(target, draft.target_id):
                raise ValidationFailed(f"{noun(target)}_id {draft.target_id[:100]!r} {problem}")
            if target == "document" and not 0 <= draft.position < 2**31:
                raise ValidationFailed(f"document_position {draft.position} is out of bounds; documents are counted from 0")
            if draft.score is not None and not isfinite(draft.score):
                raise ValidationFailed("the score of an evaluation must be a finite number")
        return await Annotations(self._parts).write(caller, target, drafts)


def _read_protobuf(body: bytes) -> tuple[Target, Draft]:
    try:
        message: Any = Evaluation.FromString(body)
    except DecodeError as error:
        raise ValidationFailed("Request body is invalid") from error
    if not message.name.strip():
        raise ValidationFailed("Evaluation name must not be blank/empty")
    subject, result = message.subject_id, message.result
    label, explanation = result.label.value or None, result.explanation.value or None
    score = result.score.value if result.HasField("score") else None
    if score is None and not label and not explanation:
        raise ValidationFailed("An evaluation needs a score, a label or an explanation")
    match subject.WhichOneof("kind"):
        case "trace_id":
            return "trace", Draft(subject.trace_id.lower(), message.name, _LLM, label, score, explanation)
        case "span_id":
            return "span", Draft(subject.span_id.lower(), message.name, _LLM, label, score, explanation)
        case "document_retrieval_id":
            document = subject.document_retrieval_id
            return "document", Draft(document.span_id.lower(), message.name, _LLM, label, score, explanation, position=document.document_position)
    raise ValidationFailed("An evaluation must say which trace, span or document it is about")
