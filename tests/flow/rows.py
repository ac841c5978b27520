"""Rows of the requirements catalogue, and whether an answer has the keys that a row documents."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

_CATALOGUE = Path(__file__).resolve().parents[3] / "shared" / "requirements.yaml"
needs_catalogue = pytest.mark.skipif(not _CATALOGUE.exists(), reason="../shared/requirements.yaml is not beside this checkout")


@cache
def _rows() -> dict[str, dict[str, Any]]:
    rows: list[dict[str, Any]] = yaml.load(_CATALOGUE.read_text("utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {row["id"]: row for row in rows}


def row(name: str) -> dict[str, Any]:
    """One row of the catalogue."""
    return _rows()[name]


def missing_keys(answer: Any, keys: list[str]) -> list[str]:
    """The documented keys an answer lacks: `data.variants[].id` must be there in each of at least one variant."""
    return [key for key in keys if not _has(answer, key.split("."))]


def _has(value: Any, path: list[str]) -> bool:
    if not path:
        return True
    name = path[0].removesuffix("[]")
    if not isinstance(value, dict) or name not in value:
        return False
    inner = value[name]
    if not path[0].endswith("[]"):
        return _has(inner, path[1:])
    return isinstance(inner, list) and bool(inner) and all(_has(each, path[1:]) for each in inner)
