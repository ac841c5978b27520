"""The API surfaces: where each is found and how its errors are named. The port or the prefix decides the surface."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Surface:
    """One API surface."""

    name: str
    """Also its prefix under the main port: `/name/...`."""
    port: str
    """Field of the port settings that holds its documented port; empty when it has none."""
    doors: dict[str, str] = field(default_factory=dict)
    """Paths that ingest serves itself, and the door each leads to. Every other path belongs to the query service."""
    codes: dict[str, str] = field(default_factory=dict)
    """Names the surface's documents give to error codes; codes not listed keep their own."""


_OTLP = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}

EXPERIMENTATION = Surface(
    "experimentation",
    "experimentation",
    {"/api/v1/events": "event", "/api/v1/events/batch": "event_batch"},
    {
        "invalid_argument": "VALIDATION_ERROR",
        "validation_failed": "VALIDATION_ERROR",
        "unauthenticated": "UNAUTHORIZED",
        "forbidden": "FORBIDDEN",
        "not_found": "NOT_FOUND",
        "method_not_allowed": "METHOD_NOT_ALLOWED",
        "conflict": "CONFLICT",
        "too_large": "PAYLOAD_TOO_LARGE",
        "unsupported_media_type": "UNSUPPORTED_MEDIA_TYPE",
        "overloaded": "SERVICE_UNAVAILABLE",
        "unavailable": "SERVICE_UNAVAILABLE",
        "internal": "INTERNAL_ERROR",
    },
)
CRUCIBLE = Surface(
    "crucible",
    "crucible",
    {"/api/v1/telemetry/events": "telemetry_batch"},
    {
        "invalid_argument": "validation_error",
        "validation_failed": "validation_error",
        "unauthenticated": "unauthorized",
        "overloaded": "unavailable",
        "internal": "internal_error",
    },
)
LLM = Surface("llm", "llm", dict(_OTLP))
OTLP = Surface("otlp", "otlp_http", dict(_OTLP))
PHOENIX = Surface("phoenix", "")
REVIEW = Surface("review", "")
PLATFORM = Surface("platform", "")

SURFACES = (EXPERIMENTATION, CRUCIBLE, LLM, OTLP, PHOENIX, REVIEW)
