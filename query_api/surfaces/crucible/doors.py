"""The path of the surface that ingest serves, described here so that the OpenAPI document is whole."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from infra.runtime.errors import NotFound
from query_api.access import Caller
from query_api.dependencies import Allowed
from query_api.errors import error_responses
from query_api.surfaces.crucible.policy import CRUCIBLE

router = APIRouter(tags=["telemetry"])

_ERRORS: Final = (
    "invalid_argument", "unauthenticated", "forbidden", "conflict", "too_large", "unsupported_media_type", "validation_failed",
    "rate_limited", "overloaded", "unavailable", "internal",
)  # fmt: skip
_POSITION: Final = {
    "X-Millstream-Position": {
        "description": "Where the events stand; send it as `X-Millstream-Wait-For` with a read that shall include them.",
        "schema": {"type": "string"},
    }
}
_Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class NewTelemetryEvent(BaseModel):
    """Something that was measured. Unknown fields are kept."""

    model_config = ConfigDict(extra="allow")

    event_name: _Text | Annotated[list[_Text], Field(min_length=1, max_length=32)] = Field(
        description="Parts of the name, or the name with dots between them: at most 512 characters.", examples=[["crucible", "model", "inference"]]
    )
    measurements: dict[str, Any] | None = Field(None, description="Numbers, by name, none beyond 1.8e308.", examples=[{"duration_ms": 234, "tokens": 150}])
    metadata: dict[str, Any] | None = Field(
        None,
        description="What it belongs to. `experiment_id`, `run_id` and `model`, when they are texts, can be filtered by; `run_id` may be a whole number too.",
        examples=[{"experiment_id": "exp_abc123", "model": "gpt-4", "request_id": "req_12345"}],
    )
    timestamp: datetime | None = Field(None, description="When it happened; the time of receipt when left out.")
    id: _Text | None = Field(None, description="Two events with one name and one id are one.")


class NewTelemetry(BaseModel):
    """Several events. One that is wrong does not keep the others out, so the document lets it pass."""

    events: list[NewTelemetryEvent | Any]


class RefusedEvent(BaseModel):
    """Why one event was refused."""

    index: int = Field(description="Place in the request, from 0.")
    message: str
    field: str


class TelemetryCounts(BaseModel):
    """What became of the events."""

    accepted: int
    rejected: int
    errors: list[RefusedEvent] = Field([], description="Only where some were refused.")


class TelemetryAccepted(BaseModel):
    """What became of the events."""

    data: TelemetryCounts


@router.post(
    "/telemetry/events",
    response_model=TelemetryAccepted,
    status_code=202,
    operation_id="ingest_telemetry_events",
    summary="Send telemetry events",
    responses={202: {"headers": _POSITION}, **error_responses(CRUCIBLE, *_ERRORS)},
)
async def ingest(
    caller: Annotated[Caller, Allowed("events:write")],
    body: NewTelemetry,
    idempotency_key: Annotated[
        str | None, Header(alias="Idempotency-Key", max_length=255, description="The same request with the same key is stored once and answered alike.")
    ] = None,
) -> Response:
    """Answers once the good events are stored durably; the others are named in `errors` with place, field and reason."""
    raise NotFound("the ingest service serves this path; send the request to the main port or the port of the surface, not to the query service")
