"""`/socket/websocket`: Phoenix Channels, as the npm package `phoenix` speaks them."""

import base64
import binascii
from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, WebSocket

import schemas.surfaces
from infra.runtime.errors import MillstreamError, Unauthenticated
from query_api.access import Caller
from query_api.dependencies import SharedParts
from query_api.live.channel_socket import ChannelSocket
from query_api.live.channel_wire import Serializer
from query_api.metrics import LIVE_CLIENTS
from query_api.parts import Parts
from query_api.surfaces.client_socket import ClientSocket

router = APIRouter(tags=["socket"])

_PROTOCOL: Final = "phoenix"
_TOKEN: Final = "base64url.bearer.phx."  # noqa: S105
"""What the client puts before its token where a browser lets it send no header."""


@router.websocket("/socket/websocket")
async def channels(websocket: WebSocket, parts: SharedParts) -> None:
    admit = _admission(websocket, parts)
    try:
        caller = admit()
        serializer = Serializer(websocket.query_params.get("vsn", "1.0.0"))
    except MillstreamError as error:
        # Before the upgrade is accepted: the client sees 403 and comes again later.
        await websocket.close(error.kind.close, error.code)
        return
    offered = websocket.scope.get("subprotocols") or []
    await websocket.accept(_PROTOCOL if _PROTOCOL in offered else None)
    LIVE_CLIENTS.inc()
    try:
        await ChannelSocket(ClientSocket(websocket), serializer, parts.channels, caller, admit).run()
    finally:
        LIVE_CLIENTS.dec()


def _admission(websocket: WebSocket, parts: Parts) -> Callable[[], Caller]:
    """Who the connection stands for, now and whenever it is asked again: by the token in its parameters or hidden in its subprotocols, which is an API key
    or that of a session, else by its headers. What is given raises Unauthenticated and Forbidden."""
    hidden = next((each.removeprefix(_TOKEN) for each in websocket.scope.get("subprotocols") or () if each.startswith(_TOKEN)), None)
    token = websocket.query_params.get("token") or (_unhidden(hidden) if hidden else None)
    cookie = schemas.surfaces.CRUCIBLE.cookie
    if not token:
        return lambda: parts.access.identify(websocket, "read", keyless=False, cookie=cookie)

    def with_token() -> Caller:
        try:
            return parts.access.with_key(token, "read")
        except Unauthenticated:
            return parts.access.with_session(token, cookie)

    return with_token


def _unhidden(token: str) -> str:
    """The token, which is in either alphabet of base64 and without its padding; anything else opens nothing."""
    try:
        return base64.b64decode(token.replace("-", "+").replace("_", "/") + "=" * (-len(token) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return "?"
