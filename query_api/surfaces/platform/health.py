"""`health/live` and `health/ready`: no key needed, so that probes can ask."""

from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from query_api.dependencies import SharedParts
from query_api.domain.health import status_of
from query_api.surfaces.policy import json_response

router = APIRouter(prefix="/health", tags=["health"])


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class PartState(BaseModel):
    """One part the service needs."""

    part: str
    ready: bool
    required: bool
    problem: str | None


class Ready(BaseModel):
    """Whether requests can be served."""

    status: Literal["ready", "degraded", "not_ready"]
    parts: list[PartState]


_EXAMPLE: dict[str, Any] = {
    "status": "not_ready",
    "parts": [
        {"part": "clickhouse", "ready": True, "required": True, "problem": None},
        {"part": "kafka", "ready": False, "required": True, "problem": "Kafka does not answer: connection refused"},
    ],
}


@router.get("/live", response_model=Live, operation_id="health_live", summary="Whether the process answers")
async def live() -> Response:
    """Says nothing about the parts behind it; a process that fails this should be restarted."""
    return json_response({"status": "live"})


@router.get(
    "/ready",
    response_model=Ready,
    operation_id="health_ready",
    summary="Whether requests can be served, and which part is not ready",
    responses={503: {"model": Ready, "description": "A required part is not ready.", "content": {"application/json": {"example": _EXAMPLE}}}},
)
async def ready(parts: SharedParts) -> Response:
    """`degraded` (200) means that a part is missing without which only some requests fail: with the control store away,
    reads and known keys still work, and definitions cannot be changed."""
    found = await parts.probes.look()
    status = status_of(found)
    return json_response({"status": status, "parts": [asdict(part) for part in found]}, status=503 if status == "not_ready" else 200)
