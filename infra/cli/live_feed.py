"""A client of the live connection: the newest state of one subject's windows, kept up to date."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect

State = dict[str, Any]
"""A window as the connection carries it: kind, subject, grain, revision, positions, items."""

_PAUSE_S = 1.0


class LiveFeed:
    """Follows one window for as long as `run` runs; connects again when the connection ends."""

    def __init__(self, base_url: str, key: str, *, kind: str, subject: str, grain: str, changed: Callable[[State], None] = lambda _: None) -> None:
        """`changed` is called with every newer revision; it must not block."""
        self._url = base_url.replace("http", "ws", 1) + "/platform/v1/live"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._subscription = {"type": "subscribe", "kind": kind, "subject": subject, "grain": grain}
        self._changed = changed
        self.state: State | None = None
        """The newest revision; None before the first."""
        self.revisions = 0
        """Revisions seen since the start."""
        self.problem = ""
        """Why there is no connection; empty while there is one."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with connect(self._url, additional_headers=self._headers, proxy=None, max_size=16_777_216) as socket:
                    await self._follow(socket)
            except (OSError, TimeoutError, websockets.WebSocketException) as error:
                self.problem = f"{type(error).__name__}: {error}"[:200]
            await asyncio.sleep(_PAUSE_S)

    async def _follow(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps(self._subscription))
        self.problem = ""
        async for text in socket:
            message = json.loads(text)
            match message["type"]:
                case "snapshot":
                    for state in message["windows"]:
                        self._take(state)
                case "update":
                    self._take(message["window"])
                case "error":
                    self.problem = f"{message['code']}: {message['message']}"

    def _take(self, state: State) -> None:
        if self.state is None or state["revision"] > self.state["revision"]:
            self.state = state
            self.revisions += 1
            self._changed(state)
