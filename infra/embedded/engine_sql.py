"""Just enough SQL reading to run HTTP requests: where an INSERT's data starts, and what a reader may not say.

Pure functions over bytes. Nothing here judges whether a statement is right; the engine does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_TOKEN = re.compile(
    rb"""
      (?P<space>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
    | (?P<string>'(?:[^'\\]|\\.|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<name>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[0-9][0-9A-Za-z_.]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)

_READS = frozenset({b"SELECT", b"WITH", b"SHOW", b"DESCRIBE", b"DESC", b"EXPLAIN", b"EXISTS", b"FROM", b"("})
_CHANGES_NOTHING_ON_GET = _READS | {b"USE"}
# Table functions and functions that reach files, the network or the Python interpreter. readonly=1 refuses most of
# them already; the list also covers those that the in-process engine lets through.
_REACHES_OUT = re.compile(
    rb"(file|url|s3|gcs|oss|cosn|hdfs|azureBlobStorage|remote|remoteSecure|cluster|clusterAllReplicas|executable|python|mysql|postgresql|mongodb|redis"
    rb"|sqlite|jdbc|odbc|iceberg\w*|deltaLake\w*|hudi\w*|paimon\w*|ytsaurus|arrowflight|prometheus\w*|dictionary|catboostEvaluate|\w+Cluster|ai\w+|llm\w*)\Z",
    re.IGNORECASE,
)


_AUTO = "'auto'"
"""Structure that the engine finds out from the data."""
_KNOWN_UP_TO: Final = 16_384
"""Bytes of a statement that is remembered."""


@dataclass(frozen=True)
class Token:
    """One piece of a statement."""

    kind: str
    """string, name, word, number or other; white space and comments are left out."""
    text: bytes
    start: int
    end: int

    @property
    def upper(self) -> bytes:
        return self.text.upper()


@dataclass(frozen=True)
class InsertHead:
    """An INSERT whose rows follow the statement in some format."""

    statement: str
    """The statement up to, not including, FORMAT."""
    format: str
    data_start: int
    """Offset of the first byte of data, should the data follow in the same bytes."""
    settings_at: int | None
    """Offset in `statement` of a SETTINGS clause that stands before FORMAT."""
    input_span: tuple[int, int] | None
    """Offsets in `statement` of `input('...')`."""
    structure: str
    """The quoted structure inside input(), or empty."""

    def reading(self, path: str, compression: str = "none") -> str:
        """The statement that takes its rows from the file `path` instead, compressed as the engine calls it. `path` must not need quoting."""
        if self.input_span is not None:
            start, end = self.input_span
            source = f"file('{path}', '{self.format}', {self.structure or _AUTO}, '{compression}')"
            return f"{self.statement[:start]}{source}{self.statement[end:]}"
        cut = len(self.statement) if self.settings_at is None else self.settings_at
        return f"{self.statement[:cut]} FROM INFILE '{path}' COMPRESSION '{compression}' {self.statement[cut:]} FORMAT {self.format}"


def tokens(sql: bytes) -> Iterator[Token]:
    """The statement's tokens in order, lazily, so that binary data behind a statement is not read."""
    position = 0
    while (match := _TOKEN.match(sql, position)) is not None:
        position = match.end()
        kind = str(match.lastgroup)
        if kind != "space":
            yield Token(kind, match.group(), match.start(), position)


def insert_head(sql: bytes) -> InsertHead | None:
    """The head of `INSERT ... FORMAT X`, or None for every other statement (VALUES and INFILE included)."""
    stream = tokens(sql)
    first = next(stream, None)
    if first is None or first.upper != b"INSERT":
        return None
    depth = 0
    selecting = False
    settings_at: int | None = None
    input_span: tuple[int, int] | None = None
    structure = b""
    token = next(stream, None)
    while token is not None:
        following = next(stream, None)
        word = token.upper if token.kind == "word" else b""
        if token.text == b"(":
            depth += 1
        elif token.text == b")":
            depth -= 1
        elif word in (b"SELECT", b"WITH"):
            selecting = True
        elif word == b"INPUT" and selecting and following is not None and following.text == b"(":
            inside = next(stream, None)
            closing = inside if inside is not None and inside.text == b")" else next(stream, None)
            if inside is None or closing is None or closing.text != b")":
                return None
            structure = inside.text if inside.kind == "string" else b""
            input_span = (token.start, closing.end)
            following = next(stream, None)
        elif depth == 0 and word in (b"VALUES", b"INFILE"):
            return None
        elif depth == 0 and word == b"SETTINGS" and not selecting:
            settings_at = token.start
        elif depth == 0 and word == b"FORMAT" and following is not None and following.kind == "word":
            if following.upper == b"VALUES" or (selecting and input_span is None):
                return None
            return _head(sql, token.start, following, settings_at, input_span, structure)
        token = following
    return None


def _head(sql: bytes, at: int, name: Token, settings_at: int | None, input_span: tuple[int, int] | None, structure: bytes) -> InsertHead:
    data = name.end
    while data < len(sql) and sql[data] in b" \t\f":
        data += 1
    if sql[data : data + 1] == b";":
        data += 1
    if sql[data : data + 1] == b"\r":
        data += 1
    if sql[data : data + 1] == b"\n":
        data += 1
    # Offsets count bytes but are used on text, so they are moved to characters.
    span = None if input_span is None else (_characters(sql, input_span[0]), _characters(sql, input_span[1]))
    return InsertHead(
        statement=sql[:at].decode(),
        format=name.text.decode(),
        data_start=data,
        settings_at=None if settings_at is None else _characters(sql, settings_at),
        input_span=span,
        structure=structure.decode(),
    )


def _characters(sql: bytes, offset: int) -> int:
    return len(sql[:offset].decode())


@dataclass(frozen=True)
class Statement:
    """What is worth knowing about a statement that carries no data."""

    several: bool
    """A second statement follows a semicolon."""
    reads: bool
    """The first word is one that only reads."""
    format: str | None
    """The format of a FORMAT clause at the end."""
    forbidden: str | None
    """The first thing in it that a reader may not use."""


def look(sql: bytes) -> Statement:
    """What a statement is, read through once; of statements that come again and again it is known."""
    return _known(sql) if len(sql) <= _KNOWN_UP_TO else _seen(sql)


def _seen(sql: bytes) -> Statement:
    found = list(tokens(sql))
    while found and found[-1].text == b";":
        found.pop()
    reads = bool(found) and (found[0].upper in _READS)
    output: str | None = None
    forbidden: str | None = None
    several = False
    for index, token in enumerate(found):
        if token.text == b";":
            several = True
        if token.kind not in ("word", "name"):
            continue
        following = found[index + 1] if index + 1 < len(found) else None
        if token.upper == b"OUTFILE" and index and found[index - 1].upper == b"INTO":
            forbidden = forbidden or "INTO OUTFILE"
        if following is None:
            continue
        bare = token.text.strip(b'`"')
        if following.text == b"(" and _REACHES_OUT.match(bare):
            forbidden = forbidden or bare.decode(errors="replace")
        if token.upper == b"FORMAT" and following.kind == "word" and (index + 2 == len(found) or found[index + 2].upper == b"SETTINGS"):
            output = following.text.decode()
    return Statement(several=several, reads=reads, format=output, forbidden=forbidden)


_known = lru_cache(maxsize=512)(_seen)
