"""Python environments beside that of the platform, for packages whose pins are not its own."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parents[1]


def environment(name: str, lock: Path) -> Path:
    """The interpreter of `.venv-<name>`, installed from a lock with hashes the first time and whenever the lock changes.

    Without a way to install it the test is skipped, but fails in CI.
    """
    folder = _CHECKOUT / f".venv-{name}"
    with (_CHECKOUT / f".venv-{name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        return _installed(name, folder, lock)


def _installed(name: str, folder: Path, lock: Path) -> Path:
    python, stamp = folder / "bin" / "python", folder / "requirements.lock"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", str(lock)]
    for command in ([sys.executable, "-m", "venv", str(folder)], install):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            problem = f"{name} cannot be installed from {lock.relative_to(_CHECKOUT)}: {(done.stderr or done.stdout).strip()[-500:]}"
            if os.environ.get("CI"):
                pytest.fail(problem)
            pytest.skip(problem)
    shutil.copy(lock, stamp)
    return python
