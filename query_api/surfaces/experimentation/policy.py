"""How the experimentation surface answers: `{"data", "meta"}`, numbered pages, upper-case error codes."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

import schemas.surfaces
from infra.runtime.errors import MillstreamError
from query_api.surfaces.policy import FieldFault, Page, Paging, Policy, error_headers, error_object, json_response, named_faults

_DESCRIPTION = """
Experiments, feature flags, assignments and events. Also served at the root of port 8000.

* **Key**: `Authorization: Bearer KEY`; `api-key: KEY` and `X-API-Key: KEY` work too.
* **Answers**: `{"data": ..., "meta": {...}}`; lists say `total`, `page`, `limit` and `pages` in `meta`.
* **Errors**: `{"error": {"code", "message", "details"}}`; `code` is stable.
"""


def _envelope(page: Page) -> dict[str, Any]:
    return {"data": list(page.items), "meta": {}}


def _render_error(error: MillstreamError) -> Response:
    code = schemas.surfaces.EXPERIMENTATION.codes.get(error.code, error.code)
    body = {"error": {"code": code, "message": error.message, "details": error.details}}
    return json_response(body, status=error.kind.http, headers=error_headers(error))


def _render_faults(faults: Sequence[FieldFault]) -> Response:
    return _render_error(named_faults(faults))


EXPERIMENTATION = Policy(
    surface=schemas.surfaces.EXPERIMENTATION,
    title="Millstream experimentation",
    description=_DESCRIPTION,
    paging=Paging(default=20, maximum=100),
    envelope=_envelope,
    render_error=_render_error,
    render_faults=_render_faults,
    error_schema=error_object(),
    base="/api/v1",
)
