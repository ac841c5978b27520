"""The data folder of the embedded stack: who holds it, what runs in it, whether there is room."""

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

MIN_FREE_BYTES = 500 * 1024 * 1024


class FolderProblem(Exception):
    """The folder cannot be used now; the message says why and what to do."""


class DataFolder:
    """One folder with everything in it. Only one stack may hold it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"
        self.engine = self.path / "clickhouse"
        self.kafka = self.path / "kafka"
        self.ports_file = self.path / "stack.json"
        self.run_file = self.path / "run.json"
        self._lock_file = self.path / "stack.lock"
        self._lock: int | None = None

    def hold(self) -> None:
        """Take the folder for this process until `release` or its end. Raises FolderProblem when it is taken or nearly full."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise FolderProblem(f"The data folder {self.path} cannot be written: {error.strerror}. Set MILLSTREAM_DATA_DIR to another folder.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise FolderProblem(
                f"Millstream already runs on {self.path} (process {self.holder() or 'unknown'}). "
                "Use `millstream status` to look at it, `millstream stop` to end it, or MILLSTREAM_DATA_DIR=... to start a second one elsewhere."
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock
        free = shutil.disk_usage(self.path).free
        if free < MIN_FREE_BYTES:
            self.release()
            raise FolderProblem(
                f"Only {free // 1_048_576} MB are free where {self.path} is; Millstream needs {MIN_FREE_BYTES // 1_048_576} MB to start. "
                "Free some space, or set MILLSTREAM_DATA_DIR to a folder on another disk."
            )

    def release(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            self.run_file.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def holder(self) -> int | None:
        """The process that holds the folder, or None when nobody does. The answer is as old as the call."""
        try:
            lock = os.open(self._lock_file, os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except OSError:
            text = os.pread(lock, 32, 0)
            return int(text) if text.isdigit() else None
        finally:
            os.close(lock)

    def write_run(self, state: dict[str, Any]) -> None:
        """Publish what runs, for `status`; replaced whole."""
        aside = self.run_file.with_suffix(".new")
        aside.write_text(json.dumps(state, indent=2))
        os.replace(aside, self.run_file)

    def read_run(self) -> dict[str, Any]:
        """What was last published by the present holder; empty when nothing runs."""
        holder = self.holder()
        if holder is None:
            return {}
        try:
            state: dict[str, Any] = json.loads(self.run_file.read_text())
        except (OSError, ValueError):
            return {"pid": holder}
        return state if state.get("pid") == holder else {"pid": holder}
