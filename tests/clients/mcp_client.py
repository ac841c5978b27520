"""A client of the Model Context Protocol over stdio (modelcontextprotocol.io, revision 2025-06-18): one JSON-RPC message per line."""

import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import end_by_stdin

_DEADLINE_S = 60.0


class McpClient:
    """A conversation with a running server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._asked = 0
        threading.Thread(target=self._read, daemon=True).start()
        me = {"name": "tests", "version": "1"}
        self.server = self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": me})
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of a request. Raises queue.Empty when none comes in time, AssertionError for an error."""
        self._asked += 1
        self._write({"jsonrpc": "2.0", "id": self._asked, "method": method, "params": params})
        while (answer := self._answers.get(timeout=_DEADLINE_S)).get("id") != self._asked:
            pass
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def tools(self) -> set[str]:
        """Names of the server's tools."""
        return {tool["name"] for tool in self.ask("tools/list", {})["tools"]}

    def call(self, tool: str, **arguments: Any) -> str:
        """The text that a tool gives. Raises AssertionError when the tool says that it failed."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        text = "\n".join(part["text"] for part in result["content"])
        assert not result.get("isError"), text
        return text

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))


@contextmanager
def mcp_client(command: Sequence[str], cwd: Path | None = None) -> Iterator[McpClient]:
    """A client of the server that the command starts, in that folder, which ends with it. Of Phoenix' settings the server sees none that this process has."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PHOENIX_")}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=cwd, env=environment)
    try:
        yield McpClient(process)
    finally:
        end_by_stdin(process)
