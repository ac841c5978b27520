"""Children are restarted with growing pauses, given up in the end, and stopped in reverse order."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from infra.embedded.supervisor import Backoff, Child, ChildFailed, Supervisor, rotate
from tests.support import eventually

QUICK = Backoff(first_s=0.01, longest_s=0.04, stable_s=60.0, give_up_after=3)


def script(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", textwrap.dedent(code)]


def child(name: str, code: str, folder: Path, *, stop_timeout_s: float = 10.0, ready_timeout_s: float = 20.0) -> Child:
    """A child that is ready once the file NAME.up exists."""
    mark = folder / f"{name}.up"

    async def ready() -> bool:
        return mark.exists()

    return Child(name, script(code), ready, {"MARK": str(mark), "NOTES": str(folder / "notes")}, ready_timeout_s, stop_timeout_s)


SLEEPS = """
    import os, signal, sys, time
    def leave(*_):
        with open(os.environ["NOTES"], "a") as notes: notes.write(os.path.basename(os.environ["MARK"]) + "\\n")
        sys.exit(0)
    signal.signal(signal.SIGTERM, leave)
    open(os.environ["MARK"], "w").close()
    while True: time.sleep(60)
"""


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff()
    assert [backoff.pause(failures) for failures in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert backoff.pause(7) == backoff.pause(10_000) == 30.0


async def test_stops_in_reverse_order(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "logs")
    for name in ("first", "second", "third"):
        await supervisor.start(child(name, SLEEPS, tmp_path))
    assert [status.state for status in supervisor.statuses] == ["ready"] * 3
    await supervisor.stop()
    assert (tmp_path / "notes").read_text().split() == ["third.up", "second.up", "first.up"]
    assert [(status.state, status.pid) for status in supervisor.statuses] == [("stopped", None)] * 3


async def test_a_killed_child_is_restarted(tmp_path: Path) -> None:
    changes: list[None] = []
    supervisor = Supervisor(tmp_path / "logs", backoff=QUICK, changed=lambda: changes.append(None))
    await supervisor.start(child("one", SLEEPS, tmp_path))
    status = supervisor.statuses[0]
    first = status.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: status.state == "ready" and status.pid != first)
    assert (status.restarts, status.last_exit) == (1, -signal.SIGKILL)
    seen = len(changes)
    await supervisor.stop()
    assert len(changes) > seen


async def test_gives_up_on_a_child_that_never_stays(tmp_path: Path) -> None:
    async def at_once() -> bool:
        return True

    supervisor = Supervisor(tmp_path / "logs", backoff=QUICK)
    await supervisor.start(Child("loop", script("import sys; sys.exit(7)"), at_once))
    status = supervisor.statuses[0]
    await eventually(lambda: status.state == "gave_up")
    assert (status.restarts, status.last_exit) == (3, 7)
    await supervisor.stop()


async def test_a_child_that_ends_before_it_is_ready_says_why(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "logs")
    with pytest.raises(ChildFailed, match=r"(?s)bad ended with status 3.*no such luck"):
        await supervisor.start(child("bad", "import sys; print('no such luck', flush=True); sys.exit(3)", tmp_path))
    await supervisor.stop()


async def test_a_child_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "logs")
    with pytest.raises(ChildFailed, match="was not ready after 0.3 s"):
        await supervisor.start(child("slow", "import time; time.sleep(600)", tmp_path, ready_timeout_s=0.3))
    assert supervisor.statuses[0].pid is None


async def test_a_deaf_child_is_killed_with_what_it_started(tmp_path: Path) -> None:
    code = """
        import os, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        inner = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
        with open(os.environ["NOTES"], "w") as notes: notes.write(str(inner.pid))
        open(os.environ["MARK"], "w").close()
        time.sleep(600)
    """
    supervisor = Supervisor(tmp_path / "logs")
    await supervisor.start(child("deaf", code, tmp_path, stop_timeout_s=0.2))
    inner = int((tmp_path / "notes").read_text())
    await supervisor.stop()

    def gone() -> bool:
        return not psutil.pid_exists(inner) or psutil.Process(inner).status() == psutil.STATUS_ZOMBIE

    await eventually(gone)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child's life to its parent's")
async def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    code = f"""
        import asyncio, sys
        from pathlib import Path
        from infra.embedded.supervisor import Child, Supervisor
        async def ready(): return True
        async def main():
            supervisor = Supervisor(Path({str(tmp_path)!r}))
            await supervisor.start(Child("inner", [sys.executable, "-S", "-c", "import time; time.sleep(600)"], ready))
            print(supervisor.statuses[0].pid, flush=True)
            await asyncio.sleep(600)
        asyncio.run(main())
    """
    outer = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(code), stdout=subprocess.PIPE)
    assert outer.stdout is not None
    inner = int(await outer.stdout.readline())
    outer.kill()
    await outer.wait()
    await eventually(lambda: not psutil.pid_exists(inner) or psutil.Process(inner).status() == psutil.STATUS_ZOMBIE)


def test_large_logs_are_moved_aside(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for content in ("one", "two", "three", "four", "five"):
        log.write_text(content)
        rotate(log, limit=2)
        assert not log.exists()
    assert [(tmp_path / f"a.log.{number}").read_text() for number in (1, 2, 3)] == ["five", "four", "three"]
    log.write_text("x")
    rotate(log, limit=2)
    assert log.exists()
