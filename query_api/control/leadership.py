"""Which process publishes the outbox: at most one at a time.

Two publishers could put an older version of a definition behind a newer one, and compaction would keep the older. The
lock belongs to the process and goes with it, so nothing has to expire.
"""

import fcntl
import os

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_LOCK = 0x6D696C6C6F757462
"""Number of the PostgreSQL advisory lock."""


class Leadership:
    """The right to publish. One object per process and store."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._file: int | None = None

    async def held(self) -> bool:
        """Takes the right if it is free; True while this process has it. Ask before every round: the answer turns
        False when the database connection that carried the lock is gone."""
        if self._engine.dialect.name == "postgresql":
            return await self._held_postgres()
        path = self._engine.url.database
        return not path or path == ":memory:" or self._held_file(f"{path}.outbox.lock")

    async def release(self) -> None:
        """Gives the right up. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._connection is not None:
            connection, self._connection = self._connection, None
            # Without invalidation the pool would keep the session, and with it the lock.
            await connection.invalidate()
            await connection.close()

    async def _held_postgres(self) -> bool:
        try:
            if self._connection is not None:
                await self._connection.execute(text("SELECT 1"))
                return True
            connection = await self._engine.connect()
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            taken = (await connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK})).scalar_one()
        except (DBAPIError, OSError):
            await self.release()
            return False
        if taken:
            self._connection = connection
        else:
            await connection.close()
        return bool(taken)

    def _held_file(self, path: str) -> bool:
        if self._file is not None:
            return True
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._file = handle
        return True
