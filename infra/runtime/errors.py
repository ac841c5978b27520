"""Every error a caller can see: its code, what it maps to on each transport, and whether trying again helps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class ErrorKind:
    """What one error code means on every transport."""

    code: str
    """Stable name that clients may test."""
    http: int
    """HTTP status."""
    grpc: int
    """Number of the google.rpc.Code."""
    close: int
    """WebSocket close code."""
    retryable: bool
    """Whether the same request may succeed later."""
    report: bool
    """Whether the operators should hear of it."""
    meaning: str
    """One sentence for the reference."""


KINDS: dict[str, ErrorKind] = {
    kind.code: kind
    for kind in (
        ErrorKind("invalid_argument", 400, 3, 4400, False, False, "The request cannot be understood as it stands."),
        ErrorKind("unauthenticated", 401, 16, 4401, False, False, "No valid API key came with the request."),
        ErrorKind("forbidden", 403, 7, 4403, False, False, "The key is valid but may not do this."),
        ErrorKind("not_found", 404, 5, 4404, False, False, "The thing named does not exist for this tenant."),
        ErrorKind("method_not_allowed", 405, 12, 4405, False, False, "The path exists, but not with this method."),
        ErrorKind("conflict", 409, 6, 4409, False, False, "The request contradicts what is already stored."),
        ErrorKind("too_large", 413, 3, 4413, False, False, "The body or its number of items is over the limit."),
        ErrorKind("unsupported_media_type", 415, 3, 4415, False, False, "The content type or encoding is not one the door takes."),
        ErrorKind("validation_failed", 422, 3, 4422, False, False, "The request was understood, but a field is wrong."),
        ErrorKind("rate_limited", 429, 8, 4429, True, False, "The key has used up its requests of the current window; try again after Retry-After."),
        ErrorKind("overloaded", 503, 14, 4429, True, False, "Too much is in flight; try again after Retry-After."),
        ErrorKind("unavailable", 503, 14, 4503, True, True, "A part the request needs cannot be reached; try again after Retry-After."),
        ErrorKind("not_visible_yet", 504, 4, 4504, True, False, "The awaited position did not become visible in time; the answer carries the watermark."),
        ErrorKind("query_limit", 422, 8, 4422, False, False, "The read was over its time, memory or row limit; ask for less."),
        ErrorKind("internal", 500, 13, 4500, False, True, "A defect of the platform; the message carries an id to report."),
    )
}


class MillstreamError(Exception):
    """Root of every error shown to a caller. `code` names the row of `KINDS`; subclasses only fix the code."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        """A sentence for the developer, with the fix in it where there is one."""
        self.details = dict(details or {})
        """Facts a program may use, JSON-able."""
        self.retry_after_s = retry_after_s
        """Whole seconds to wait, for retryable errors."""

    @property
    def kind(self) -> ErrorKind:
        return KINDS[self.code]


class InvalidArgument(MillstreamError):
    code = "invalid_argument"


class Unauthenticated(MillstreamError):
    code = "unauthenticated"


class Forbidden(MillstreamError):
    code = "forbidden"


class NotFound(MillstreamError):
    code = "not_found"


class Conflict(MillstreamError):
    code = "conflict"


class TooLarge(MillstreamError):
    code = "too_large"


class UnsupportedMediaType(MillstreamError):
    code = "unsupported_media_type"


class ValidationFailed(MillstreamError):
    code = "validation_failed"


class RateLimited(MillstreamError):
    code = "rate_limited"


class Overloaded(MillstreamError):
    code = "overloaded"


class Unavailable(MillstreamError):
    code = "unavailable"


class NotVisibleYet(MillstreamError):
    code = "not_visible_yet"


class QueryLimit(MillstreamError):
    code = "query_limit"
