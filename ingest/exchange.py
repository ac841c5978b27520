"""What a door sees of a request and what it gives back: plain ASGI, without a framework between."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from infra.runtime.errors import InvalidArgument, TooLarge, ValidationFailed

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientGone(Exception):
    """The client closed the connection before its body was complete; nothing was stored and nobody is left to answer."""


class DoorRequest(msgspec.Struct, frozen=True):
    """One request to a door."""

    path: str
    """Path without the surface's prefix."""
    headers: dict[str, str]
    """Header values by lower-case name; the last one wins."""
    client: str
    """Address of the client, without the port."""
    receive: Receive
    query: bytes = b""
    """The query string, still percent-encoded."""

    @classmethod
    def from_scope(cls, scope: Scope, receive: Receive, path: str) -> "DoorRequest":
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope.get("client") or ("", 0)
        return cls(path, headers, str(client[0]), receive, scope.get("query_string", b""))

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the query string by name; the last one of a name wins. Raises ValidationFailed when they are no text."""
        try:
            pairs = (pair.partition(b"=") for pair in self.query.split(b"&"))
            return {_unquoted(name): _unquoted(value) for name, _, value in pairs}
        except UnicodeDecodeError as error:
            raise ValidationFailed("The query string is not percent-encoded UTF-8.") from error

    @property
    def media_type(self) -> str:
        """Content type in lower case without its parameters."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    @property
    def content_length(self) -> int:
        """Declared length in bytes, 0 when not declared. Raises InvalidArgument when it is not a number."""
        text = self.headers.get("content-length", "0")
        if not text.isdigit():
            raise InvalidArgument("Content-Length must be a whole number.")
        return int(text)

    async def raw_body(self, limit: int) -> bytes:
        """The body as sent, before decompression. Raises TooLarge as soon as more than `limit` bytes came, ClientGone on a disconnect."""
        if self.content_length > limit:
            raise TooLarge(f"The body has {self.content_length} bytes; the limit is {limit}. Send smaller batches.")
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"The body is over the limit of {limit} bytes. Send smaller batches.")
            if not message.get("more_body"):
                if not chunks:
                    return chunk
                chunks.append(chunk)
                return b"".join(chunks)
            chunks.append(chunk)


def _unquoted(text: bytes) -> str:
    return (unquote_to_bytes(text.replace(b"+", b" ")) if b"%" in text or b"+" in text else text).decode()


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


class DoorAnswer(msgspec.Struct, frozen=True):
    """What goes back to the client."""

    status: int
    body: bytes
    content_type: str
    headers: dict[str, str] = {}

    async def send(self, send: Send, more: Mapping[str, str] = {}) -> None:
        """Write the answer to the connection, with `more` headers than its own."""
        bare = self.status in (204, 304)  # these have no content, so they do not describe one
        head = [] if bare else [(b"content-type", self.content_type.encode()), (b"content-length", str(len(self.body)).encode())]
        head += raw_headers(self.headers)
        head += raw_headers(more)
        await send({"type": "http.response.start", "status": self.status, "headers": head})
        await send({"type": "http.response.body", "body": self.body})
