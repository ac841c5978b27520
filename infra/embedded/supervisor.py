"""Child processes that are started, watched, restarted and stopped together."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog

log = structlog.get_logger()

State = Literal["starting", "ready", "waiting", "stopped", "gave_up"]

_LOG_BYTES = 8 * 1024 * 1024
_LOG_GENERATIONS = 3
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ChildFailed(Exception):
    """A child did not become ready; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Child:
    """What to run and how to know that it works."""

    name: str
    argv: Sequence[str]
    ready: Callable[[], Awaitable[bool]]
    """Asked every 50 ms after a start until it says yes; must not raise."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of this process."""
    ready_timeout_s: float = 60.0
    stop_timeout_s: float = 15.0
    """Seconds between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class Backoff:
    """Pauses between restarts: doubling from `first_s` to `longest_s`; a child that ran for `stable_s` starts over at `first_s`."""

    first_s: float = 0.5
    longest_s: float = 30.0
    stable_s: float = 30.0
    give_up_after: int = 12
    """Restarts in a row, none of them stable, after which the child is left alone."""

    def pause(self, failures: int) -> float:
        """Seconds to wait after the given number of failures in a row (1 for the first)."""
        return min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 16))


@dataclass
class ChildStatus:
    """What a child is doing now."""

    name: str
    state: State = "starting"
    pid: int | None = None
    restarts: int = 0
    last_exit: int | None = None
    """Exit status of the last run that ended; negative for a signal."""


class Supervisor:
    """Runs children in the order they are given to `start`, restarts those that end, stops them in reverse order.

    Children get a session of their own, so that Ctrl-C reaches only this process, and SIGTERM when this process dies.
    """

    def __init__(self, logs: Path, *, backoff: Backoff | None = None, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called after every change of a status; it must not block."""
        self._logs = logs
        self._backoff = backoff or Backoff()
        self._changed = changed
        self._watchers: list[_Watcher] = []

    @property
    def statuses(self) -> list[ChildStatus]:
        """One per child, in order of start."""
        return [watcher.status for watcher in self._watchers]

    async def start(self, child: Child) -> None:
        """Start a child and wait until it is ready. Raises ChildFailed when it ends first or takes too long; it is then not restarted."""
        self._logs.mkdir(parents=True, exist_ok=True)
        watcher = _Watcher(child, self._logs / f"{child.name}.log", self._backoff, self._changed)
        self._watchers.append(watcher)
        await watcher.start()

    async def stop(self) -> None:
        """Stop every child, last started first, each with its deadline before it is killed."""
        for watcher in reversed(self._watchers):
            await watcher.stop()


class _Watcher:
    """One child's life."""

    def __init__(self, child: Child, log_path: Path, backoff: Backoff, changed: Callable[[], None]) -> None:
        self.child = child
        self.status = ChildStatus(child.name)
        self._log_path = log_path
        self._backoff = backoff
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        rotate(self._log_path)
        process = await self._spawn()
        try:
            await self._wait_ready(process)
        except ChildFailed:
            await self._end(process)
            self._set("stopped", None)
            raise
        self._task = asyncio.create_task(self._watch(process), name=f"watch {self.child.name}")

    async def stop(self) -> None:
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            await self._end(process)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        # A restart may have been under way while the first process was being stopped.
        process = self._process
        if process is not None and process.returncode is None:
            await self._end(process)
        self._set("stopped", None)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = loop.time()
            code = await process.wait()
            if self._stopping:
                return
            _kill_group(process.pid)
            self.status.last_exit = code
            failures = 1 if loop.time() - started >= self._backoff.stable_s else failures + 1
            while True:
                if failures > self._backoff.give_up_after:
                    self._set("gave_up", None)
                    log.error("child_given_up", child=self.child.name, exit=code, restarts=self.status.restarts, log=str(self._log_path))
                    return
                pause = self._backoff.pause(failures)
                self._set("waiting", None)
                log.warning("child_ended", child=self.child.name, exit=code, restart_in_s=pause, log=str(self._log_path))
                await asyncio.sleep(pause)
                self.status.restarts += 1
                process = await self._spawn()
                try:
                    await self._wait_ready(process)
                    break
                except ChildFailed:
                    await self._end(process)
                    self.status.last_exit = code = process.returncode if process.returncode is not None else -1
                    failures += 1
            log.info("child_restarted", child=self.child.name, pid=process.pid, restarts=self.status.restarts)

    async def _spawn(self) -> asyncio.subprocess.Process:
        with self._log_path.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.child.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self.child.env},
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        self._set("starting", self._process.pid)
        return self._process

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.child.ready_timeout_s
        while not await self.child.ready():
            if process.returncode is not None:
                raise ChildFailed(f"{self.child.name} ended with status {process.returncode} before it was ready.\n{self._last_words()}")
            if loop.time() > deadline:
                raise ChildFailed(f"{self.child.name} was not ready after {self.child.ready_timeout_s:g} s.\n{self._last_words()}")
            await asyncio.sleep(0.05)
        if process.returncode is not None:
            raise ChildFailed(f"{self.child.name} ended with status {process.returncode}; something else answers in its place.\n{self._last_words()}")
        self._set("ready", process.pid)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.child.stop_timeout_s)
        except TimeoutError:
            log.warning("child_killed", child=self.child.name, after_s=self.child.stop_timeout_s)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        _kill_group(process.pid)

    def _last_words(self) -> str:
        try:
            lines = self._log_path.read_text(errors="replace").splitlines()[-12:]
        except OSError:
            lines = []
        return "\n".join([f"Last lines of {self._log_path}:", *(f"    {line[:300]}" for line in lines)])

    def _set(self, state: State, pid: int | None) -> None:
        self.status.state = state
        self.status.pid = pid
        self._changed()


def _kill_group(leader: int) -> None:
    # What a dead child leaves behind in its session would hold ports and locks that its successor needs.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def rotate(path: Path, limit: int = _LOG_BYTES) -> None:
    """Move a log larger than `limit` bytes aside (NAME.log.1 is the newest of three) so that the next run starts a new one."""
    if not path.exists() or path.stat().st_size <= limit:
        return
    for number in range(_LOG_GENERATIONS, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        newer = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
        if newer.exists():
            newer.replace(older)


def die_with_parent() -> Callable[[], None]:
    """A preexec function: the child gets SIGTERM when the thread that started it ends, and so when this process dies. Linux only; elsewhere nothing."""
    parent = os.getpid()

    def prepare() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                # The parent died before the request was in place.
                os.kill(os.getpid(), signal.SIGTERM)

    return prepare
