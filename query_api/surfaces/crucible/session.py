"""`session`: an API key for a cookie, so that a page in a browser need not keep the key."""

from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from query_api.dependencies import Known, SharedParts
from query_api.errors import error_responses
from query_api.surfaces.bodies import Body
from query_api.surfaces.crucible.answers import READ_ERRORS, one
from query_api.surfaces.crucible.policy import CRUCIBLE
from schemas.session import LIFETIME_S
from schemas.windows import to_iso

router = APIRouter(tags=["session"])


class SessionBody(Body):
    """The key, where it does not come in a header."""

    api_key: str | None = Field(None, description="The API key; a key in a header counts in place of it.", max_length=1_000)


class Session(BaseModel):
    """An open session."""

    token: str = Field(description="The value of the cookie.")
    expires_at: AwareDatetime


class OneSession(BaseModel):
    data: Session


_EXAMPLE: Final[dict[str, Any]] = {"data": {"token": "WyJhY21lIiwia2V5XzEiLDE3Njg0NzU2MDBd.R2d2c3RvcmVk", "expires_at": "2026-01-15T22:00:00Z"}}


@router.post(
    "/session",
    response_model=OneSession,
    status_code=201,
    operation_id="open_session",
    summary="Open a session",
    responses={201: {"content": {"application/json": {"example": _EXAMPLE}}}, **error_responses(CRUCIBLE, *READ_ERRORS)},
    openapi_extra={"security": [{"api_key": []}, {}]},
)
async def open_(request: Request, parts: SharedParts, body: SessionBody | None = None) -> Response:
    """Sets the cookie `_crucible_ui_key`, which stands for the key on this surface for twelve hours, or until the key is revoked. The token is not kept
    anywhere and cannot be taken back by itself."""
    token, until_s = parts.access.open_session(request, body.api_key if body else None, CRUCIBLE.cookie)
    answer = one({"token": token, "expires_at": to_iso(until_s * 1_000_000)}, status=201)
    answer.set_cookie(CRUCIBLE.cookie, token, max_age=LIFETIME_S, httponly=True, samesite="lax", secure=_is_encrypted(request))
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.delete(
    "/session",
    status_code=204,
    response_class=Response,
    operation_id="close_session",
    summary="Close the session",
    responses=error_responses(CRUCIBLE, *READ_ERRORS),
)
async def close(request: Request, _: Known) -> Response:
    """Takes the cookie away from the browser. Who kept its token may use it until it ends; revoke the key to end that too."""
    answer = Response(status_code=204)
    answer.delete_cookie(CRUCIBLE.cookie, httponly=True, samesite="lax", secure=_is_encrypted(request))
    return answer


def _is_encrypted(request: Request) -> bool:
    """Whether the browser came by https. What ends TLS, before ingest, says so."""
    said = request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    return (said or request.url.scheme) == "https"
