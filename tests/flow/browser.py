"""A headless Chromium that shows a page, driven over its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.support import eventually

CHROMIUM: Final = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
_QUIET: Final = ("gpu", "quic", "background-networking", "component-update", "sync", "dev-shm-usage")
_FLAGS: Final = ("headless=new", "no-sandbox", "no-first-run", "window-size=1440,900", "remote-debugging-port=0", *(f"disable-{what}" for what in _QUIET))


@asynccontextmanager
async def browser_page() -> AsyncIterator["BrowserPage"]:
    """An empty page in a browser of its own, which ends with the block."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(prefix="millstream-browser-", ignore_cleanup_errors=True) as folder:
        command = [CHROMIUM, *(f"--{flag}" for flag in _FLAGS), f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = await eventually(lambda: (Path(folder) / "DevToolsActivePort").read_text().split()[0], timeout=60)
            async with httpx.AsyncClient() as http:
                pages = (await http.get(f"http://127.0.0.1:{port}/json/list")).json()
            address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            async with connect(address, max_size=None, proxy=None) as socket:
                page = BrowserPage(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.ask(f"{domain}.enable")
                yield page
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 20)


class BrowserPage:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        """What scripts threw and the console was told as errors."""

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command."""
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(await asyncio.wait_for(self._socket.recv(), 60))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]  # type: ignore[no-any-return]
            self._note(message)

    async def open(self, url: str) -> None:
        """Go to an address."""
        await self.ask("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression gives, as JSON has it."""
        found = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, expression: str) -> Any:
        """The value of an expression once it is true."""

        async def holds() -> Any:
            return await self.value(expression) or None

        return await eventually(holds, timeout=30)

    async def press(self, key: str) -> None:
        """Press a key and let it go."""
        for kind in ("keyDown", "keyUp"):
            await self.ask("Input.dispatchKeyEvent", type=kind, key=key)

    async def picture(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode((await self.ask("Page.captureScreenshot", format="png"))["data"])

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])
