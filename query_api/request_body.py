"""How much of a request body is read."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class LimitedBody:
    """ASGI middleware of a surface: whoever reads more than `limit` bytes of a body gets an HTTPException 413, before any of it when its length was said."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "")
        too_long = said.isdecimal() and int(said) > self._limit
        room = self._limit

        async def limited() -> Message:
            nonlocal room
            message: Message = {} if too_long else await receive()
            room -= len(message.get("body", b""))
            if too_long or room < 0:
                raise HTTPException(413, f"The body has more than {self._limit} bytes. Send less at once.")
            return message

        await self._app(scope, limited, send)
