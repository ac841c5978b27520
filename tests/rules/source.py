"""The source as the rules see it: which files there are, and the text constants in them."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("infra", "ingest", "query_api", "schemas", "streams", "tests")


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the repository: what git keeps, and what it would take in. An image without git counts everything of the packages."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = [str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*") if "__pycache__" not in path.parts]
    return tuple(ROOT / name for name in sorted(set(filter(None, listed))) if (ROOT / name).is_file())


def modules(*packages: str) -> list[Path]:
    """The Python files of the packages; of all of them when none is named."""
    return [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in (packages or PACKAGES)]


def name_of(path: Path) -> str:
    """A path for messages."""
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text("utf-8"), str(path))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every text constant of a module with its line, joined f-strings with their gaps as {}; docstrings left out."""
    inner: set[int] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.JoinedStr):
            parts = [str(value.value) if isinstance(value, ast.Constant) else "{}" for value in node.values]
            inner.update(id(child) for value in node.values for child in ast.walk(value))
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.lineno, node.value
