"""The file of an SQLite store, read in the thread that asks.

The engine keeps each connection in a thread of its own, and one read is eight messages to that thread and back, each of which waits for its share of a busy
processor: 0.7 ms of CPU and often ten times that in time. The row itself takes 10 us, because the file is in the system's memory and, in WAL mode, readers wait for nobody.
"""

import sqlite3
from typing import Any
from urllib.parse import quote

from sqlalchemy.engine import make_url

from schemas.definition_kinds import ControlRecord

_ONE = """
SELECT version, payload, updated_at_us FROM definitions
WHERE kind = ? AND tenant = ? AND id = ? AND NOT deleted"""


class LocalFile:
    """Reads the file, and never writes it. Belongs to one thread."""

    def __init__(self, path: str) -> None:
        self._uri = f"file:{quote(path)}?mode=ro"
        self._connection: sqlite3.Connection | None = None
        self._opened = 0
        """How often."""

    def get(self, kind: str, tenant: str, id: str) -> ControlRecord | None:
        """The definition as it was committed last, None when it is not there or was deleted. Raises sqlite3.Error where it cannot be read at once."""
        rows = self._rows(_ONE, kind, tenant, id)
        return next((ControlRecord(kind, tenant, id, version, False, payload, changed_us) for version, payload, changed_us in rows), None)

    def commits(self) -> tuple[int, int]:
        """Differs from what it was when another connection committed in between. Raises sqlite3.Error where the file cannot be read at once.
        Source: SQLite's PRAGMA data_version, whose numbers compare within one connection."""
        version = int(self._rows("PRAGMA data_version")[0][0])
        return self._opened, version

    def close(self) -> None:
        """Lets go of the file; idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, statement: str, *parameters: str) -> list[Any]:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._uri, uri=True, timeout=0, isolation_level=None)
                self._opened += 1
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.Error:
            self.close()
            raise


def local_file(url: str) -> LocalFile | None:
    """The file of a store by its URL, None for one that is no file."""
    parsed = make_url(url)
    in_file = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return LocalFile(str(parsed.database)) if in_file else None
