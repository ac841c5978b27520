"""What tests of running parts share: waiting for conditions, free ports, ending children, and the embedded stores."""

import asyncio
import atexit
import contextlib
import inspect
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar, overload

from pydantic import SecretStr

from infra.embedded import ports as tcp_ports
from infra.embedded.kafka import broker_answers, prepare_broker
from infra.embedded.stack import at_ports, engine_child
from infra.embedded.supervisor import die_with_parent
from infra.runtime.settings import Settings

T = TypeVar("T")

free_port = tcp_ports.free_port

_NOT_YET = (AssertionError, ConnectionError, OSError, LookupError)


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout: float = ..., interval: float = ...) -> T: ...


@overload
async def eventually(check: Callable[[], T], timeout: float = ..., interval: float = ...) -> T: ...


async def eventually(check: Callable[[], Any], timeout: float = 30.0, interval: float = 0.05) -> Any:
    """Call `check` until it neither fails nor returns False or None, and give its result.

    Failures are assertions, connection errors and missing keys; after `timeout` seconds the last one is raised again.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            result: Any = check()
            if inspect.isawaitable(result):
                result = await result
            if result is not False and result is not None:
                return result
            last: BaseException = AssertionError(f"{getattr(check, '__name__', 'the condition')} stayed {result}")
        except _NOT_YET as error:
            last = error
        if time.monotonic() > deadline:
            raise last
        await asyncio.sleep(interval)


def eventually_sync(check: Callable[[], T], timeout: float = 30.0, interval: float = 0.05) -> T:
    """`eventually` for tests that have no event loop."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            result = check()
            if result is not False and result is not None:
                return result
            last: BaseException = AssertionError(f"{getattr(check, '__name__', 'the condition')} stayed {result}")
        except _NOT_YET as error:
            last = error
        if time.monotonic() > deadline:
            raise last
        time.sleep(interval)


def end_by_stdin(process: subprocess.Popen[str]) -> None:
    """End a process that goes on while its stdin, a pipe, is open; it is killed when it does not end in time."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class EmbeddedParts:
    """A Kafka broker and a ClickHouse engine of their own in a folder of their own. Every method blocks."""

    def __init__(self, *, engine: bool = True, kafka: bool = True, settings: Settings | None = None) -> None:
        """Nothing runs before `start`. `settings` gives limits, users and the like; folder and addresses are replaced."""
        self.folder = Path(tempfile.mkdtemp(prefix="millstream-parts-"))
        self._base = settings or Settings()
        self._with = {"engine": engine, "kafka": kafka}
        self._ports = {"clickhouse": free_port(), "kafka": free_port(), "kafka_controller": free_port()}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def settings(self) -> Settings:
        """Settings that point to these parts and to the folder."""
        here = self._base.model_copy(update={"data_dir": self.folder})
        ports = {name: self._ports[name] for part, name in (("engine", "clickhouse"), ("kafka", "kafka")) if self._with[part]}
        return at_ports(here, ports)

    def start(self) -> Self:
        """Start both side by side and wait until both answer."""
        atexit.register(self.stop)
        try:
            with ThreadPoolExecutor(1) as pool:
                broker = pool.submit(self.start_kafka) if self._with["kafka"] else None
                if self._with["engine"]:
                    self.start_engine()
                if broker is not None:
                    broker.result()
        except BaseException:
            self.stop()
            raise
        return self

    def start_engine(self) -> None:
        """Start the engine on its port and folder and wait until it answers."""
        port = self._ports["clickhouse"]
        values = self._base.clickhouse.model_dump(exclude={"url"})
        env = {f"MILLSTREAM_CLICKHOUSE_{name.upper()}": _plain(value) for name, value in values.items()}
        self._spawn("engine", list(engine_child(self.folder / "clickhouse", port).argv), env, lambda: _answers(f"http://127.0.0.1:{port}/ping"))

    def start_kafka(self) -> None:
        """Start the broker on its port and folder and wait until it answers."""
        broker = prepare_broker(self.settings.kafka, self.folder / "kafka", self._ports["kafka"], self._ports["kafka_controller"])
        self._spawn("kafka", broker.command, {}, lambda: _in_thread(lambda: asyncio.run(broker_answers(broker.bootstrap))))

    def kill_engine(self) -> None:
        """SIGKILL."""
        self._kill("engine")

    def kill_kafka(self) -> None:
        """SIGKILL."""
        self._kill("kafka")

    def end_engine(self) -> int:
        """SIGTERM, wait, and give the exit status."""
        process = self._running.pop("engine")
        process.terminate()
        return process.wait(30)

    def restart_engine(self) -> None:
        """SIGKILL, start again on the same folder and port, wait until it answers."""
        self.kill_engine()
        self.start_engine()

    def restart_kafka(self) -> None:
        """SIGKILL, start again on the same folder and port, wait until it answers."""
        self.kill_kafka()
        self.start_kafka()

    def pid(self, part: str) -> int:
        """Process of "engine" or "kafka"."""
        return self._running[part].pid

    def stop(self) -> None:
        """End what runs, orderly, and delete the folder. Calling it again does nothing."""
        atexit.unregister(self.stop)
        processes = list(self._running.values())
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, part: str, argv: list[str], env: dict[str, str], ready: Callable[[], bool]) -> None:
        log_path = self.folder / f"{part}.log"
        # The kernel ties "die with the parent" to the starting thread, and only the main thread lives as long as the tests.
        guard = die_with_parent() if threading.current_thread() is threading.main_thread() else None
        with log_path.open("ab") as output:
            process = subprocess.Popen(
                argv,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **env},
                start_new_session=True,
                preexec_fn=guard,  # noqa: PLW1509 - it makes one system call and takes no lock
            )
        self._running[part] = process

        def is_ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{part} ended with status {process.returncode}:\n{log_path.read_text(errors='replace')[-2000:]}")
            return ready()

        eventually_sync(is_ready, timeout=60.0)

    def _kill(self, part: str) -> None:
        process = self._running.pop(part)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


def _plain(value: Any) -> str:
    return str(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=2.0) as response:
        return bool(response.status == 200)


def _in_thread(work: Callable[[], bool]) -> bool:
    # A loop may be running in this thread already, and a second one needs a thread of its own.
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    thread.join()
    return bool(answers and answers[0])
