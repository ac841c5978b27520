"""What is read of a request body: no more than the limit, and as JSON only what everybody can store."""

import re
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MAYBE_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF: Final = re.compile(rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]|\\(?!u[dD][89a-fA-F]).)*+\\u[dD][89a-fA-F]", re.DOTALL)
"""JSON up to the escape of half a surrogate pair: behind other characters, whole pairs and other escapes."""


class CheckedBody:
    """ASGI middleware of a surface. Whoever reads a body gets an HTTPException: 413 beyond `limit` bytes, before any of them when the length was
    said, and 422 for JSON with half of a surrogate pair, which is no character and in no encoding of Unicode."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        said = headers.get("content-length", "")
        too_long = said.isdecimal() and int(said) > self._limit
        is_json = "json" in headers.get("content-type", "")
        room, pieces = self._limit, list[bytes]()

        async def checked() -> Message:
            nonlocal room
            message: Message = {} if too_long else await receive()
            piece = message.get("body", b"")
            room -= len(piece)
            if too_long or room < 0:
                raise HTTPException(413, f"The body has more than {self._limit} bytes. Send less at once.")
            if is_json:
                pieces.append(piece)
                if not message.get("more_body") and _has_half(b"".join(pieces)):
                    raise HTTPException(422, "a text holds half of a surrogate pair, which is no character; send whole characters")
            return message

        await self._app(scope, checked, send)


def _has_half(body: bytes) -> bool:
    return _MAYBE_HALF.search(body) is not None and _HALF.match(body) is not None
