"""Arize Phoenix, the newest release that the lock holds, as its users start it: SQLite, loopback, a folder of its own; telemetry off."""

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.environments import environment
from tests.support import free_port

_HERE: Final = Path(__file__).parent / "phoenix_env"
_DEADLINE_S: Final = 120.0
_LOADER: Final = _HERE / "load_spans.py"


def python() -> Path:
    """The interpreter that has the peer, installed the first time. Raises RuntimeError when it cannot be."""
    try:
        return environment("phoenix-server", _HERE / "requirements.lock")
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        raise RuntimeError(str(error)) from None


@dataclass
class Peer:
    """A server that can be stopped and started again on its data."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers."""
        env = {**os.environ, "PHOENIX_WORKING_DIR": str(self.folder), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(self.port)}
        env |= {"PHOENIX_GRPC_PORT": str(free_port()), "PHOENIX_TELEMETRY_ENABLED": "false", "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([str(python().parent / "phoenix"), "serve"], env=env, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"Arize Phoenix ended: {(self.folder / 'server.log').read_text(errors='replace')[-2_000:]}")
            try:
                with urllib.request.urlopen(f"{self.url}/arize_phoenix_version", timeout=2) as answer:
                    self.version: str = answer.read().decode()
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("Arize Phoenix did not become ready")

    def stop(self) -> None:
        """End it; SIGKILL when it does not within 30 s. Calling it again does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def column(self, sql: str) -> list[Any]:
        """The first column of a SELECT on its database, read beside it."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)) as connection:
            return [row[0] for row in connection.execute(sql)]

    def count(self, table: str) -> int:
        """Rows of a table."""
        return int(self.column(f"SELECT count(*) FROM {table}")[0])

    def wait_for(self, table: str, wanted: int, deadline_s: float) -> float:
        """Seconds until so many rows are there. Raises TimeoutError with what is."""
        started = time.monotonic()
        while (found := self.count(table)) < wanted:
            if time.monotonic() - started > deadline_s:
                raise TimeoutError(f"Arize Phoenix stored {found} of {wanted} {table} within {deadline_s:.0f} s")
            time.sleep(0.05)
        return time.monotonic() - started

    def disk_bytes(self) -> int:
        """Size of the database with its log; stop it first, so that the log is folded in."""
        return sum(file.stat().st_size for file in self.folder.glob(f"{self._database.name}*"))

    def load(self, requests: Iterable[bytes]) -> None:
        """Store the spans of export requests with its own decoder and models, past its door, in one transaction each. Stop it first."""
        with tempfile.TemporaryFile() as file:
            for body in requests:
                file.write(len(body).to_bytes(4, "little") + body)
            file.seek(0)
            done = subprocess.run([str(python()), str(_LOADER), str(self._database)], stdin=file, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the peer's database could not be filled: {done.stderr[-2_000:]}")

    @property
    def _database(self) -> Path:
        return self.folder / "phoenix.db"


@contextmanager
def running() -> Iterator[Peer]:
    """A fresh one, stopped and deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="phoenix-bench-"))
    peer = Peer(folder, free_port())
    try:
        peer.start()
        yield peer
    finally:
        peer.stop()
        shutil.rmtree(folder, ignore_errors=True)
