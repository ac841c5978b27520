"""Builds the application of a surface from its policy and its routers, and the whole from all surfaces."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp

from infra.runtime.telemetry import quiet
from query_api.errors import install
from query_api.metrics import Measured, exposition
from query_api.parts import Parts
from query_api.request_body import CheckedBody
from query_api.surfaces.docs_page import docs_page
from query_api.surfaces.policy import Policy
from query_api.surfaces.sent_headers import SentHeaders

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
VERSION = "1.0.0"


def surface_app(policy: Policy, parts: Parts, routers: Sequence[APIRouter]) -> FastAPI:
    """The application of one surface: its routes, its errors on every path, its OpenAPI document and page."""
    app = FastAPI(
        title=policy.title,
        description=policy.description,
        version=VERSION,
        openapi_url=f"{policy.base}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"exclude": quiet, "operation_spans": False},
    )
    app.state.parts = parts
    app.state.policy = policy
    for router in routers:
        app.include_router(router, prefix=policy.base)
    for router in policy.beside_base:
        app.include_router(router)

    @app.get(f"{policy.base}/docs", include_in_schema=False)
    async def docs() -> Response:
        return docs_page(policy.title)

    install(app, policy)
    app.add_middleware(CheckedBody, limit=parts.settings.ingest.max_body_bytes)
    app.add_middleware(Measured, surface=policy.name)
    app.add_middleware(SentHeaders, headers=policy.headers)
    return app


def whole_app(parts: Parts, surfaces: Sequence[tuple[Policy, Sequence[APIRouter]]], lifespan: Lifespan | None = None) -> FastAPI:
    """All surfaces under their prefixes. Paths outside them answer in the shape of the first surface."""
    first = surfaces[0][0]
    app = FastAPI(
        title="Millstream",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"exclude": quiet, "operation_spans": False},
    )
    app.state.parts = parts
    app.state.policy = first
    app.add_api_route("/metrics", _metrics, include_in_schema=False)
    app.add_api_route("/", _home(f"{first.prefix}{first.base}/"), include_in_schema=False)
    for policy, routers in surfaces:
        app.routes.append(_Prefix(policy.prefix, surface_app(policy, parts, routers)))
    install(app, first)
    return app


class _Prefix(Mount):
    """A mounted surface to which every path under the prefix belongs, those with a line break too."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        super().__init__(path, app)
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)


async def _metrics(request: Request) -> Response:
    return exposition(request)


def _home(path: str) -> Callable[[], Response]:
    def home() -> Response:
        return RedirectResponse(path)

    return home
