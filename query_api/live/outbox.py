"""What waits to be sent to one live client: every revision while it keeps up, the newest states when it does not."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from query_api.readers.window_state import StateKey, WindowState

REMEMBERED = 20_000
"""Keys per client whose last revision is remembered, to drop what came twice."""
OVERFLOW = 16
"""Distinct states beyond this many times the limit are dropped, and read again from the tables later."""


@dataclass(frozen=True)
class Pending:
    """A state to send."""

    state: WindowState
    skipped: int
    """Revisions in between that the client will not see."""


_Slot = int | tuple[StateKey, int]
"""Messages have a number; states their key and revision, or 0 for the revision while states are coalesced."""


class Outbox:
    """The queue of one client, in order. `put` and `offer` never block, so no client can hold up another, and memory is
    bounded.

    Up to `limit` waiting states, every revision stays. Beyond it, only the newest state of each key stays, at the place
    of its newest revision, until the client has caught up.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: OrderedDict[_Slot, bytes | Pending] = OrderedDict()
        self._states = 0
        self._numbered = 0
        self._known: OrderedDict[StateKey, int] = OrderedDict()
        self._coalescing = False
        self._ready = asyncio.Event()
        self._taken = asyncio.Event()
        self.lost_since_us: int | None = None
        """Set when states were lost: what was computed since then must be read from the tables again."""
        self.coalesced = 0
        """Revisions this client did not get to see."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: bytes) -> None:
        """Queues a message that is sent as it is."""
        self._numbered += 1
        self._waiting[self._numbered] = message
        self._ready.set()

    def offer(self, state: WindowState) -> None:
        """Queues a state unless this or a newer revision was queued already."""
        if state.revision <= self._known.get(state.key, -1):
            return
        self.know(state)
        self._append(state, 0)
        if not self._coalescing and self._states > self._limit:
            self._coalesce()
        if self._states > self._limit * OVERFLOW:
            self._overflow()
        self._ready.set()

    def know(self, state: WindowState) -> None:
        """Notes that the client gets this revision, so that neither it nor an older one is queued again."""
        if state.revision > self._known.get(state.key, -1):
            self._known[state.key] = state.revision
            self._known.move_to_end(state.key)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def lose(self, since_us: int) -> None:
        """Notes that updates computed since then may never have been offered."""
        self.lost_since_us = since_us if self.lost_since_us is None else min(since_us, self.lost_since_us)

    def forget(self, keep: Callable[[WindowState], bool]) -> None:
        """Drops the waiting states that `keep` does not want."""
        for slot, item in list(self._waiting.items()):
            if isinstance(item, Pending) and not keep(item.state):
                del self._waiting[slot]
                self._states -= 1
                self._known.pop(item.state.key, None)

    async def room(self) -> None:
        """Returns when the client has taken what it asked for before."""
        while len(self._waiting) - self._states >= self._limit:
            self._taken.clear()
            await self._taken.wait()

    async def take(self) -> bytes | Pending:
        """The next thing to send, waiting for one."""
        while not self._waiting:
            self._ready.clear()
            await self._ready.wait()
        _, item = self._waiting.popitem(last=False)
        self._taken.set()
        if isinstance(item, Pending):
            self._states -= 1
            self._coalescing = self._coalescing and self._states > 0
        return item

    def _append(self, state: WindowState, skipped: int) -> None:
        older = self._waiting.pop((state.key, 0), None) if self._coalescing else None
        if isinstance(older, Pending):
            self._states -= 1
            self.coalesced += 1
            skipped += older.skipped + 1
        self._waiting[state.key, 0 if self._coalescing else state.revision] = Pending(state, skipped)
        self._states += 1

    def _coalesce(self) -> None:
        before, self._waiting = self._waiting, OrderedDict()
        self._states = 0
        self._coalescing = True
        for slot, item in before.items():
            if isinstance(item, Pending):
                self._append(item.state, item.skipped)
            else:
                self._waiting[slot] = item

    def _overflow(self) -> None:
        pending = [item for item in self._waiting.values() if isinstance(item, Pending)]
        self.lose(min(item.state.computed_us for item in pending))
        self.coalesced += len(pending)
        self.forget(lambda _: False)
        self._coalescing = False
