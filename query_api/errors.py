"""Turns whatever goes wrong below a surface into that surface's error answer; nothing else renders errors."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.runtime.errors import KINDS, InvalidArgument, MillstreamError, NotFound, TooLarge
from query_api.surfaces.policy import FieldFault, Policy

_log = structlog.get_logger()
_UNREADABLE = "There was an error parsing the body"
"""What the framework says of a body that is no JSON for another reason than its grammar."""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class MethodNotAllowed(MillstreamError):
    """The path exists, but not with this method."""

    code = "method_not_allowed"


class Defect(MillstreamError):
    """Something nobody foresaw. The message carries only the id under which the log has the rest."""

    def __init__(self, error_id: str) -> None:
        super().__init__(f"internal error {error_id}; report this id", details={"error_id": error_id})


class Boundary:
    """ASGI middleware of a surface: an unexpected exception becomes a 500 in the surface's shape, logged under an id.

    A response that has already started cannot be changed; then the exception goes on, so that the server closes the
    connection and the client sees that the answer is incomplete.
    """

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            error_id = uuid.uuid4().hex
            _log.exception("request failed", surface=self._policy.name, path=scope["path"], error_id=error_id)
            if started:
                raise
            await self._policy.render_error(Defect(error_id))(scope, receive, send)


def from_http(error: HTTPException) -> MillstreamError:
    """The platform's error for one that the web framework raised."""
    if error.status_code == 404:
        return NotFound("no such path")
    if error.status_code == 405:
        return MethodNotAllowed(f"this path takes {(error.headers or {}).get('Allow', 'another method')}")
    if error.status_code == 413:
        return TooLarge(error.detail)
    if error.status_code < 500:
        return InvalidArgument(str(error.detail))
    return Defect(uuid.uuid4().hex)


def faults_of(errors: Sequence[Mapping[str, Any]]) -> list[FieldFault]:
    """The wrong fields of a request as the framework reports them."""
    return [FieldFault(tuple(error.get("loc", ())), str(error.get("msg", "")), str(error.get("type", "value_error"))) for error in errors]


def install(app: FastAPI, policy: Policy) -> None:
    """Makes `app` answer every error in the shape of `policy`, unknown paths included."""

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, MillstreamError)
        if error.kind.report:
            _log.warning("request failed", surface=policy.name, path=request.url.path, code=error.code, message=error.message)
        return policy.render_error(error)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 422 or error.detail == _UNREADABLE:
            problem = error.detail if error.status_code == 422 else _why_unreadable(error.__cause__)
            return policy.render_faults([FieldFault(("body",), problem, "json_invalid")])
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(app, request))
        response = policy.render_error(from_http(HTTPException(error.status_code, error.detail, headers)))
        response.headers.update(headers)
        return response

    async def wrong_fields(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return policy.render_faults(faults_of(error.errors()))

    app.add_exception_handler(MillstreamError, known)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, wrong_fields)
    app.add_middleware(Boundary, policy=policy)


def _why_unreadable(problem: BaseException | None) -> str:
    match problem:
        case UnicodeDecodeError():
            return "the body is not UTF-8; send JSON in UTF-8, not compressed"
        case RecursionError():
            return "the body nests too deep; flatten it"
    return f"the body cannot be read as JSON: {problem}"


def _methods(app: FastAPI, request: Request) -> list[str]:
    """Every method that the path of a request takes, whichever router has it; the framework names those of its first route only. A path that fits a
    template beside its own takes what its own does."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    fitting = [template for template in app.openapi()["paths"] if compile_path(template)[0].match(path)]
    if fitting:
        operations = app.openapi()["paths"][min(fitting, key=lambda template: template.count("{"))]
        return [method for method in _METHODS if method.lower() in operations]
    # What is in no document, or has slashes in a parameter.
    router = next(route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return [method for method in _METHODS if router.matches({**request.scope, "method": method})[0] is Match.FULL]


def error_responses(policy: Policy, *codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation for OpenAPI: one entry for each status the error codes map to."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = KINDS[code]
        content = {**policy.error_schema, **(policy.faults_schema if kind.http == 422 else {})}
        entry = by_status.setdefault(kind.http, {"description": "", "content": content})
        entry["description"] = f"{entry['description']} `{code}`: {kind.meaning}".strip()
    return by_status
