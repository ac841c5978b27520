"""The API surfaces: where each is found, how its errors are named and how much a key may ask of it. The port or the prefix decides the surface."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

MINUTE_S = 60
DAY_S = 86_400


@dataclass(frozen=True)
class Rate:
    """So many in each window of so many seconds. Windows begin at multiples of their length since the epoch, so a day is a day in UTC."""

    limit: int
    seconds: int
    of: str = "requests"
    """What is counted, in the plural. Rates of one surface that differ in it are counted apart."""


@dataclass(frozen=True)
class Budget:
    """Requests that are counted together, and how many of them a key may make."""

    rates: Mapping[str, tuple[Rate, ...]]
    """By the tier of the key, shortest window first; keys of a tier that is not listed are not counted."""
    methods: frozenset[str] = frozenset()
    """Empty for every method."""
    paths: str = ""
    """Regular expression of whole paths within the surface; empty for every path."""
    by_events: bool = False
    """Whether the events that a request brings are counted in place of the request."""

    def covers(self, method: str, path: str) -> bool:
        """Whether such a request belongs to it."""
        return (not self.methods or method in self.methods) and (not self.paths or re.fullmatch(self.paths, path) is not None)


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
    budgets: tuple[Budget, ...] = ()
    """What keys may ask. A request belongs to the first that covers it; one that none covers is not counted."""
    cookie: str = ""
    """Name of the cookie that stands for a key, in pages of this surface only; empty where only keys count. See `schemas/session.py`."""

    @cached_property
    def limited_tiers(self) -> frozenset[str]:
        """Tiers whose keys are counted here."""
        return frozenset(tier for budget in self.budgets for tier in budget.rates)

    def budget(self, method: str, path: str) -> Budget | None:
        """What a request belongs to; `path` without the surface's prefix."""
        return next((budget for budget in self.budgets if budget.covers(method, path)), None)


def _a_minute(limit: int, of: str) -> Mapping[str, tuple[Rate, ...]]:
    """The documented rate, and ten times as much for the higher tier."""
    return {"standard": (Rate(limit, MINUTE_S, of),), "enterprise": (Rate(10 * limit, MINUTE_S, of),)}


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
    budgets=(Budget({"standard": (Rate(10, 1), Rate(10_000, DAY_S)), "enterprise": (Rate(100, 1), Rate(1_000_000, DAY_S))}),),
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
    budgets=(
        Budget(_a_minute(10_000, "events"), frozenset(("POST",)), "/api/v1/telemetry/events", by_events=True),
        Budget(_a_minute(10, "exports"), frozenset(("POST",)), "/api/v1/(.+/export|export/.+)"),
        Budget(_a_minute(1_000, "reads"), frozenset(("GET", "HEAD"))),
        Budget(_a_minute(100, "writes")),
    ),
    cookie="_crucible_ui_key",
)
LLM = Surface("llm", "llm", dict(_OTLP))
OTLP = Surface("otlp", "otlp_http", dict(_OTLP))
PHOENIX = Surface("phoenix", "")
REVIEW = Surface("review", "")
PLATFORM = Surface("platform", "")

SURFACES = (EXPERIMENTATION, CRUCIBLE, LLM, OTLP, PHOENIX, REVIEW)
