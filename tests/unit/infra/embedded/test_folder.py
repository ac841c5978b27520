"""One stack per data folder, and clear words when it cannot be had."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from infra.embedded.folder import DataFolder, FolderProblem

Usage = namedtuple("Usage", "total used free")


def test_a_second_holder_is_told_who_holds_it(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    assert folder.holder() is None
    assert folder.read_run() == {}
    folder.hold()
    with pytest.raises(FolderProblem, match=rf"process {os.getpid()}.*millstream stop"):
        DataFolder(tmp_path / "data").hold()
    assert DataFolder(tmp_path / "data").holder() == os.getpid()
    folder.write_run({"pid": os.getpid(), "ready": True})
    assert folder.read_run()["ready"] is True
    folder.release()
    assert folder.read_run() == {}
    folder.hold()
    folder.release()


def test_a_nearly_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**12, 10**12, 10**8))
    folder = DataFolder(tmp_path)
    with pytest.raises(FolderProblem, match="Only 95 MB are free"):
        folder.hold()
    assert folder.holder() is None


def test_what_an_earlier_process_published_is_not_believed(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.hold()
    folder.write_run({"pid": 1, "ready": True})
    assert folder.read_run() == {"pid": os.getpid()}
    folder.release()
