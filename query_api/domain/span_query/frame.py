"""A table of spans on its way to a client: collected page by page in a file, then written out column by column.

The JSON is pandas' table schema with its data by column, which pandas reads in half the time that records take. Memory holds one page, a
column's part of it at a time while writing; the rest lies in an unnamed file that ends with the request.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from infra.runtime.errors import QueryLimit
from query_api.domain.span_query.columns import Column

MAX_CELLS: Final = 50_000_000
"""Most rows times columns of one answer."""
_CHUNK: Final = 2**20
_TYPES: Final[dict[frozenset[str], str]] = {
    frozenset({"number"}): "number",
    frozenset({"integer", "number"}): "number",
    frozenset({"integer"}): "integer",
    frozenset({"boolean"}): "boolean",
    frozenset({"time"}): "datetime",
}


@dataclass
class _Kept:
    """Where a column's pages are in the file: rows, place and length; a page without values has no length."""

    pieces: list[tuple[int, int, int]] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    rows: int = 0
    nulls: int = 0


class Frame:
    """Pages of columns. `index` names those that are the index."""

    def __init__(self, index: Sequence[str]) -> None:
        self._levels = {name: _Kept() for name in index}
        self._columns: dict[str, _Kept] = {}
        self._file: IO[bytes] = TemporaryFile(prefix="millstream-spans-")  # noqa: SIM115 - it lives as long as the frame
        self.rows = 0
        self.whole = False
        """Whether the last page is in it."""

    def add(self, index: Sequence[Column], columns: Mapping[str, Column], rows: int) -> None:
        """One more page. Raises QueryLimit when the table grows beyond `MAX_CELLS`."""
        for kept, column in zip(self._levels.values(), index, strict=True):
            self._store(kept, column, rows)
        for name, column in columns.items():
            self._store(self._columns.setdefault(name, _Kept()), column, rows)
        self.rows += rows
        if self.rows * (len(self._levels) + len(self._columns)) > MAX_CELLS:
            raise QueryLimit(f"the table has more than {MAX_CELLS} cells; select fewer columns, lower the limit or narrow the time")

    def json(self) -> Iterator[bytes]:
        """The whole table."""
        columns = self._whole()
        names = [f"{number}_{name}" for number, (name, _) in enumerate(columns)]
        fields = [{"name": shown, **_type(kept)} for shown, (_, kept) in zip(names, columns, strict=True)]
        schema = {"fields": fields, "primaryKey": names[: len(self._levels)], "pandas_version": "1.4.0"}
        yield b'{"schema":' + orjson.dumps(schema) + b',"data":{'
        for number, (shown, (_, kept)) in enumerate(zip(names, columns, strict=True)):
            yield (b"," if number else b"") + orjson.dumps(shown) + b":["
            yield from self._written(kept)
            yield b"]"
        yield b"}}"

    def table(self) -> pa.Table:
        """The whole table as pandas writes it to Arrow."""
        arrays, stored, described = [], list[str](), []
        for name, kept in self._whole():
            label = f"__index_level_{len(stored)}__" if len(stored) < len(self._levels) and name in self._columns else name
            arrays.append(_array(kept, orjson.loads(b"[" + b"".join(self._written(kept)) + b"]")))
            stored.append(label)
            described.append({"name": name, "field_name": label, "pandas_type": "unicode", "numpy_type": "object", "metadata": None})
        of_index = {"index_columns": stored[: len(self._levels)], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
        return pa.table(arrays, names=stored).replace_schema_metadata({b"pandas": orjson.dumps(of_index)})

    def close(self) -> None:
        """Ends the file."""
        self._file.close()

    def _whole(self) -> list[tuple[str, _Kept]]:
        """Every column, filled up to the last row."""
        columns = [*self._levels.items(), *self._columns.items()]
        for _, kept in columns:
            self._pad(kept, self.rows)
        return columns

    def _store(self, kept: _Kept, column: Column, rows: int) -> None:
        self._pad(kept, self.rows)
        kept.rows += rows
        kept.kinds |= column.kinds
        kept.nulls += column.texts.null_count
        if column.texts.null_count == rows:
            kept.pieces.append((rows, 0, 0))
            return
        filled = pc.fill_null(column.texts, "null")
        joined = pc.binary_join(pa.ListArray.from_arrays([0, rows], filled), ",")
        kept.pieces.append((rows, self._file.seek(0, 2), self._file.write(joined[0].as_buffer())))

    def _pad(self, kept: _Kept, rows: int) -> None:
        if kept.rows < rows:
            kept.pieces.append((rows - kept.rows, 0, 0))
            kept.nulls += rows - kept.rows
            kept.rows = rows

    def _written(self, kept: _Kept) -> Iterator[bytes]:
        pieces = [piece for piece in kept.pieces if piece[0]]
        for number, (rows, place, length) in enumerate(pieces):
            if number:
                yield b","
            if not length:
                while rows > _CHUNK:
                    yield b"null," * _CHUNK
                    rows -= _CHUNK
                yield b",".join([b"null"] * rows)
                continue
            self._file.seek(place)
            while length:
                chunk = self._file.read(min(length, _CHUNK))
                length -= len(chunk)
                place += len(chunk)
                yield chunk
                self._file.seek(place)


def _type(kept: _Kept) -> dict[str, str]:
    """In the words of pandas' table schema; whole numbers and booleans with gaps have other types in pandas than without."""
    found = _TYPES.get(frozenset(kept.kinds), "string")
    if found == "datetime":
        return {"type": found, "tz": "UTC"}
    if kept.nulls and found == "integer":
        return {"type": "number"}
    return {"type": "string" if kept.nulls and found == "boolean" else found}


def _array(kept: _Kept, values: list[Any]) -> pa.Array:
    if kept.kinds == {"time"}:
        return pa.array(values, pa.string()).cast(pa.timestamp("ns", "UTC"))
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else orjson.dumps(value).decode() for value in values])
