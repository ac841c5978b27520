"""Connections to the engine, each set up for one kind of request.

Settings of one request stay out of the next: a connection is lent again only for the same settings, and only if what ran on it left no trace.
To open one and to set it up takes 1 ms, as long as the shortest statements.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chdb.state.sqlitelike import Connection

_MOST_SETUPS: Final = 64
"""Clients choose settings, so there may be any number of kinds; those that come after are opened for each request."""
_MOST_IDLE: Final = 8
"""As many of a kind as statements that read run side by side."""


class Connections:
    """May be used from many threads at once: whatever it does to a list or a dictionary is one step of the interpreter."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: dict[str, list[Connection]] = {}

    @contextmanager
    def lent(self, setup: str, *, again: bool) -> Iterator[Connection]:
        """A connection on which the statements `setup` have run, perhaps for an earlier request. `again` promises that nothing of the connection is
        changed; after an error it is closed all the same. Raises what the engine raises."""
        idle = self._of(setup) if again else None
        try:
            connection = (idle or []).pop()
        except IndexError:
            connection = self._opened(setup)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if idle is not None and len(idle) < _MOST_IDLE:
            idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close all. None may be lent."""
        while self._idle:
            for connection in self._idle.popitem()[1]:
                connection.close()

    def _of(self, setup: str) -> list[Connection] | None:
        """Those of a kind; None where none of it are kept."""
        if setup not in self._idle and len(self._idle) >= _MOST_SETUPS:
            return None
        return self._idle.setdefault(setup, [])

    def _opened(self, setup: str) -> Connection:
        connection = Connection(self._path)
        try:
            connection.query(setup)
        except BaseException:
            connection.close()
            raise
        return connection
