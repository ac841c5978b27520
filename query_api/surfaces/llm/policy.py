"""How the LLM tracing surface answers: bare envelopes, errors as plain text, wrong fields as FastAPI's JSON list."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import PlainTextResponse, Response

import schemas.surfaces
from infra.runtime.errors import MillstreamError
from query_api.surfaces.llm import pages, version
from query_api.surfaces.policy import FieldFault, Page, Paging, Policy, error_headers, json_response

_DESCRIPTION = """
LLM traces, in the shapes that the clients of Arize Phoenix use. Also served at the root of port 6006.

Lists are `{"data": [...], "next_cursor": null | "..."}`, errors are plain text, and a request with a wrong field gets 422 with a JSON list
`{"detail": [{"loc", "msg", "type"}]}`. The key may be left out from this machine while `MILLSTREAM_INGEST_KEYLESS_OTLP_FROM_LOOPBACK` is on; such a
request acts for the default tenant and may do everything.

A span sent with `endTimeUnixNano` 0 says that it has started: it is shown with `end_time` null until the same span comes with its end. Of a span that was
sent several times the copy that ended last counts, of equal ends the one received last. What was deleted stays deleted, whatever comes again.
"""


def _envelope(page: Page) -> dict[str, Any]:
    return {"data": list(page.items), "next_cursor": page.next_cursor}


def _render_error(error: MillstreamError) -> Response:
    return PlainTextResponse(error.message, error.kind.http, error_headers(error))


def _render_faults(faults: Sequence[FieldFault]) -> Response:
    detail = [{"type": fault.type, "loc": list(fault.location), "msg": fault.message} for fault in faults]
    return json_response({"detail": detail}, status=422)


_FAULT_SCHEMA = {
    "type": "object",
    "required": ["loc", "msg", "type"],
    "properties": {"loc": {"type": "array", "items": {"type": ["string", "integer"]}}, "msg": {"type": "string"}, "type": {"type": "string"}},
}

LLM = Policy(
    surface=schemas.surfaces.LLM,
    title="Millstream LLM tracing",
    description=_DESCRIPTION,
    paging=Paging(default=100, maximum=1000),
    envelope=_envelope,
    render_error=_render_error,
    render_faults=_render_faults,
    error_schema={"text/plain": {"schema": {"type": "string"}}},
    faults_schema={
        "application/json": {"schema": {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "array", "items": _FAULT_SCHEMA}}}}
    },
    keyless_from_loopback=True,
    beside_base=(version.router, pages.router),
    headers={version.VERSION_HEADER: version.PHOENIX_VERSION},
)
