"""`/arize_phoenix_version` and `/openapi.json`, at the root of the surface: what clients of Arize Phoenix ask before they rely on a feature."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from query_api.surfaces.policy import json_response

PHOENIX_VERSION: Final = "20.8.0"
"""The version of Arize Phoenix whose REST interface this surface has: clients use every feature up to it."""
VERSION_HEADER: Final = "x-phoenix-server-version"

router = APIRouter(include_in_schema=False)


@router.get("/arize_phoenix_version")
async def version() -> Response:
    return PlainTextResponse(PHOENIX_VERSION)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    # The surface is found at a root of its own and under a prefix: paths count from where this document was found.
    return json_response({**request.app.openapi(), "servers": [{"url": "."}]})
