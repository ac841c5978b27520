"""How the platform's own surface answers."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

import schemas.surfaces
from infra.runtime.errors import MillstreamError
from query_api.surfaces.policy import FieldFault, Page, Paging, Policy, error_headers, error_object, json_response, named_faults
from schemas.position import encode

_DESCRIPTION = """
What flows through the platform and what has been computed from it.

* **Key**: `Authorization: Bearer KEY`, `api-key: KEY` or `X-API-Key: KEY`. Health, lineage, the pages and this document need none.
* **Lists**: `{"data": [...], "next_cursor": null | "...", "meta": {"watermark": "topic:partition:offset,..."}}`.
* **Errors**: `{"error": {"code", "message", "retryable", "details"}}`; `code` is stable.
* **Freshness**: an acknowledged write answers with `X-Millstream-Position`. Send it back as `X-Millstream-Wait-For` (and
  `X-Millstream-Wait-Timeout`, seconds) and the read answers only when that write is visible, else 504 with the watermark.
* **Live**: `WS /platform/v1/live`; see `GET /platform/v1/live` for its messages and close codes.
"""


def _envelope(page: Page) -> dict[str, Any]:
    return {"data": list(page.items), "next_cursor": page.next_cursor, "meta": {"watermark": encode(page.watermark)}}


def error_body(error: MillstreamError) -> dict[str, Any]:
    """The one error shape of the surface; live connections send it too."""
    return {"error": {"code": error.code, "message": error.message, "retryable": error.kind.retryable, "details": error.details}}


def _render_error(error: MillstreamError) -> Response:
    return json_response(error_body(error), status=error.kind.http, headers=error_headers(error))


def _render_faults(faults: Sequence[FieldFault]) -> Response:
    return _render_error(named_faults(faults))


PLATFORM = Policy(
    surface=schemas.surfaces.PLATFORM,
    title="Millstream platform",
    description=_DESCRIPTION,
    paging=Paging(default=100, maximum=1000),
    envelope=_envelope,
    render_error=_render_error,
    render_faults=_render_faults,
    error_schema=error_object(retryable={"type": "boolean"}),
)
