"""`live`: the WebSocket, and its description for people who ask without one."""

from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.responses import Response

from infra.runtime.errors import KINDS, MillstreamError
from query_api.access import Caller, key_text
from query_api.dependencies import SharedParts
from query_api.live.messages import encode_error
from query_api.live.session import Gone, Session
from query_api.metrics import LIVE_CLIENTS, LIVE_COALESCED
from query_api.parts import Parts
from query_api.readers.windows import WindowReader
from query_api.surfaces.client_socket import ClientSocket
from query_api.surfaces.policy import json_response

router = APIRouter(tags=["live"])

_CODES = ("invalid_argument", "unauthenticated", "forbidden", "too_large", "unavailable", "internal")

PROTOCOL: dict[str, Any] = {
    "url": "/platform/v1/live",
    "authenticate": "A key header at the upgrade, or this first message within 10 s. Never in the query string.",
    "client_messages": [
        {"type": "authenticate", "key": "KEY"},
        {"type": "subscribe", "kind": "significance", "subject": "checkout_button", "grain": "all", "from_revision": 41},
        {"type": "unsubscribe", "kind": "significance", "subject": "checkout_button", "grain": "all"},
        {"type": "subscribe", "kind": "flow"},
        {"type": "ping"},
    ],
    "server_messages": {
        "authenticated": "The connection may subscribe; carries `tenant` and `heartbeat_s`.",
        "snapshot": "First answer to a subscription, in parts; the part with `last` ends it. `windows` replace what the client has under the same "
        "kind, subject, grain and window_start; `items` holds the figures by item. With `from_revision` only what is newer.",
        "update": "A revision, in order. `skipped` counts the revisions of this window that a slow client did not get.",
        "flow": "Once a second: rows and freshness by topic.",
        "unsubscribed": "Nothing of this subscription follows.",
        "error": "A request failed; `request` repeats it. The connection goes on unless a close follows.",
        "heartbeat": "Nothing else to say; silence for twice `heartbeat_s` means the connection is lost.",
        "pong": "Answer to ping.",
    },
    "subjects": "`subject` may be left out, or `*`, for every subject of the tenant; `grain` may be left out for every grain.",
    "close_codes": {str(KINDS[code].close): f"{code}: {KINDS[code].meaning}" for code in _CODES},
}


@router.get("/live", operation_id="describe_live", summary="Messages and close codes of the live connection")
async def describe() -> Response:
    """Open the same path as a WebSocket to follow windows as they are computed: a snapshot first, then every revision in order."""
    return json_response(PROTOCOL)


@router.websocket("/live")
async def live(websocket: WebSocket, parts: SharedParts) -> None:
    # Accepted before the key is looked at, because a refused upgrade cannot tell a browser why.
    await websocket.accept()
    socket = ClientSocket(websocket)
    try:
        caller = _caller(websocket, parts)
    except MillstreamError as error:
        try:
            await socket.send_text(encode_error(error).decode())
            await socket.close(error.kind.close, error.code)
        except Gone:
            pass
        return
    query = parts.settings.query
    windows = WindowReader(parts.rows)
    session = Session(socket, parts.hub, parts.flow, windows, parts.access, caller=caller, queue=query.live_queue, heartbeat_s=query.live_heartbeat_s)
    LIVE_CLIENTS.inc()
    try:
        await session.run()
    finally:
        LIVE_CLIENTS.dec()
        LIVE_COALESCED.inc(session.outbox.coalesced)


def _caller(websocket: WebSocket, parts: Parts) -> Caller | None:
    key = key_text(websocket.headers)
    return parts.access.with_key(key, "read") if key is not None else None
