"""The stack starts its parts in order, replaces what dies, and leaves nothing behind."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.embedded.folder import FolderProblem
from infra.embedded.kafka import broker_answers
from infra.embedded.stack import Running, Stack, connect, http_ready
from infra.embedded.supervisor import Backoff, Child, ChildFailed
from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import PortSettings, Settings
from tests.support import eventually, free_port

QUICK = Backoff(first_s=0.05)


@pytest.fixture
def settings() -> Iterator[Settings]:
    # Kafka's longest names need a short folder.
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    ports = PortSettings().model_copy(update=dict.fromkeys(PortSettings.model_fields, 0) | {"main": free_port()})
    yield Settings().model_copy(update={"data_dir": folder / "data", "port": ports})
    shutil.rmtree(folder, ignore_errors=True)


def web_service(settings: Settings) -> list[Child]:
    """One stand-in for the services: a web server on the main port that shows its environment."""
    code = (
        "import http.server, os\n"
        "class Shown(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        body = os.environ['MILLSTREAM_CLICKHOUSE_URL'].encode(); self.send_response(200); self.send_header('Content-Length', str(len(body)))\n"
        "        self.end_headers(); self.wfile.write(body)\n"
        f"http.server.HTTPServer(('127.0.0.1', {settings.port.main}), Shown).serve_forever()\n"
    )
    return [Child("web", [sys.executable, "-c", code], http_ready(f"http://127.0.0.1:{settings.port.main}/"))]


async def test_the_whole_life(settings: Settings) -> None:
    prepared: list[Settings] = []

    async def prepare(seen: Settings) -> None:
        assert await broker_answers(seen.kafka.bootstrap)
        client = ClickHouse(seen.clickhouse.url, seen.clickhouse.user)
        await client.command("CREATE TABLE IF NOT EXISTS kept (a UInt8) ENGINE = MergeTree ORDER BY a")
        await client.command("INSERT INTO kept VALUES (1)")
        await client.aclose()
        prepared.append(seen)

    announced: list[Running] = []
    stack = Stack(settings, prepare, services=web_service, backoff=QUICK)
    life = asyncio.create_task(stack.run(announced.append))
    await eventually(lambda: announced or life.done(), timeout=90)
    assert announced, life.exception()
    first = announced[0].settings
    assert [status.name for status in stack.supervisor.statuses if status.state == "ready"] == ["clickhouse", "kafka", "web"]
    assert stack.folder.read_run()["ready"] is True
    assert connect(settings).clickhouse.url == first.clickhouse.url
    with pytest.raises(FolderProblem, match="already runs"):
        await Stack(settings, prepare).start()

    engine = stack.supervisor.statuses[0]
    killed = engine.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: engine.state == "ready" and engine.restarts == 1)
    pids = [status.pid for status in stack.supervisor.statuses if status.pid]

    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(life, 60)
    assert stack.folder.holder() is None
    assert not any(psutil.pid_exists(pid) for pid in pids)

    again = Stack(settings, prepare, services=web_service)
    try:
        running = await again.start()
        assert running.settings.clickhouse.url == first.clickhouse.url
        assert running.settings.kafka.bootstrap == first.kafka.bootstrap
        client = ClickHouse(first.clickhouse.url, first.clickhouse.user)
        assert await client.query("SELECT count() AS n FROM kept") == [{"n": 2}]
        await client.aclose()
    finally:
        await again.stop()


async def nothing(_settings: Settings) -> None:
    return None


async def test_a_busy_main_port_is_explained(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.port.main))
        taken.listen()
        stack = Stack(settings, nothing)
        with pytest.raises(FolderProblem, match=r"in use.*MILLSTREAM_PORT_MAIN="):
            await stack.start()
        await stack.stop()


async def test_a_busy_documented_port_is_only_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        ports = settings.port.model_copy(update={"crucible": busy})
        seen_ports: list[PortSettings] = []

        def services(seen: Settings) -> list[Child]:
            seen_ports.append(seen.port)
            return []

        stack = Stack(settings.model_copy(update={"port": ports}), nothing, services=services)

        async def no_stores(_settings: Settings) -> None:
            return None

        monkeypatch.setattr(stack, "_start_stores", no_stores)
        running = await stack.start()
        await stack.stop()
    assert seen_ports[0].crucible == 0
    assert len(running.warnings) == 1
    assert f"Port {busy}" in running.warnings[0]
    assert f":{settings.port.main}/crucible" in running.warnings[0]


async def test_a_service_that_cannot_start_ends_the_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> bool:
        return False

    bad = Child("bad", [sys.executable, "-c", "raise SystemExit('no luck')"], never)
    stack = Stack(settings, nothing, services=lambda _settings: [bad])

    async def no_stores(_settings: Settings) -> None:
        return None

    monkeypatch.setattr(stack, "_start_stores", no_stores)
    with pytest.raises(BaseExceptionGroup) as group:
        await stack.start()
    assert group.group_contains(ChildFailed, match="no luck")
    await stack.stop()
    assert stack.folder.holder() is None
