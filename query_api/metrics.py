"""Counts and times what the query service answers."""

import time

from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.runtime.metric_names import REGISTRY, counter, gauge, histogram

REQUESTS = counter("millstream_query_requests_total")
SECONDS = histogram("millstream_query_request_seconds")
LIVE_CLIENTS = gauge("millstream_live_clients")
LIVE_COALESCED = counter("millstream_live_coalesced_total")


class Measured:
    """ASGI middleware of a surface: one count and one time per request."""

    def __init__(self, app: ASGIApp, surface: str) -> None:
        self._app = app
        self._surface = surface

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            REQUESTS.labels(self._surface, str(status)).inc()
            SECONDS.labels(self._surface).observe(time.perf_counter() - began)


def exposition(request: Request) -> Response:
    """The metrics in the text format the scraper asks for."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(REGISTRY), headers={"Content-Type": content_type})
