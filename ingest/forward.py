"""Requests that are not for a door go on to the query service, so that one port serves a whole surface.

aiohttp carries them: 0.15 ms of CPU a request where httpx costs 1.1 ms.
"""

import asyncio
import string
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote

import aiohttp
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from yarl import URL

from infra.runtime.errors import Unavailable
from ingest.exchange import ClientGone, Receive, Scope, Send, raw_headers

_log = structlog.get_logger()
_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"proxy-authorization", b"proxy-authenticate", b"host", b"expect"}
"""What is between two neighbours. The server of the front meets `Expect` itself, once the body is asked for."""
_WS_HANDSHAKE = {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions", b"sec-websocket-protocol"}
_OWN = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would add where the client sent none."""
_PATH = "/:@!$&'()*+,;=~"
"""Characters that stand for themselves in a path (RFC 3986, section 3.3), beside letters, digits and `-._`."""
_QUERY = string.punctuation.replace("#", "")
"""A query string is encoded already; only what is not ASCII is not."""
_MAX_FRAME = 16 * 1024 * 1024
_MAX_HEADER = 64 * 1024
_PATIENCE = aiohttp.ClientTimeout(total=None, connect=330.0, sock_connect=2.0, sock_read=330.0)
"""A read may wait 300 s for a position before the query service answers it, and others as long for its connection."""


class Forwarder:
    """A reverse proxy for HTTP and WebSocket to one upstream; it streams both ways and keeps nothing. Belongs to the event loop it was made in."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=200), timeout=_PATIENCE, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
            skip_auto_headers=_OWN, middlewares=(_once,), max_line_size=_MAX_HEADER, max_field_size=_MAX_HEADER,
        )  # fmt: skip

    async def close(self) -> None:
        await self._session.close()

    async def http(self, scope: Scope, receive: Receive, send: Send, path: str, more: Mapping[str, str] = {}) -> None:
        """Forward one request under another path, and its answer with `more` headers. Raises Unavailable when the query service cannot be reached."""
        query = quote(scope.get("query_string", b""), safe=_QUERY)
        url = URL(self._url + quote(path, safe=_PATH) + (f"?{query}" if query else ""), encoded=True)
        headers = [(k.decode("latin-1"), _text(v)) for k, v in [*scope["headers"], *_origin(scope)] if k.lower() not in _HOP]
        sized = any(k in (b"content-length", b"transfer-encoding") for k, _ in scope["headers"])
        body = _chunks(receive) if sized else None
        async with self._session.request(scope["method"], url, headers=headers, data=body, allow_redirects=False) as response:
            kept = [(k.lower(), v) for k, v in response.raw_headers if k.lower() not in _HOP] + raw_headers(more)
            await send({"type": "http.response.start", "status": response.status, "headers": kept})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

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


async def _once(request: aiohttp.ClientRequest, answered: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Where a connection breaks, aiohttp would send a request by a method that may be repeated a second time; that is for the client to decide."""
    try:
        return await answered(request)
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable("The query service cannot be reached; try again.", retry_after_s=1) from error


def _origin(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Who the client is; the query service trusts these only from its own front."""
    client = scope.get("client") or ("", 0)
    return [(b"x-forwarded-for", str(client[0]).encode()), (b"x-forwarded-host", dict(scope["headers"]).get(b"host", b""))]


def _text(value: bytes) -> str:
    """The value as aiohttp takes it: it writes text as UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The body as it comes. Raises ClientGone when it ends before it is complete, so that nobody takes it for whole or waits for the rest."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
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
