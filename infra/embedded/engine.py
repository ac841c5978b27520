"""The ClickHouse engine inside this process: one data folder, threads that run in parallel.

The engine releases the interpreter lock while it works, so queries of different threads run at the same time.
"""

import fcntl
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chdb.state.sqlitelike import Connection

from infra.embedded.body_encoding import decoded, may_stay_packed
from infra.embedded.engine_connections import Connections
from infra.embedded.engine_errors import failure, from_engine
from infra.embedded.engine_sql import InsertHead, insert_head, look

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# One thread keeps the rows of a body in their order and their blocks in their shape, which retried inserts rely on.
_BODY_DEFAULTS = {"max_threads": "1", "max_insert_threads": "1", "input_format_parallel_parsing": "0"}
_OPERATOR_DEFAULTS = {"async_insert": "0"}
# Merges of large parts would otherwise take every core for seconds, while blocks wait to be stored and changes to be seen. Without CAP_SYS_NICE the
# second setting changes nothing.
_SERVER_SETTINGS = f"?background_pool_size={max(1, (os.cpu_count() or 1) // 2)}&os_threads_nice_value_merge_mutate=10"


@dataclass(frozen=True)
class Limits:
    """What the read-only user may take of one query."""

    seconds: float
    memory_bytes: int
    rows: int

    def clamp(self, settings: Mapping[str, str]) -> dict[str, str]:
        """The settings asked for, with every limit at most ours and nothing that loosens the user."""
        ceilings = {"max_execution_time": self.seconds, "max_memory_usage": self.memory_bytes, "max_rows_to_read": self.rows}
        result = {name: value for name, value in settings.items() if name != "readonly" and not name.startswith("allow_")}
        for name, ceiling in ceilings.items():
            try:
                asked = float(result.get(name, "0"))
            except ValueError:
                asked = 0.0
            result[name] = f"{asked if 0 < asked < ceiling else ceiling:g}" if name == "max_execution_time" else str(int(min(asked or ceiling, ceiling)))
        result.update(timeout_overflow_mode="throw", read_overflow_mode="throw", max_result_bytes=str(256 * 1024 * 1024), result_overflow_mode="throw")
        return result


@dataclass(frozen=True)
class Request:
    """One statement with what came with it."""

    sql: bytes
    """The statement, with or without data behind it."""
    body: bytes = b""
    """Data that came apart from the statement."""
    encoding: str = ""
    """How `body` is compressed, as Content-Encoding names it."""
    format: str = "TabSeparated"
    """Output format when the statement names none."""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    database: str = ""
    limits: Limits | None = None
    """Given for the read-only user."""
    changes: bool = True
    """False when the transport (GET) promises to change nothing."""


@dataclass(frozen=True)
class Answer:
    """What a statement gave."""

    data: bytes
    format: str
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_ns: int = 0


class Engine:
    """Owner of a data folder. `run` blocks and may be called from many threads at once."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, creating it when absent. Raises EngineFailure when another process has it open."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = str(folder)
        # The lock belongs to the process, so a killed engine leaves none behind.
        self._lock = os.open(folder / "engine.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise failure(76, "CANNOT_OPEN_FILE", f"Another process has the data folder {folder} open") from error
        self._keeper = Connection(self._path + _SERVER_SETTINGS)
        self._keeper.query("SELECT 1")
        self._connections = Connections(self._path)

    def close(self) -> None:
        """Close the folder. No `run` may be under way."""
        self._connections.close()
        self._keeper.close()
        os.close(self._lock)

    def run(self, request: Request) -> Answer:
        """Run one statement to its end. Raises EngineFailure for whatever the engine refuses."""
        head = insert_head(request.sql) if request.limits is None and request.changes else None
        if head is not None:
            data = memoryview(request.sql)[head.data_start :] if head.data_start < len(request.sql) else memoryview(b"")
            if len(data) or request.body:
                return self._insert(request, head, data)
        body = decoded(request.body, request.encoding)
        sql = request.sql + (b"\n" + body if request.sql and body else body)
        seen = look(sql)
        if seen.several and not sql.lstrip()[:6].upper() == b"INSERT":
            raise failure(62, "SYNTAX_ERROR", "Multi-statements are not allowed")
        if request.limits is not None or not request.changes:
            if not seen.reads:
                raise failure(164, "READONLY", "Cannot execute query in readonly mode")
            if request.limits is not None and seen.forbidden:
                raise failure(497, "ACCESS_DENIED", f"Not enough privileges to use {seen.forbidden}")
        try:
            text = sql.decode()
        except UnicodeDecodeError as error:
            raise failure(62, "SYNTAX_ERROR", "The statement is not UTF-8") from error
        output = seen.format or request.format
        return self._answer(request, {}, text, output, again=seen.reads)

    def _insert(self, request: Request, head: InsertHead, data: memoryview) -> Answer:
        inside = may_stay_packed(request.body, request.encoding) and not len(data)
        body = request.body if inside else decoded(request.body, request.encoding)
        # A memory file is gone with the process, so nothing has to be cleaned up after a kill.
        spool = os.memfd_create("millstream-insert")
        try:
            for part in (data, memoryview(body)):
                while len(part):
                    part = part[os.write(spool, part) :]
            text = head.reading(f"/proc/{os.getpid()}/fd/{spool}", request.encoding if inside else "none")
            return self._answer(request, _BODY_DEFAULTS, text, request.format, again=False)
        finally:
            os.close(spool)

    def _answer(self, request: Request, defaults: Mapping[str, str], text: str, output: str, *, again: bool) -> Answer:
        setup = _setup(request, defaults)
        try:
            with self._connections.lent(setup, again=again) as connection:
                result: Any = connection.query(text, output, params=dict(request.parameters))
                return Answer(
                    data=result.bytes() or b"",
                    format=output,
                    read_rows=result.storage_rows_read(),
                    read_bytes=result.storage_bytes_read(),
                    written_rows=result.rows_written(),
                    written_bytes=result.bytes_written(),
                    elapsed_ns=int(result.elapsed() * 1e9),
                )
        except Exception as error:
            raise from_engine(error) from error


def _setup(request: Request, defaults: Mapping[str, str]) -> str:
    """The statements that give a connection the database, the settings and the rights of a request."""
    settings = {**_OPERATOR_DEFAULTS, **defaults, **request.settings}
    if request.limits is not None:
        settings = request.limits.clamp(settings)
    steps = [f"USE `{_escaped(request.database, '`')}`"] if request.database else []
    for name in settings:
        if not _SETTING_NAME.match(name):
            raise failure(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
    steps.append("SET " + ", ".join(f"{name} = '{_escaped(value, chr(39))}'" for name, value in settings.items()))
    if request.limits is not None or not request.changes:
        steps.append(f"SET readonly = {1 if request.limits is not None else 2}")
    return ";".join(steps)


def _escaped(text: str, quote: str) -> str:
    return text.replace("\\", "\\\\").replace(quote, "\\" + quote)
