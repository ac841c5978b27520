"""The paths of the surface that ingest serves, described here so that the OpenAPI document is whole."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from infra.runtime.errors import NotFound
from query_api.access import Caller
from query_api.dependencies import Allowed
from query_api.errors import error_responses
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from schemas.assignment import AssignmentReason

router = APIRouter()

_ASK_ERRORS: Final = ("unauthenticated", "forbidden", "not_found", "validation_failed", "rate_limited", "overloaded", "internal")
_SEND_ERRORS: Final = (
    "invalid_argument", "unauthenticated", "forbidden", "conflict", "too_large", "unsupported_media_type", "validation_failed",
    "rate_limited", "overloaded", "unavailable", "internal",
)  # fmt: skip
_POSITION: Final = {
    "X-Millstream-Position": {
        "description": "Where the events stand; send it as `X-Millstream-Wait-For` with a read that shall include them.",
        "schema": {"type": "string"},
    }
}

Unit = Annotated[str, Query(min_length=1, max_length=512, description="Who is asked for: a user, an account, a device.", examples=["user_123"])]
Context = Annotated[
    str | None, Query(description="Attributes of the unit for targeting: a JSON object as text.", examples=['{"country":"US","user_type":"premium"}'])
]
Record = Annotated[bool, Query(description="Whether an assignment counts as an exposure and is stored as one.")]
IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", max_length=255, description="The same request with the same key is stored once and answered alike.")
]


class Evaluation(BaseModel):
    """What a flag answers for a unit."""

    key: str = Field(examples=["new_checkout_flow"])
    enabled: bool
    variation: str = Field(description="Key of the variation.", examples=["on"])
    value: Any = Field(examples=[True])
    rule_id: str | None = Field(description="The rule that decided; null when none did.", examples=["rule_789"])
    reason: str = Field(description="Why: as OpenFeature names it.", examples=["TARGETING_MATCH"])
    experiment_id: str | None = Field(description="The experiment that decided; null when none did.")
    variant: str | None = Field(description="The variant the unit has in it.")
    recorded: bool = Field(description="Whether an exposure was stored.")


class EvaluationAnswer(BaseModel):
    """What a flag answers for a unit."""

    data: Evaluation


class Assignment(BaseModel):
    """The variant of a unit."""

    experiment_id: str = Field(examples=["exp_12345"])
    user_id: str = Field(examples=["user_789"])
    variant: str | None = Field(description="Null when the unit takes no part.", examples=["treatment"])
    variant_id: str | None = Field(examples=["var_b456"])
    timestamp: datetime = Field(description="When the unit was asked for.")
    reason: AssignmentReason = Field(description="Why this variant, or why none.", examples=["assigned"])
    recorded: bool = Field(description="Whether an exposure was stored.")


class AssignmentAnswer(BaseModel):
    """The variant of a unit."""

    data: Assignment


class Event(BaseModel):
    """Something a unit did. Unknown fields are kept."""

    model_config = ConfigDict(extra="allow")

    user_id: str = Field(min_length=1, max_length=512, examples=["user_789"])
    event_type: str = Field(min_length=1, max_length=512, examples=["purchase_completed"])
    experiment_id: str | None = Field(None, min_length=1, max_length=512, examples=["exp_12345"])
    variant: str | None = Field(None, max_length=512, description="With an experiment: the unit was exposed to it.", examples=["treatment"])
    timestamp: datetime | None = Field(None, description="When it happened; the time of receipt when left out.")
    metadata: dict[str, Any] | None = Field(None, examples=[{"value": 99.99, "currency": "USD"}])
    id: str | None = Field(None, min_length=1, max_length=512, description="Two events with one id are one.")


class EventBatch(BaseModel):
    """Several events. One that is wrong does not keep the others out, so the document lets it pass."""

    events: list[Event | Any]


class StoredEvent(BaseModel):
    """An event that is stored."""

    id: str
    user_id: str
    event_type: str
    experiment_id: str | None
    variant: str | None
    timestamp: datetime
    received_at: datetime


class StoredEventAnswer(BaseModel):
    """An event that is stored."""

    data: StoredEvent


class ItemError(BaseModel):
    """Why one event was refused."""

    index: int = Field(description="Place in the request, from 0.")
    message: str
    field: str


class StoredBatch(BaseModel):
    """What became of a batch: the good events are stored, the others are named."""

    processed: int
    failed: int
    event_ids: list[str]
    errors: list[ItemError] = []


class StoredBatchAnswer(BaseModel):
    """What became of a batch."""

    data: StoredBatch


@router.get(
    "/feature-flags/evaluate",
    response_model=EvaluationAnswer,
    operation_id="evaluate_feature_flag",
    summary="Evaluate a feature flag for a unit",
    tags=["feature flags"],
    responses={200: {"headers": _POSITION}, **error_responses(EXPERIMENTATION, *_ASK_ERRORS)},
)
async def evaluate(
    caller: Annotated[Caller, Allowed("flags:evaluate")],
    key: Annotated[str, Query(min_length=1, max_length=200, description="Key of the flag.", examples=["new_checkout_flow"])],
    user_id: Unit,
    context: Context = None,
    record: Record = True,
) -> Response:
    """The first rule that matches decides, else the experiment of the flag, else the default rule. A unit gets the same answer each time."""
    raise _elsewhere()


@router.get(
    "/assignments",
    response_model=AssignmentAnswer,
    operation_id="get_assignment",
    summary="Get the variant of a unit",
    tags=["assignments"],
    responses={200: {"headers": _POSITION}, **error_responses(EXPERIMENTATION, *_ASK_ERRORS, "unavailable")},
)
async def assignment(
    caller: Annotated[Caller, Allowed("assignments:read")],
    experiment_id: Annotated[str, Query(min_length=1, max_length=200, description="Id of the experiment.", examples=["exp_12345"])],
    user_id: Unit,
    context: Context = None,
    record: Record = True,
) -> Response:
    """A unit gets the same variant each time. Asking counts as an exposure, which is stored before the answer goes out unless Kafka is away."""
    raise _elsewhere()


@router.post(
    "/events",
    response_model=StoredEventAnswer,
    operation_id="track_event",
    summary="Track an event",
    tags=["events"],
    responses={200: {"headers": _POSITION}, **error_responses(EXPERIMENTATION, *_SEND_ERRORS)},
)
async def event(caller: Annotated[Caller, Allowed("events:write")], body: Event, idempotency_key: IdempotencyKey = None) -> Response:
    """Answers once the event is stored durably."""
    raise _elsewhere()


@router.post(
    "/events/batch",
    response_model=StoredBatchAnswer,
    operation_id="track_events",
    summary="Track several events",
    tags=["events"],
    responses={200: {"headers": _POSITION}, **error_responses(EXPERIMENTATION, *_SEND_ERRORS)},
)
async def event_batch(caller: Annotated[Caller, Allowed("events:write")], body: EventBatch, idempotency_key: IdempotencyKey = None) -> Response:
    """Good events are stored, the others are named in `errors` with place, field and reason. The answer comes once all are stored durably."""
    raise _elsewhere()


def _elsewhere() -> NotFound:
    return NotFound("the ingest service serves this path; send the request to the main port or the port of the surface, not to the query service")
