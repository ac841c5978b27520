"""Development of the MCP server of Arize Phoenix, as its README says: its sources are installed, built, run as they are, and inspected.

`PHOENIX_SOURCES` names a whole checkout of Arize-ai/phoenix. Its workspace is installed and built where it is.
"""

import os
import socket
import urllib.request
import uuid
from pathlib import Path

import httpx
import pytest

from tests.clients.mcp_client import mcp_client
from tests.clients.phoenix_sources import dot_env, pnpm, ran, running
from tests.flow.stack import KEY, LiveStack
from tests.support import eventually_sync, free_port

_CHECKOUT = Path(os.environ.get("PHOENIX_SOURCES", ""))
_WORKSPACE = _CHECKOUT / "js"
_SERVER = _WORKSPACE / "packages" / "phoenix-mcp"
_DEADLINE_S = 900.0
_BUILT = _SERVER / "build" / "index.js"

pytestmark = [
    pytest.mark.skipif(not os.environ.get("PHOENIX_SOURCES"), reason="PHOENIX_SOURCES may name a checkout of Arize-ai/phoenix"),
    pytest.mark.timeout(2 * _DEADLINE_S),
    pytest.mark.xdist_group("live"),  # two processes would build in one workspace
]


@pytest.fixture(scope="module")
def command(live: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """pnpm, in a workspace that it has installed and built. What needs it needs the stack, so that all of it is in one group of tests."""
    found, output = pnpm(_CHECKOUT), tmp_path_factory.mktemp("pnpm") / "output"
    ran([*found, "install"], _WORKSPACE, output, _DEADLINE_S)
    ran([*found, "build"], _WORKSPACE, output, _DEADLINE_S)
    return found


@pytest.fixture
def project(live: LiveStack) -> str:
    """The name of a project."""
    name = f"project-{uuid.uuid4().hex}"
    httpx.post(f"{live.url('llm')}/v1/projects", json={"name": name}, headers=live.headers).raise_for_status()
    return name


def test_install_and_build(live: LiveStack, command: list[str], project: str, tmp_path: Path) -> None:
    """llm.cli.mcp_dev.install, llm.cli.mcp_dev.build: in the workspace, and in the server's own folder again"""
    before = _BUILT.stat().st_mtime_ns
    ran([*command, "build"], _SERVER, tmp_path / "output", _DEADLINE_S)
    assert _BUILT.stat().st_mtime_ns > before
    with mcp_client(["node", str(_BUILT), "--baseUrl", live.url("llm"), "--apiKey", KEY]) as client:
        assert project in client.call("list-projects", limit=500)


def test_development_mode(live: LiveStack, command: list[str], project: str) -> None:
    """llm.cli.mcp_dev.dev, llm.mcp.env: the sources as they are, by the address and key of .env

    The script reads .env by `source`, which not every sh has. What follows its `--` is no option to the server, which therefore sees only
    what .env exports. The document names the address PHOENIX_BASE_URL, newer sources PHOENIX_ENDPOINT.
    """
    address = live.url("llm")
    with (
        dot_env(_SERVER, {"PHOENIX_API_KEY": KEY, "PHOENIX_BASE_URL": address, "PHOENIX_ENDPOINT": address}),
        mcp_client([*command, "--config.script-shell=bash", "--silent", "dev"], _SERVER) as client,
    ):
        assert project in client.call("list-projects", limit=500)


def test_inspector(command: list[str], tmp_path: Path) -> None:
    """llm.cli.mcp_dev.inspect: its page is served, and no more when it is ended"""
    port, output = free_port(), tmp_path / "output"
    address = {"HOST": "127.0.0.1", "CLIENT_PORT": str(port), "SERVER_PORT": str(free_port())}
    quiet = {"MCP_AUTO_OPEN_ENABLED": "false", "MCP_STORAGE_DIR": str(tmp_path / "inspector")}
    with running([*command, "inspect"], _SERVER, output, {**address, **quiet}) as process:

        def inspector_answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"ended with status {process.returncode}:\n{output.read_text(errors='replace')[-4_000:]}")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                return b"<title>MCP Inspector</title>" in response.read()

        eventually_sync(inspector_answers, timeout=_DEADLINE_S, interval=0.5)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
