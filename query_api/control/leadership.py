"""Which process does a job that only one may do at a time, such as publishing the outbox.

Two publishers could put an older version of a definition behind a newer one, and compaction would keep the older. The
lock belongs to the process and goes with it, so nothing has to expire.
"""

import fcntl
import os

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class Leadership:
    """The right to do a job. One object per process, store and job."""

    def __init__(self, engine: AsyncEngine, job: str = "outbox") -> None:
        """Two jobs differ in their first four letters, which make the number of the PostgreSQL advisory lock."""
        self._engine = engine
        self._job = job
        self._lock = int.from_bytes(f"mill{job[:4]}".encode())
        self._connection: AsyncConnection | None = None
        self._file: int | None = None

    async def held(self) -> bool:
        """Takes the right if it is free; True while this process has it. Ask before every round: the answer turns
        False when the database connection that carried the lock is gone."""
        if self._engine.dialect.name == "postgresql":
            return await self._held_postgres()
        path = self._engine.url.database
        return not path or path == ":memory:" or self._held_file(f"{path}.{self._job}.lock")

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
            taken = (await connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": self._lock})).scalar_one()
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
