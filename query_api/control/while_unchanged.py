"""What was read from the control store, kept while nothing is committed to it."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST: Final = 10_000
"""Values that are kept; with more, all are read again."""


class WhileUnchanged(Generic[K, V]):
    """Values by key that follow from the control store alone. Belongs to one event loop.

    To ask a store in a file whether anything was committed takes some microseconds; one read of it is eight messages to another thread and back.
    """

    def __init__(self, commits: Callable[[], object]) -> None:
        """`commits` gives something equal to what it gave before only when nothing was committed in between."""
        self._commits = commits
        self._as_of: object = None
        self._values: dict[K, V] = {}

    async def get(self, key: K, find: Callable[[], Awaitable[V]]) -> V:
        """The value, found now unless it is known as of the last commit. Raises what `find` raises; then nothing is kept."""
        commits = self._commits()
        if commits != self._as_of or len(self._values) >= MOST:
            self._as_of, self._values = commits, {}
        values = self._values
        if key not in values:
            values[key] = await find()
        return values[key]
