"""What differs between surfaces before a single route is written: envelope, errors, pages and who may call without a key.

A surface is a folder of thin routers and one `Policy`. `query_api.surfaces.mount` builds an application from the two,
so a router never renders an error, spells an envelope or looks at a header for a key.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from infra.runtime.errors import MillstreamError, ValidationFailed
from schemas.position import Positions, encode
from schemas.surfaces import Surface

WATERMARK_HEADER = "X-Millstream-Watermark"
"""Every read carries it: everything up to these positions is in the answer."""


@dataclass(frozen=True)
class Page:
    """What a list operation found."""

    items: Sequence[Any]
    """JSON-able, in the order of the surface."""
    next_cursor: str | None = None
    """Opaque; None on the last page."""
    watermark: Positions = field(default_factory=dict)
    """What the answer covers at least."""


@dataclass(frozen=True)
class Paging:
    """Limits of list operations."""

    default: int
    maximum: int


@dataclass(frozen=True)
class FieldFault:
    """One wrong field of a request."""

    location: tuple[str | int, ...]
    """Path of the field: `("query", "limit")`."""
    message: str
    type: str
    """Stable name of the rule that was broken."""


def named_faults(faults: Sequence[FieldFault]) -> ValidationFailed:
    """One error that names every wrong field."""
    fields = [{"field": ".".join(str(part) for part in fault.location), "message": fault.message, "type": fault.type} for fault in faults]
    summary = "; ".join(f"{field['field']}: {field['message']}" for field in fields)
    return ValidationFailed(summary or "a field is wrong", details={"fields": fields})


@dataclass(frozen=True)
class Policy:
    """The declared behaviour of one surface. Its functions are pure."""

    surface: Surface
    """Its name is the folder, the label in metrics and the prefix; a documented port arrives with the prefix put in front."""
    title: str
    description: str
    """Markdown for the OpenAPI page."""
    paging: Paging
    envelope: Callable[[Page], Any]
    """The JSON body of a list answer."""
    render_error: Callable[[MillstreamError], Response]
    render_faults: Callable[[Sequence[FieldFault]], Response]
    """The answer to a request whose fields are wrong."""
    error_schema: Mapping[str, Any]
    """`content` of an error answer, for OpenAPI."""
    faults_schema: Mapping[str, Any] = field(default_factory=dict)
    """The same for wrong fields, where they are answered in a form of their own."""
    keyless_from_loopback: bool = False
    """Whether requests without a key from this machine act for the default tenant, with every permission, while the setting for keyless OTLP allows it."""
    base: str = "/v1"
    """Path under the prefix where its routes, the OpenAPI document and its page begin."""
    beside_base: Sequence[APIRouter] = ()
    """Routes directly under the prefix."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every answer."""

    @property
    def name(self) -> str:
        return self.surface.name

    @property
    def cookie(self) -> str:
        """Name of the cookie whose session counts where no key came; empty where only keys count."""
        return self.surface.cookie

    @property
    def prefix(self) -> str:
        """Where it stands on the main port."""
        return f"/{self.surface.name}"


def json_response(content: Any, *, status: int = 200, watermark: Positions | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer, with the watermark header when it is a read."""
    merged = dict(headers or {})
    if watermark is not None:
        merged[WATERMARK_HEADER] = encode(watermark)
    return Response(orjson.dumps(content), status, merged, "application/json")


def list_response(policy: Policy, page: Page) -> Response:
    """A list in the surface's envelope."""
    return json_response(policy.envelope(page), watermark=page.watermark)


def error_object(**more: Mapping[str, Any]) -> Mapping[str, Any]:
    """`content` for OpenAPI of errors that are `{"error": {"code", "message", "details"}}`, with `more` fields in the inner object by their schemas."""
    fields = {"code": {"type": "string"}, "message": {"type": "string"}, **more, "details": {"type": "object"}}
    error = {"type": "object", "required": list(fields), "properties": fields}
    return {"application/json": {"schema": {"type": "object", "required": ["error"], "properties": {"error": error}}}}


def error_headers(error: MillstreamError) -> dict[str, str]:
    """Headers every surface sends with an error: when to come back, how to authenticate, and how far a late read got."""
    headers = {}
    if error.kind.retryable and error.kind.http != 504:
        headers["Retry-After"] = str(max(1, error.retry_after_s or 1))
    if error.kind.http == 401:
        headers["WWW-Authenticate"] = "Bearer"
    watermark = error.details.get("watermark")
    if isinstance(watermark, str):
        headers[WATERMARK_HEADER] = watermark
    return headers
