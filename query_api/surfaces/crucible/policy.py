"""How the crucible surface answers: `{"data", "meta"}`, pages by number or cursor, lower-case error codes, wrong fields by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

import schemas.surfaces
from infra.runtime.errors import MillstreamError
from query_api.surfaces.crucible import pages, socket
from query_api.surfaces.policy import FieldFault, Page, Paging, Policy, error_headers, error_object, json_response

_DESCRIPTION = """
Machine-learning experiments, their runs and telemetry, models and statistical results. Also served at the root of port 4000.

* **Key**: `Authorization: Bearer KEY`; `api-key: KEY` and `X-API-Key: KEY` work too.
* **Session**: `POST /session` with a key sets the cookie `_crucible_ui_key`, which counts in place of the key for twelve hours. A request that changes something and was sent by
  a page of another host is refused with it.
* **Rates**: by key and minute, 1,000 reads, 100 writes, 10 exports and 10,000 telemetry events for the tier `standard`, ten times as many for `enterprise`; keys of other tiers are
  not counted. `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` say how it stands; beyond it the answer is 429 with `Retry-After`.
* **Answers**: `{"data": ..., "meta": {...}}`. Lists take `page` and `per_page` and say `total`, `page` and `per_page` in `meta`; where `has_more` is true, the page behind is `cursor=NEXT_CURSOR` as well,
  which neither repeats nor leaves out what was there when somebody adds to the list meanwhile.
* **Lists**: `sort=name`, `sort=-name` for descending; `filter[field]=value`. A filter that the list does not have is an error.
* **Errors**: `{"error": {"code", "message", "details"}}`; `details` has a list of messages for each wrong field.
"""


def _envelope(page: Page) -> dict[str, Any]:
    return {"data": list(page.items), "meta": {"next_cursor": page.next_cursor, "has_more": page.next_cursor is not None}}


def _render_error(error: MillstreamError) -> Response:
    code = schemas.surfaces.CRUCIBLE.codes.get(error.code, error.code)
    # Of the two ways in which a request can be wrong the surface knows one.
    status = 422 if error.kind.http == 400 else error.kind.http
    return _error(code, error.message, error.details, status, error_headers(error))


def _render_faults(faults: Sequence[FieldFault]) -> Response:
    details: dict[str, list[str]] = {}
    sentences = []
    for fault in faults:
        field = _field(fault)
        absent = fault.type in _ABSENT
        details.setdefault(field, []).append("can't be blank" if absent else fault.message)
        sentences.append(f"{field[:1].upper()}{field[1:]} is required" if absent else f"{field}: {fault.message}")
    return _error("validation_error", "; ".join(sentences) or "a field is wrong", details, 422, {})


def _error(code: str, message: str, details: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> Response:
    return json_response({"error": {"code": code, "message": message, "details": details}}, status=status, headers=headers)


def _field(fault: FieldFault) -> str:
    """The name of a field as the client wrote it: without the place it was sent in and, in a body, without the wrapper."""
    place, *path = fault.location
    if place == "body" and len(path) > 1 and path[0] in WRAPPERS:
        path = path[1:]
    return ".".join(str(part) for part in path) or str(place)


_ABSENT = ("missing", "blank")
"""Types of faults of what should be there."""
WRAPPERS = ("experiment", "model", "test")
"""Names under which bodies wrap what they are about."""

CRUCIBLE = Policy(
    surface=schemas.surfaces.CRUCIBLE,
    title="Millstream crucible",
    description=_DESCRIPTION,
    paging=Paging(default=25, maximum=100),
    envelope=_envelope,
    render_error=_render_error,
    render_faults=_render_faults,
    error_schema=error_object(),
    base="/api/v1",
    beside_base=(socket.router, pages.router),
)
