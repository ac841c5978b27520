"""The files a dataset can be uploaded as: CSV, JSONL and Arrow, read into rows of named values.

A row holds only the names for which it has a value: a blank CSV cell is no value.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from infra.runtime.decoding import inflate
from infra.runtime.errors import InvalidArgument, TooLarge, ValidationFailed

CSV: Final = "text/csv"
JSONL: Final = "application/jsonl"
ARROW: Final = "application/x-pandas-pyarrow"
_LONGEST_CELL: Final = 2**31 - 1


class Row(NamedTuple):
    """A row of a file."""

    place: str
    """Where it is, for errors: `line 3`."""
    values: dict[str, Any]


class Rows(NamedTuple):
    """What a file holds."""

    columns: frozenset[str]
    rows: Sequence[Row]


class SentFile(NamedTuple):
    """A file of a request."""

    name: str
    content_type: str
    encoding: str
    """Of the part itself; empty for none."""
    body: bytes


def read_rows(file: SentFile, max_bytes: int, max_rows: int) -> Rows:
    """The rows of a file. Raises ValidationFailed with the place for anything that is not as it says, TooLarge beyond the limits, and
    UnsupportedMediaType for an unknown encoding."""
    reader = {CSV: _csv, JSONL: _jsonl, ARROW: _arrow}.get(file.content_type.partition(";")[0].strip().lower())
    if reader is None:
        raise ValidationFailed(f"Invalid file content type: {file.content_type or 'none'}. Send {CSV}, {JSONL} or {ARROW}.")
    try:
        body = inflate(file.body, file.encoding, max_bytes) if file.encoding.lower() not in ("", "none", "identity") else file.body
    except InvalidArgument as error:
        raise ValidationFailed(f"The file: {error.message}") from error
    columns, found = reader(body, max_bytes)
    rows: list[Row] = []
    for row in found:
        if len(rows) == max_rows:
            raise too_many(max_rows)
        rows.append(row)
    return Rows(frozenset(columns) if columns is not None else frozenset(name for row in rows for name in row.values), rows)


def too_many(max_rows: int) -> TooLarge:
    """The error for an upload of too many examples."""
    return TooLarge(f"The upload has more than {max_rows} examples. Create the dataset with some of them and append the others.")


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationFailed(f"The file is not UTF-8: byte {error.start} does not belong there. Save it as UTF-8.") from error


def _csv(body: bytes, _: int) -> tuple[Sequence[str], Iterable[Row]]:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(_text(body), newline=""), strict=True)
    header = next(_cells(reader), None)
    if header is None:
        raise ValidationFailed("The CSV file has no header. Its first line names the columns.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValidationFailed(f"Duplicated column header in CSV file: {twice[0]}")
    return header, (_csv_row(reader.line_num, header, cells) for cells in _cells(reader))


def _cells(reader: Any) -> Iterator[list[str]]:
    try:
        for cells in reader:
            if cells:
                yield cells
    except csv.Error as error:
        raise ValidationFailed(f"The CSV file is broken at line {reader.line_num}: {error}.") from error


def _csv_row(line: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(header):
        raise ValidationFailed(f"Line {line} of the CSV file has {len(cells)} cells, but its header has {len(header)}. Quote cells that hold commas.")
    return Row(f"line {line}", {name: cell for name, cell in zip(header, cells, strict=True) if cell.strip()})


def _jsonl(body: bytes, _: int) -> tuple[None, Iterable[Row]]:
    return None, (_json_row(number, line) for number, line in enumerate(_text(body).split("\n"), 1) if line.strip())


def _json_row(number: int, line: str) -> Row:
    try:
        value = msgspec.json.decode(line.encode())
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValidationFailed(f"Line {number} of the JSONL file is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValidationFailed(f"Line {number} of the JSONL file is not an object.")
    return Row(f"line {number}", value)


def _arrow(body: bytes, max_bytes: int) -> tuple[Sequence[str], Iterable[Row]]:
    try:
        reader = pa.ipc.open_stream(body)
        names = reader.schema.names
    except pa.ArrowInvalid as error:
        raise ValidationFailed(f"The file is not an Arrow stream: {error}") from error
    if len(set(names)) < len(names):
        raise ValidationFailed("Two columns of the Arrow stream have the same name.")
    return names, _arrow_rows(reader, max_bytes)


def _arrow_rows(reader: Any, max_bytes: int) -> Iterable[Row]:
    number, room = 0, max_bytes
    try:
        for batch in reader:
            room -= batch.nbytes
            if room < 0:
                raise TooLarge(f"The Arrow stream has more than {max_bytes} bytes when it is unpacked. Send it in parts.")
            for values in batch.to_pylist():
                number += 1
                yield Row(f"row {number}", values)
    except pa.ArrowException as error:
        raise ValidationFailed(f"The Arrow stream breaks off after row {number}: {error}") from error
