"""The whole system under test, started as a user starts it, on free ports and a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.runtime.clickhouse import ClickHouse
from tests.support import free_port

_DEADLINE_S = 180.0
_SERVICES = ("main", "experimentation", "crucible", "llm", "otlp_http", "otlp_grpc", "query", "worker_metrics")


@dataclass
class BenchStack:
    """A running system."""

    process: subprocess.Popen[bytes]
    folder: Path
    ports: dict[str, int]
    key: str
    kafka: str
    clickhouse_url: str

    def clickhouse(self) -> ClickHouse:
        """A client of the writing user."""
        return ClickHouse(self.clickhouse_url, "millstream", "", "millstream")

    def apply(self, definitions: str) -> None:
        """Apply a document of definitions, as a user does."""
        document = self.folder / "definitions.yaml"
        document.write_text(definitions)
        env = {**os.environ, "MILLSTREAM_DATA_DIR": str(self.folder)}
        subprocess.run([sys.executable, "-m", "infra.cli.main", "apply", str(document)], env=env, check=True, stdout=subprocess.DEVNULL)

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory by process of the stack, the whole under `total`."""
        found: dict[str, int] = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words = " ".join(child.cmdline())
                name = next((n for n in ("clickhouse_server", "java", "serve query", "serve ingest", "worker") if n in words), "other")
                found[name] = found.get(name, 0) + child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        found["supervisor"] = psutil.Process(self.process.pid).memory_info().rss
        return {**found, "total": sum(found.values())}

    def cpu_seconds(self) -> dict[str, float]:
        """CPU used so far by process of the stack."""
        found: dict[str, float] = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words = " ".join(child.cmdline())
                name = next((n for n in ("clickhouse_server", "kafka", "serve query", "serve ingest", "worker") if n in words), "other")
                times = child.cpu_times()
                found[name] = found.get(name, 0.0) + times.user + times.system
            except psutil.NoSuchProcess:
                continue
        return found


@contextmanager
def running(**settings: str) -> Iterator[BenchStack]:
    """Start the system with these settings (names without the MILLSTREAM_ prefix) and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="millstream-bench-") as name:
        folder = Path(name)
        ports = {service: free_port() for service in _SERVICES}
        env = {**os.environ, "MILLSTREAM_DATA_DIR": str(folder), "MILLSTREAM_SELF_TELEMETRY": "false", "MILLSTREAM_LOG_LEVEL": "WARNING"}
        env |= {f"MILLSTREAM_PORT_{service.upper()}": str(port) for service, port in ports.items()}
        env |= {f"MILLSTREAM_{setting}": value for setting, value in settings.items()}
        log = (folder / "bench.log").open("wb")
        process = subprocess.Popen([sys.executable, "-m", "infra.cli.main", "up"], env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _ready(process, folder, ports)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
            log.close()


def _ready(process: subprocess.Popen[bytes], folder: Path, ports: dict[str, int]) -> BenchStack:
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError((folder / "bench.log").read_text()[-4_000:])
        run = folder / "run.json"
        if run.exists():
            state = json.loads(run.read_text() or "{}")
            if state.get("ready"):
                chosen = json.loads((folder / "stack.json").read_text())["ports"]
                kafka, engine = f"127.0.0.1:{chosen['kafka']}", f"http://127.0.0.1:{chosen['clickhouse']}"
                return BenchStack(process, folder, ports, (folder / "api_key").read_text().strip(), kafka, engine)
        time.sleep(0.1)
    raise TimeoutError("the stack did not become ready: " + (folder / "bench.log").read_text()[-4_000:])
