"""Starlette's WebSocket as live connections want it: it says `Gone` where the client is, and raises nothing else for what a client does."""

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from infra.runtime.errors import InvalidArgument
from query_api.live.session import Gone


class ClientSocket:
    """The connection of one client, accepted already. Every method raises `Gone` at its end."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> str | bytes:
        """The next message."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise Gone
        text = message.get("text")
        return text if isinstance(text, str) else bytes(message.get("bytes") or b"")

    async def receive_text(self) -> str:
        """The next message. Raises InvalidArgument for one that is not text."""
        text = await self.receive()
        if isinstance(text, bytes):
            raise InvalidArgument("messages are text, one JSON object each")
        return text

    async def send_text(self, data: str) -> None:
        try:
            await self._websocket.send_text(data)
        except (WebSocketDisconnect, RuntimeError, OSError):
            raise Gone from None

    async def close(self, code: int, reason: str) -> None:
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError, OSError):
            raise Gone from None
