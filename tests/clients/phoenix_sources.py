"""A checkout of Arize-ai/phoenix, and programs of its pnpm workspace; no shell and no program of theirs outlives its use."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_END_S = 15.0


def pnpm(checkout: Path) -> list[str]:
    """The command of pnpm: the one on PATH, or else the one that the checkout names, with the Node.js that it names, by npx."""
    if shutil.which("pnpm"):
        return ["pnpm"]
    manager = json.loads((checkout / "js" / "package.json").read_text())["packageManager"].split("+")[0]
    node = f"node@{(checkout / '.nvmrc').read_text().strip().removeprefix('v')}"
    # npx hands its --package on to an npx that runs inside, which then would look for the command in it.
    return ["npx", "--yes", "--package", node, "--package", manager, "--", "env", "-u", "npm_config_package", "pnpm"]


@contextmanager
def running(command: Sequence[str], cwd: Path, output: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The command, at work with all that it starts until the end; what they print is in the output."""
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ran(command: Sequence[str], cwd: Path, output: Path, timeout: float) -> None:
    """Run the command to its end. Raises AssertionError, with what it printed, when it fails."""
    with running(command, cwd, output) as process:
        process.wait(timeout)
    assert process.returncode == 0, output.read_text(errors="replace")[-4_000:]


@contextmanager
def dot_env(folder: Path, values: Mapping[str, str]) -> Iterator[None]:
    """The folder's `.env` exports these values for a while; one that was there is put aside and back."""
    path, aside = folder / ".env", folder / ".env.aside"
    if path.exists():
        path.rename(aside)
    try:
        path.write_text("".join(f"export {name}={value}\n" for name, value in values.items()))
        yield
    finally:
        path.unlink(missing_ok=True)
        if aside.exists():
            aside.rename(path)
