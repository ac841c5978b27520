"""Reading a JSONL or CSV file as batches for a door."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal

import orjson

Format = Literal["jsonl", "csv"]
_NESTED: Final = ("metadata", "measurements")
_MAX_LINE = 8 * 1024 * 1024


@dataclass(frozen=True)
class Refused:
    """One line that was not stored."""

    line: int
    """Line of the file, from 1."""
    reason: str
    field: str = ""


@dataclass
class Batch:
    """Consecutive items of a file. The same file gives the same batches."""

    number: int
    lines: list[int] = field(default_factory=list)
    """Line of each item."""
    items: list[bytes] = field(default_factory=list)
    """Each item as JSON."""
    refused: list[Refused] = field(default_factory=list)
    """Lines among them that are no JSON object."""
    position: int = 0
    """Bytes of the file read up to its end."""

    @property
    def body(self) -> bytes:
        return b'{"events":[' + b",".join(self.items) + b"]}"


def content_hash(path: Path) -> str:
    """SHA-256 of the file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def format_of(path: Path) -> Format:
    """By the file's name; JSON lines unless it ends in .csv."""
    return "csv" if path.suffix.lower() == ".csv" else "jsonl"


def read_batches(path: Path, size: int) -> Iterator[Batch]:
    """The file in batches of `size` lines. Raises OSError, and ValueError for a CSV file without a header."""
    batch = Batch(0)
    with path.open("rb") as file:
        rows = _csv(file) if format_of(path) == "csv" else _jsonl(file)
        for line, item in rows:
            if isinstance(item, Refused):
                batch.refused.append(item)
            else:
                batch.lines.append(line)
                batch.items.append(item)
            if len(batch.lines) + len(batch.refused) == size:
                batch.position = file.tell()
                yield batch
                batch = Batch(batch.number + 1)
        batch.position = file.tell()
    if batch.lines or batch.refused:
        yield batch


def _jsonl(file: IO[bytes]) -> Iterator[tuple[int, bytes | Refused]]:
    number = 0
    while raw := file.readline(_MAX_LINE):
        number += 1
        text = raw.strip()
        if not text:
            continue
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            yield number, Refused(number, f"not JSON: {error}")
            continue
        # The text goes out as it stands; parsing it anew could change a number.
        yield number, text if isinstance(value, dict) else Refused(number, "not a JSON object")


def _lines(file: IO[bytes]) -> Iterator[str]:
    # Line by line and not through a text wrapper, so that the place in the file stays known.
    first = True
    while raw := file.readline(_MAX_LINE):
        yield raw.decode("utf-8-sig" if first else "utf-8", errors="replace")
        first = False


def _csv(file: IO[bytes]) -> Iterator[tuple[int, bytes | Refused]]:
    rows = csv.reader(_lines(file))
    header = next(rows, None)
    if not header or not any(name.strip() for name in header):
        raise ValueError("The first line must name the columns, such as user_id,event_type,experiment_id,variant,timestamp,value.")
    names = [name.strip() for name in header]
    for row in rows:
        if not row:
            continue
        if len(row) != len(names):
            yield rows.line_num, Refused(rows.line_num, f"{len(row)} cells, but the header names {len(names)} columns")
            continue
        yield rows.line_num, orjson.dumps(item_of(dict(zip(names, row, strict=True))))


def item_of(cells: dict[str, str]) -> dict[str, Any]:
    """One CSV row as an event. Empty cells are left out; `value` and `metadata.x` go into metadata, `measurements.x` into
    measurements, there as numbers where they are numbers; every other column is a field of its own, as text."""
    item: dict[str, Any] = {}
    for name, cell in cells.items():
        if cell == "":
            continue
        outer, dot, inner = name.partition(".")
        if name == "value":
            item.setdefault("metadata", {})[name] = _plain(cell)
        elif dot and outer in _NESTED:
            item.setdefault(outer, {})[inner] = _plain(cell)
        else:
            item[name] = cell
    return item


def _plain(cell: str) -> Any:
    try:
        value = orjson.loads(cell)
    except orjson.JSONDecodeError:
        return cell
    return value if isinstance(value, int | float | bool) else cell
