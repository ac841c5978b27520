"""What a query makes of lists in spans: a row for each item, or one text of all."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from query_api.domain.span_query.columns import Column, mapped
from query_api.domain.span_query.query import Listed
from schemas.span_filter.tree import Path
from schemas.span_filter.values import dotted


def lists(texts: pa.Array) -> list[Any]:
    """The values of a column of JSON."""
    return [None if text is None else orjson.loads(text) for text in texts.to_pylist()]


def joined(wanted: Listed, texts: pa.Array) -> dict[str, Column]:
    """The texts of the items of each list as one; null where there is no list."""
    values = [value if isinstance(value, list) else None for value in lists(texts)]
    found: dict[str, list[str | None]] = {}
    for name, path in wanted.columns.items():
        parts = [None if items is None else [_shown(value) for item in items if (value := _inside(item, path)) is not None] for items in values]
        found[name] = [None if each is None else wanted.separator.join(each) for each in parts]
    if not wanted.columns:
        found[dotted(wanted.path)] = [None if items is None else wanted.separator.join(_shown(item) for item in items) for items in values]
    return {name: Column(_column(of), {"text"}) for name, of in found.items()}


def exploded(wanted: Listed, texts: pa.Array) -> tuple[pa.Array, dict[str, Column], pa.Array]:
    """Rows to repeat, the new columns, and the place of each item in its list."""
    chosen, positions, items = [], [], []
    for row, value in enumerate(lists(texts)):
        for position, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, dict):
                chosen.append(row)
                positions.append(str(position))
                items.append(item)
    if wanted.columns:
        values = {name: [_inside(item, path) for item in items] for name, path in wanted.columns.items()}
    else:
        flattened = [_flat(item) for item in items]
        values = {name: [item.get(name) for item in flattened] for name in dict.fromkeys(name for item in flattened for name in item)}
    columns = {}
    for name, of in values.items():
        texts_of, kinds = mapped(_column(of), orjson.loads)
        columns[name] = Column(texts_of, kinds)
    return pa.array(chosen, pa.int64()), columns, pa.array(positions, pa.string())


def _column(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if value is None else orjson.dumps(value).decode() for value in values], pa.string())


def _inside(item: Any, path: Path) -> Any:
    for step in path:
        item = item.get(step) if isinstance(item, dict) else None
    return item


def _flat(item: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in item.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
    return found


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
