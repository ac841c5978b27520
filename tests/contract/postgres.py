"""A PostgreSQL server for contract tests: a local one made for the test, else a container, else the reason for neither."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.ports import free_port


def _binary_folder() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    path = shutil.which("postgres")
    return Path(path).resolve().parent if path else None


@contextlib.contextmanager
def _local(binaries: Path) -> Iterator[str]:
    # PostgreSQL refuses to run as root; its packages bring the user `postgres` along.
    user = "postgres" if os.getuid() == 0 else None
    # Sockets and the other user need a short path that everybody may enter, which pytest's own folder is not.
    folder = Path(tempfile.mkdtemp(prefix="millstream-pg-"))
    server: subprocess.Popen[bytes] | None = None
    try:
        if user:
            shutil.chown(folder, user)
        # PGHOST and its like would point the tools at another server.
        env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        data, port = folder / "data", free_port()
        command: list[str | Path] = [binaries / "initdb", "-D", data, "-U", "test", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(command, user=user, env=env, cwd=folder, check=True, capture_output=True, timeout=60)
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F", "-c", "shared_buffers=16MB"],
            user=user,
            env=env,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ready: list[str | Path] = [binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-U", "test", "-t", "20"]
        for _ in range(200):
            if subprocess.run(ready, env=env, check=False, capture_output=True).returncode == 0:
                break
            if server.poll() is not None:
                raise RuntimeError("the PostgreSQL server ended at start")
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.1)
        yield f"postgresql+asyncpg://test@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of an empty server that goes away at the end. Skips the test, with the reason, where there is none."""
    binaries = _binary_folder()
    if binaries is not None:
        with _local(binaries) as url:
            yield url
        return
    from testcontainers.postgres import PostgresContainer

    try:
        container = PostgresContainer("postgres:17-alpine", driver="asyncpg").start()
    except Exception as error:  # noqa: BLE001
        pytest.skip(f"neither PostgreSQL binaries nor a Docker engine: {type(error).__name__}")
    try:
        yield container.get_connection_url()
    finally:
        container.stop()
