"""The whole platform as real processes on free ports, each of which a test may kill, stop, pause and start again."""

import asyncio
import atexit
import functools
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil
from pydantic import SecretStr
from rich.console import Console

from infra.cli.first_start import FirstStart
from infra.embedded.stack import environment_of, platform_services
from infra.embedded.supervisor import Child, die_with_parent
from infra.provision.prepare import open_clickhouse
from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import Settings
from query_api.control.store import ControlStore
from query_api.domain.definitions import apply_documents
from tests.support import EmbeddedParts, eventually_sync, free_port

KEY = "live-stack-key-0123456789"
_PORTS = ("main", "experimentation", "crucible", "llm", "otlp_http", "otlp_grpc", "query")
_COMMON = {
    "MILLSTREAM_SELF_TELEMETRY": "false",
    "MILLSTREAM_LOG_LEVEL": "INFO",
    # The least the broker allows: a killed worker's partitions wait for this long.
    "MILLSTREAM_KAFKA_SESSION_TIMEOUT_S": "6",
    "MILLSTREAM_KAFKA_REBALANCE_TIMEOUT_S": "10",
    "MILLSTREAM_CLICKHOUSE_INSERT_TIMEOUT_S": "5",
    "MILLSTREAM_STREAMS_RETRY_MAX_S": "2",
}
_READY_S = 60.0


class LiveStack:
    """Engine, Kafka, ingest, query and workers, each a process of its own. Every method blocks; use `asyncio.to_thread` beside a loop."""

    def __init__(self, *, workers: int = 1, env: Mapping[str, str] | None = None) -> None:
        """Nothing runs before `start`. `env` is for every service."""
        ports = {name: free_port() for name in _PORTS} | {"worker_metrics": 0}
        base = Settings(bootstrap_api_key=SecretStr(KEY), self_telemetry=False)
        query = base.query.model_copy(update={"url": f"http://127.0.0.1:{ports['query']}"})
        self.parts = EmbeddedParts(settings=base.model_copy(update={"port": base.port.model_copy(update=ports), "query": query}))
        self._env = {**_COMMON, **(env or {})}
        self._wanted = workers
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._number = 0

    @property
    def settings(self) -> Settings:
        """As the services see them."""
        return self.parts.settings

    @property
    def main_url(self) -> str:
        """The main port, where every surface is under its prefix."""
        return self.url("main")

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates a request."""
        return {"Authorization": f"Bearer {KEY}"}

    @property
    def workers(self) -> list[str]:
        """Names of the workers that were started and not taken away, oldest first."""
        return [name for name in self._processes if name.startswith("worker")]

    def url(self, port: str) -> str:
        """Address of a documented port: main, experimentation, crucible, llm or otlp_http."""
        return f"http://127.0.0.1:{getattr(self.settings.port, port)}"

    def clickhouse(self) -> ClickHouse:
        """A client of the writing user, for what a test wants to know beyond the API."""
        return open_clickhouse(self.settings)

    def start(self) -> Self:
        """Start everything and wait until it is ready."""
        try:
            self.parts.start()
            # After the parts said the same of themselves: what is said last is done first, and services end while their stores are still there.
            atexit.register(self.stop)
            asyncio.run(FirstStart(Console(quiet=True)).prepare(self.settings))
            for name in ("query", "ingest"):
                self._spawn(name, name, {})
            added = [self._spawn_worker({}) for _ in range(self._wanted)]
            for name in ("query", "ingest", *added):
                self.wait_ready(name)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything, orderly, and delete the folder. Calling it again does nothing."""
        atexit.unregister(self.stop)
        for process in self._processes.values():
            _signal(process, signal.SIGCONT)
            _signal(process, signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(25)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        self.parts.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def define(self, *documents: Mapping[str, Any]) -> None:
        """Bring definitions into the control store; they reach the services through the outbox a moment later."""

        async def apply() -> None:
            store = ControlStore(self.settings.control_url)
            try:
                await apply_documents(store, documents, default_tenant=self.settings.default_tenant)
            finally:
                await store.close()

        asyncio.run(apply())

    def add_worker(self, env: Mapping[str, str] | None = None, *, ready: bool = True) -> str:
        """Start one more worker and give its name. `ready` waits until it joined."""
        name = self._spawn_worker(env or {})
        if ready:
            self.wait_ready(name)
        return name

    def remove_worker(self, name: str) -> int:
        """SIGTERM, wait, and give the exit status; the worker is gone for good."""
        process = self._processes.pop(name)
        _signal(process, signal.SIGTERM)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def kill(self, name: str) -> None:
        """SIGKILL a service or worker and forget it."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def restart(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Start ingest or query again, or a worker under its old name, after it ended; wait until it is ready."""
        old = self._processes.pop(name, None)
        if old is not None and old.poll() is None:
            old.kill()
            old.wait()
        self._spawn(name, "worker" if name.startswith("worker") else name, env or {})
        self.wait_ready(name)

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        _signal(self._processes[name], signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        _signal(self._processes[name], signal.SIGCONT)

    def wait_end(self, name: str, timeout: float = 60.0) -> int:
        """Wait until a process ended by itself, forget it, and give its exit status (negative for a signal)."""
        status = self._processes[name].wait(timeout)
        del self._processes[name]
        return status

    def alive(self, name: str) -> bool:
        """Whether the process runs."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def rss_bytes(self, name: str) -> int:
        """Resident memory of a service."""
        return int(psutil.Process(self._processes[name].pid).memory_info().rss)

    def log(self, name: str) -> str:
        """What a service or worker wrote so far, over all its lives."""
        return self._log_path(name).read_text(errors="replace")

    def heal(self) -> None:
        """Bring everything back to one worker and running parts, whatever a test left."""
        for name, process in list(self._processes.items()):
            if process.poll() is not None:
                del self._processes[name]
            else:
                _signal(process, signal.SIGCONT)
        if not _runs(self.parts, "engine"):
            self.parts.start_engine()
        if not _runs(self.parts, "kafka"):
            self.parts.start_kafka()
        for name in ("query", "ingest"):
            if name not in self._processes:
                self.restart(name)
        for extra in self.workers[1:]:
            self.remove_worker(extra)
        if not self.workers:
            self.add_worker()

    def wait_ready(self, name: str) -> None:
        """Wait until a service answers or a worker says that it joined."""
        process = self._processes[name]
        child = next((child for child in platform_services(self.settings) if child.name == name), None)

        def ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with status {process.returncode}:\n{self.log(name)[-3000:]}")
            if child is not None and not name.startswith("worker"):
                return _in_thread(child)
            return "worker ready" in self.log(name).rpartition(_MARK)[2]

        eventually_sync(ready, timeout=_READY_S)

    def _spawn_worker(self, env: Mapping[str, str]) -> str:
        self._number += 1
        name = f"worker-{self._number}"
        self._spawn(name, "worker", env)
        return name

    def _spawn(self, name: str, service: str, env: Mapping[str, str]) -> None:
        child = next(child for child in platform_services(self.settings) if child.name == service)
        guard = die_with_parent() if threading.current_thread() is threading.main_thread() else None
        with self._log_path(name).open("ab") as output:
            output.write(f"{_MARK}\n".encode())
            output.flush()
            self._processes[name] = subprocess.Popen(
                list(child.argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment_of(self.settings), **self._env, **env},
                start_new_session=True,
                preexec_fn=guard,  # noqa: PLW1509 - it makes one system call and takes no lock
            )

    def _log_path(self, name: str) -> Path:
        return self.parts.folder / f"{name}.log"


_MARK = "-- a new life --"


@functools.cache
def shared_stack() -> LiveStack:
    """One running stack for the whole test run, started at the first call; it ends with the process."""
    return LiveStack().start()


def _runs(parts: EmbeddedParts, part: str) -> bool:
    try:
        return psutil.Process(parts.pid(part)).status() != psutil.STATUS_ZOMBIE
    except (KeyError, psutil.NoSuchProcess):
        return False


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        os.kill(process.pid, number)


def _in_thread(child: Child) -> bool:
    # A loop may be running in this thread already, and a second one needs a thread of its own.
    answers: list[bool] = []

    async def ask() -> bool:
        return await child.ready()

    thread = threading.Thread(target=lambda: answers.append(asyncio.run(ask())))
    thread.start()
    thread.join()
    return bool(answers and answers[0])
