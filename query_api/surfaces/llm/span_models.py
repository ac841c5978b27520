"""What spans, traces and sessions look like on the surface."""

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field


class SpanContext(BaseModel):
    """Ids of a span."""

    trace_id: str = Field(max_length=200, examples=["4bf92f3577b34da6a3ce929d0e0e4736"])
    span_id: str = Field(max_length=200, examples=["00f067aa0ba902b7"])


class SpanEvent(BaseModel):
    """Something that happened during a span."""

    name: str
    timestamp: AwareDatetime = Field(description="With its offset from UTC.")
    attributes: dict[str, Any] = Field(default_factory=dict)


class Span(BaseModel):
    """One span."""

    id: str = Field("", description="GlobalID; left out of account when spans are created.")
    name: str
    context: SpanContext
    span_kind: str = Field(examples=["LLM"])
    parent_id: str | None = Field(None, description="Span id of the parent; null for a root.")
    start_time: AwareDatetime = Field(description="With its offset from UTC.")
    end_time: AwareDatetime | None = Field(description="With its offset from UTC; null while the span runs.")
    status_code: str = Field(examples=["OK"], description="UNSET, OK or ERROR.")
    status_message: str = ""
    attributes: dict[str, Any] = Field(default_factory=dict, description="Flat, with dotted names.")
    events: list[SpanEvent] = Field(default_factory=list)


class Spans(BaseModel):
    """A page of spans."""

    data: list[Span]
    next_cursor: str | None


class OtlpSpans(BaseModel):
    """A page of spans as OTLP JSON with underscores in its names; whole numbers are numbers and ids are hex."""

    data: list[dict[str, Any]]
    next_cursor: str | None


class NewSpans(BaseModel):
    """Spans to create."""

    data: list[Span] = Field(max_length=100_000)


class CreatedSpans(BaseModel):
    """How many spans were stored: all of them."""

    total_received: int
    total_queued: int


class TraceSpan(BaseModel):
    """A span of a listed trace, without what is large in it."""

    id: str
    span_id: str
    parent_id: str | None
    name: str
    span_kind: str
    status_code: Literal["UNSET", "OK", "ERROR"]
    start_time: datetime
    end_time: datetime | None = Field(description="Null while the span runs.")


class TraceTimes(BaseModel):
    """A trace of a session."""

    id: str
    trace_id: str
    start_time: datetime
    end_time: datetime = Field(description="Of what ended last; the latest start while nothing has ended.")


class TokenCounts(BaseModel):
    """Tokens of the LLM spans."""

    token_count_prompt: int
    token_count_completion: int
    token_count_total: int


class Trace(TraceTimes, TokenCounts):
    """A trace."""

    project_id: str
    spans: list[TraceSpan] | None = Field(description="Null unless asked for.")


class Traces(BaseModel):
    """A page of traces."""

    data: list[Trace]
    next_cursor: str | None


class Transfer(BaseModel):
    """Traces to move."""

    trace_identifiers: list[str] = Field(min_length=1, max_length=1_000, description="GlobalIDs or trace ids, all of one project.")
    destination_project_identifier: str = Field(min_length=1, max_length=1_000, description="Name of a project that exists, or its GlobalID.")


class Transferred(BaseModel):
    """What was moved."""

    transferred_trace_count: int
    destination_project_id: str


class TransferAnswer(BaseModel):
    """The answer to a transfer."""

    data: Transferred


class Session(TokenCounts):
    """A session: every trace with a span that names it."""

    id: str
    session_id: str
    project_id: str
    start_time: datetime
    end_time: datetime
    traces: list[TraceTimes]


class OneSession(BaseModel):
    """One session."""

    data: Session


class Sessions(BaseModel):
    """A page of sessions."""

    data: list[Session]
    next_cursor: str | None


class SessionsToDelete(BaseModel):
    """Sessions to delete."""

    session_identifiers: list[str] = Field(max_length=10_000, description="All GlobalIDs, or all ids of the programs' own.")
