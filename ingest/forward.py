"""Requests that are not for a door go on to the query service, so that one port serves a whole surface."""

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

import httpx
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from infra.runtime.errors import Unavailable
from ingest.exchange import Receive, Scope, Send, raw_headers

_log = structlog.get_logger()
_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"proxy-authorization", b"proxy-authenticate", b"host"}
_WS_HANDSHAKE = {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions", b"sec-websocket-protocol"}
_PATH = "/:@!$&'()*+,;=~"
"""Characters that stand for themselves in a path (RFC 3986, section 3.3), beside letters, digits and `-._`."""
_MAX_FRAME = 16 * 1024 * 1024
_PATIENCE_S = 330.0
"""A read may wait 300 s for a position before the query service answers it."""


class Forwarder:
    """A reverse proxy for HTTP and WebSocket to one upstream; it streams both ways and keeps nothing."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.AsyncClient(base_url=self._url, timeout=httpx.Timeout(_PATIENCE_S, connect=2), limits=httpx.Limits(max_connections=200))

    async def close(self) -> None:
        await self._client.aclose()

    async def http(self, scope: Scope, receive: Receive, send: Send, path: str, more: Mapping[str, str] = {}) -> None:
        """Forward one request under another path, and its answer with `more` headers. Raises Unavailable when the query service cannot be reached."""
        query = scope.get("query_string", b"")
        headers = [(k, v) for k, v in scope["headers"] if k.lower() not in _HOP] + _origin(scope)
        sized = any(k == b"content-length" or k == b"transfer-encoding" for k, _ in scope["headers"])
        request = self._client.build_request(
            scope["method"], httpx.URL(self._url + quote(path, safe=_PATH), query=query), headers=headers, content=_chunks(receive) if sized else None
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise Unavailable("The query service cannot be reached; try again.", retry_after_s=1) from error
        try:
            kept = [(k.lower(), v) for k, v in response.headers.raw if k.lower() not in _HOP] + raw_headers(more)
            await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    async def websocket(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Join the client's WebSocket with one to the query service until either side closes."""
        query = scope.get("query_string", b"").decode("latin-1")
        url = self._url.replace("http", "ws", 1) + quote(path, safe=_PATH) + (f"?{query}" if query else "")
        drop = _HOP | _WS_HANDSHAKE
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in [*scope["headers"], *_origin(scope)] if k.lower() not in drop]
        await receive()
        try:
            upstream = await connect(
                url, additional_headers=headers, subprotocols=scope.get("subprotocols") or None, max_size=_MAX_FRAME, open_timeout=5, ping_interval=None,
                proxy=None,
            )  # fmt: skip
        except (OSError, WebSocketException) as error:
            code = 4401 if isinstance(error, InvalidStatus) and error.response.status_code in (401, 403) else 1013
            await send({"type": "websocket.close", "code": code, "reason": "The query service refused or cannot be reached."})
            return
        await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
        pumps = [asyncio.create_task(_upwards(receive, upstream)), asyncio.create_task(_downwards(upstream, send))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await upstream.close()


def _origin(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Who the client is; the query service trusts these only from its own front."""
    client = scope.get("client") or ("", 0)
    return [(b"x-forwarded-for", str(client[0]).encode()), (b"x-forwarded-host", dict(scope["headers"]).get(b"host", b""))]


async def _chunks(receive: Receive):  # type: ignore[no-untyped-def]
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _upwards(receive: Receive, upstream: ClientConnection) -> None:
    try:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                await upstream.close(message.get("code") or 1000)
                return
            data = message.get("text")
            await upstream.send(data if data is not None else message.get("bytes", b""))
    except ConnectionClosed:
        return


async def _downwards(upstream: ClientConnection, send: Send) -> None:
    try:
        async for data in upstream:
            await send({"type": "websocket.send", "text": data} if isinstance(data, str) else {"type": "websocket.send", "bytes": data})
    except ConnectionClosed:
        pass
    await send({"type": "websocket.close", "code": upstream.close_code or 1000, "reason": upstream.close_reason or ""})
