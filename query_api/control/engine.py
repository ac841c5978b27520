"""Connections to the control store: SQLite or PostgreSQL by URL, with the same promises.

A transaction that committed survives a power cut, and two processes may write at the same time.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from infra.runtime.errors import MillstreamError, Unavailable, ValidationFailed

_DATA_EXCEPTION = "22"
"""Class of SQLSTATE (SQL:2016, part 2, table 38) of values of a wrong form, such as a text with the character NUL on PostgreSQL."""
BUSY_TIMEOUT_MS = 5_000
"""How long a writer waits for another process's transaction on SQLite."""


def make_engine(url: str) -> AsyncEngine:
    """An engine for the URL; connects to nothing yet. Creates the folder of an SQLite file. Its errors show no values, some of which are secret."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_async_engine(parsed, pool_pre_ping=True, pool_size=5, max_overflow=5, hide_parameters=True)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(parsed, hide_parameters=True)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that writes: committed at the end, rolled back when the body raises."""
    async with engine.connect() as connection:
        await connection.execution_options(millstream_writes=True)
        async with connection.begin():
            yield connection


@asynccontextmanager
async def changing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that writes. Raises `Unavailable` when the database cannot be reached."""
    try:
        async with writing(engine) as connection:
            yield connection
    except (DBAPIError, OSError) as error:
        raise unavailable(error) from error


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that reads. Raises `Unavailable` when the database cannot be reached."""
    try:
        async with engine.connect() as connection:
            yield connection
    except (DBAPIError, OSError) as error:
        raise unavailable(error) from error


def unavailable(error: Exception) -> MillstreamError:
    """The error for a database that does not answer, or that knows no such value."""
    if str(getattr(getattr(error, "orig", None), "sqlstate", None) or "").startswith(_DATA_EXCEPTION):
        return ValidationFailed("a text or number is none that the control store can hold; leave out the character NUL")
    return Unavailable(f"The control store cannot be used: {type(error).__name__}. Check that it runs and that its disk has room.", retry_after_s=1)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN comes too late (at the first write) and skips DDL; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    # WAL: readers and the writer do not block each other, so the query service answers while the CLI writes.
    cursor.execute("PRAGMA journal_mode = WAL")
    # FULL: the log is synced at every commit. NORMAL could undo the last commits after a power cut, and one of those
    # may be the revocation of a key. Definitions change rarely, so the cost is not felt.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once, without waiting, when another wrote in between.
    # IMMEDIATE takes the write lock at the start and so waits in line.
    writes = connection.get_execution_options().get("millstream_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
