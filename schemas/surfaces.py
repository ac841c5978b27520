"""The API surfaces: where each is found, how its errors are named and how much a key may ask of it. The port or the prefix decides the surface."""

from collections.abc import Mapping
from dataclasses import dataclass, field

DAY_S = 86_400


@dataclass(frozen=True)
class Rate:
    """So many requests in each window of so many seconds. Windows begin at multiples of their length since the epoch, so a day is a day in UTC."""

    requests: int
    seconds: int


@dataclass(frozen=True)
class Surface:
    """One API surface."""

    name: str
    """Also its prefix under the main port: `/name/...`."""
    port: str
    """Field of the port settings that holds its documented port; empty when it has none."""
    doors: dict[str, str] = field(default_factory=dict)
    """What ingest serves itself, as `METHOD path`, and the door each leads to. Every other request belongs to the query service."""
    protocols: dict[str, str] = field(default_factory=dict)
    """Beginnings of paths below which ingest serves a whole protocol, whatever the method, and the name of each."""
    codes: dict[str, str] = field(default_factory=dict)
    """Names the surface's documents give to error codes; codes not listed keep their own."""
    rates: Mapping[str, tuple[Rate, ...]] = field(default_factory=dict)
    """What a key of each tier may ask, shortest window first; keys of a tier that is not listed are not counted."""


_OTLP = {"POST /v1/traces": "traces", "POST /v1/metrics": "metrics", "POST /v1/logs": "logs"}

EXPERIMENTATION = Surface(
    "experimentation",
    "experimentation",
    {
        "POST /api/v1/events": "event",
        "POST /api/v1/events/batch": "event_batch",
        "GET /api/v1/feature-flags/evaluate": "flag",
        "GET /api/v1/assignments": "assignment",
    },
    {"/ofrep/": "ofrep"},
    codes={
        "invalid_argument": "VALIDATION_ERROR",
        "validation_failed": "VALIDATION_ERROR",
        "unauthenticated": "UNAUTHORIZED",
        "forbidden": "FORBIDDEN",
        "not_found": "NOT_FOUND",
        "method_not_allowed": "METHOD_NOT_ALLOWED",
        "conflict": "CONFLICT",
        "rate_limited": "RATE_LIMIT_EXCEEDED",
        "too_large": "PAYLOAD_TOO_LARGE",
        "unsupported_media_type": "UNSUPPORTED_MEDIA_TYPE",
        "overloaded": "SERVICE_UNAVAILABLE",
        "unavailable": "SERVICE_UNAVAILABLE",
        "internal": "INTERNAL_ERROR",
    },
    rates={"standard": (Rate(10, 1), Rate(10_000, DAY_S)), "enterprise": (Rate(100, 1), Rate(1_000_000, DAY_S))},
)
CRUCIBLE = Surface(
    "crucible",
    "crucible",
    {"POST /api/v1/telemetry/events": "telemetry_batch"},
    codes={
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
