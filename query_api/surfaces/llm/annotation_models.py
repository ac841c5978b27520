"""Bodies and answers of annotations and notes."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from query_api.domain.annotations import Draft
from schemas.annotation import metadata_text
from schemas.span_feedback import MAX_TEXT


def _storable(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    metadata_text(metadata or {})
    return metadata


def _none_is_empty(text: Any) -> Any:
    return "" if text is None else text


def _stripped(text: Any) -> Any:
    return text.strip() if isinstance(text, str) else text


Kind = Literal["LLM", "CODE", "HUMAN"]
Metadata = Annotated[dict[str, Any] | None, AfterValidator(_storable)]
Identifier = Annotated[str, BeforeValidator(_none_is_empty), Field(max_length=MAX_TEXT)]
OtelId = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(str.lower)]
SessionId = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
_NOT_BLANK = Field(json_schema_extra={"pattern": r"[^\s\x1c-\x1f\x85]"})
"""What is stripped before it is checked; only the document needs to say so."""
Text = Annotated[str, BeforeValidator(_stripped), Field(min_length=1), _NOT_BLANK]


class Result(BaseModel):
    """What the annotator says; at least one of the three."""

    label: str | None = None
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    explanation: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.score is None and not self.label and not self.explanation:
            raise ValueError("give at least one of label, score and explanation")
        return self


class AnnotationData(BaseModel):
    """What every annotation to write has."""

    name: str = Field(min_length=1, max_length=MAX_TEXT, examples=["correctness"])
    annotator_kind: Kind
    result: Result
    metadata: Metadata = None
    identifier: Identifier = Field("", description="Tells annotations of the same name apart; a later one with the same identifier replaces it.")

    def _draft(self, target_id: str, position: int = -1) -> Draft:
        said = self.result
        return Draft(target_id, self.name, self.annotator_kind, said.label, said.score, said.explanation, self.metadata or {}, self.identifier, position)


class SpanAnnotationData(AnnotationData):
    """An annotation of a span."""

    span_id: OtelId = Field(description="OpenTelemetry span id, 16 hex digits.", examples=["00f067aa0ba902b7"])

    def draft(self) -> Draft:
        return self._draft(self.span_id)


class DocumentAnnotationData(AnnotationData):
    """An annotation of a document that a span retrieved."""

    span_id: OtelId = Field(description="OpenTelemetry span id, 16 hex digits.", examples=["00f067aa0ba902b7"])
    document_position: int = Field(ge=0, le=2**31 - 1, description="Place of the document in what was retrieved, from 0.")

    def draft(self) -> Draft:
        return self._draft(self.span_id, self.document_position)


class TraceAnnotationData(AnnotationData):
    """An annotation of a trace."""

    trace_id: OtelId = Field(description="OpenTelemetry trace id, 32 hex digits.", examples=["4bf92f3577b34da6a3ce929d0e0e4736"])

    def draft(self) -> Draft:
        return self._draft(self.trace_id)


class SessionAnnotationData(AnnotationData):
    """An annotation of a session."""

    session_id: SessionId

    def draft(self) -> Draft:
        return self._draft(self.session_id)


class SpanAnnotations(BaseModel):
    data: list[SpanAnnotationData]


class DocumentAnnotations(BaseModel):
    data: list[DocumentAnnotationData]


class TraceAnnotations(BaseModel):
    data: list[TraceAnnotationData]


class SessionAnnotations(BaseModel):
    data: list[SessionAnnotationData]


class NoteData(BaseModel):
    """What every note has."""

    note: Text
    identifier: Identifier = Field("", description="A later note with the same identifier replaces it; without one every call adds a note.")


class SpanNoteData(NoteData):
    span_id: Annotated[OtelId, BeforeValidator(_stripped), _NOT_BLANK]


class TraceNoteData(NoteData):
    trace_id: Annotated[OtelId, BeforeValidator(_stripped), _NOT_BLANK]


class SessionNoteData(NoteData):
    session_id: Annotated[SessionId, BeforeValidator(_stripped), _NOT_BLANK]


class SpanNote(BaseModel):
    data: SpanNoteData


class TraceNote(BaseModel):
    data: TraceNoteData


class SessionNote(BaseModel):
    data: SessionNoteData


class Inserted(BaseModel):
    """An annotation that was written."""

    id: str


class InsertedOne(BaseModel):
    data: Inserted


class InsertedList(BaseModel):
    """Ids in the order of the request; none unless `sync` was asked for."""

    data: list[Inserted]


class Stored(BaseModel):
    """What every stored annotation has."""

    id: str
    name: str
    annotator_kind: Kind
    result: Result
    metadata: dict[str, Any]
    identifier: str
    source: Literal["API", "SPAN", "RULE"] = Field(description="API for clients, SPAN for feedback carried inside spans, RULE for online evaluation.")
    created_at: datetime
    updated_at: datetime
    user_id: str | None


class StoredSpanAnnotation(Stored):
    span_id: str


class StoredDocumentAnnotation(StoredSpanAnnotation):
    document_position: int


class StoredTraceAnnotation(Stored):
    trace_id: str


class StoredSessionAnnotation(Stored):
    session_id: str


class SpanAnnotationPage(BaseModel):
    data: list[StoredSpanAnnotation]
    next_cursor: str | None


class DocumentAnnotationPage(BaseModel):
    data: list[StoredDocumentAnnotation]
    next_cursor: str | None


class TraceAnnotationPage(BaseModel):
    data: list[StoredTraceAnnotation]
    next_cursor: str | None


class SessionAnnotationPage(BaseModel):
    data: list[StoredSessionAnnotation]
    next_cursor: str | None
