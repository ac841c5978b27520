"""An environment of its own for gbstats, whose pins are not those of the platform."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_LOCK = Path(__file__).with_name("requirements.lock")
_FOLDER = Path(__file__).resolve().parents[2] / ".venv-gbstats"


@pytest.fixture(scope="session")
def gbstats() -> Path:
    """The interpreter that has gbstats, installed from the lock the first time. Without a way to install it the tests are skipped, but not in CI."""
    python, stamp = _FOLDER / "bin" / "python", _FOLDER / "requirements.lock"
    if stamp.exists() and stamp.read_bytes() == _LOCK.read_bytes():
        return python
    shutil.rmtree(_FOLDER, ignore_errors=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", str(_LOCK)]
    for command in ([sys.executable, "-m", "venv", str(_FOLDER)], install):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            problem = f"gbstats cannot be installed from {_LOCK.name}: {(done.stderr or done.stdout).strip()[-500:]}"
            if os.environ.get("CI"):
                pytest.fail(problem)
            pytest.skip(problem)
    shutil.copy(_LOCK, stamp)
    return python
