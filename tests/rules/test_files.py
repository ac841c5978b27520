"""What every file keeps to: its size, its docstring, and nothing in it that belongs to one machine or one person."""

import ast
import re
from pathlib import Path

import pytest

from tests.rules.source import ROOT, modules, name_of, tracked, tree

MAX_LINES = 400
_TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".xml", ".html", ".css", ".sh", ".ini", ".cfg", ".txt", ".json", ""}
_GENERATED = ("requirements.lock",)
# Written in pieces, so that this file does not break its own rules.
_FORBIDDEN = {
    "path of a home folder": re.compile(r"(?<![\w.])/(?:root|home/\w+|Users/\w+|work/\w+)(?:/|\b)"),
    "private key": re.compile("-----BEGIN [A-Z ]*PRIVATE " + "KEY-----"),
    "AWS key": re.compile("AKIA" + r"[0-9A-Z]{16}"),
    "GitHub token": re.compile("gh[pousr]_" + r"[A-Za-z0-9]{36}"),
    "API key of the platform": re.compile("ms_" + r"[a-z0-9]{12}_[A-Za-z0-9]{40,}"),
    "package index": re.compile(r"(?:index-url|extra-index-url|trusted-host)\s*[=:]?\s*\S+|https?://\S*/(?:simple|pypi|artifactory|nexus)(?:/|\b)"),
}


def _text_files() -> list[Path]:
    return [path for path in tracked() if path.suffix in _TEXT and path.name not in _GENERATED and path.name != "LICENSE"]


def test_modules_stay_small() -> None:
    counts = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in modules()}
    assert not {name: lines for name, lines in counts.items() if lines > MAX_LINES}, f"longer than {MAX_LINES} lines: one file, one concept"


def test_modules_say_what_they_are() -> None:
    silent = [name_of(path) for path in modules() if path.name != "__init__.py" and not ast.get_docstring(tree(path))]
    assert not silent


def test_init_files_are_empty() -> None:
    assert not [name_of(path) for path in modules() if path.name == "__init__.py" and path.read_text("utf-8").strip()]


def test_tests_carry_no_sleep_for_synchronisation() -> None:
    """A test waits for a condition with a deadline; only the functions that do so, in `tests/support.py`, and scripted parts of other processes sleep."""
    slept = []
    for path in modules("tests"):
        if path.name == "test_files.py" or not path.name.startswith("test_"):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep":
                slept.append(f"{name_of(path)}:{node.lineno}")
    assert not slept


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_nothing_private_is_kept(what: str) -> None:
    found = []
    for path in _text_files():
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
            if _FORBIDDEN[what].search(line) and path != Path(__file__):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:120]}")
    assert not found


def test_the_lock_names_no_package_index() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in text
    assert "--hash=sha256:" in text
