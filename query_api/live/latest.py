"""The newest cumulative windows of the subjects that are read, kept up to date by the updates topic instead of asked for each time."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

import structlog

from infra.runtime.clock import Clock
from infra.runtime.errors import MillstreamError
from query_api.readers.window_state import WindowState
from query_api.readers.windows import WindowFilter, WindowReader
from schemas.windows import Grain

_log = structlog.get_logger()

RECHECK_S = 2.0
"""After this the tables are asked behind a read: an update is lost where a worker dies between storing a window and publishing it."""
MAX_AGE_S = 10.0
"""After this the tables are asked before the answer."""
MAX_KEPT = 2_000
"""Windows that are kept; the one read longest ago goes first."""

_Key = tuple[str, str, str]
"""Tenant, kind and subject."""


@dataclass
class _Kept:
    state: WindowState | None = None
    checked: float = float("-inf")
    """When the tables were last asked, in seconds of the monotonic clock."""
    arrived: WindowState | None = None
    """The newest update that came while the tables were being asked."""


class LatestWindows:
    """What the tables say of cumulative windows, at most about `RECHECK_S` late even where an update was lost. Belongs to one event loop."""

    def __init__(self, windows: WindowReader, clock: Clock) -> None:
        self._windows = windows
        self._clock = clock
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._looks: dict[_Key, asyncio.Task[WindowState | None]] = {}
        self.updates = 0
        """Updates received."""
        self.connected = False
        """Whether the updates topic is being read now; while it isn't, the tables are asked each time."""

    async def get(self, kind: str, tenant: str, subject: str, *, fresh: bool = False) -> WindowState | None:
        """A subject's cumulative window, None when there is none; with `fresh` as it is in the tables now. Raises what reading the tables raises."""
        key = (tenant, kind, subject)
        kept = self._kept.get(key)
        if fresh and key in self._looks:
            # It may have begun before what has to be in the answer.
            await asyncio.wait([self._looks[key]])
        if fresh or kept is None or not self.connected or (age := self._clock.monotonic() - kept.checked) > MAX_AGE_S:
            return await asyncio.shield(self._looking(key))
        self._kept.move_to_end(key)
        if age > RECHECK_S:
            self._looking(key)
        return kept.state

    def publish(self, state: WindowState) -> None:
        """Takes an update, in the order of the topic."""
        self.updates += 1
        if state.grain != Grain.ALL.value:
            return
        kept = self._kept.get((state.tenant, state.kind, state.subject))
        if kept is not None:
            kept.arrived = state
            if kept.state is None or state.revision >= kept.state.revision:
                kept.state = state

    def lost(self, since_us: int) -> None:
        """Whatever was computed since then may be missing: ask the tables again."""
        self._kept.clear()

    def _looking(self, key: _Key) -> "asyncio.Task[WindowState | None]":
        """The look at the tables that is under way, or a new one. There is one at a time, so that an older answer never follows a newer one."""
        if key not in self._looks:
            task = self._looks[key] = asyncio.create_task(self._look(key))
            task.add_done_callback(lambda look: self._looked(key, look))
        return self._looks[key]

    def _looked(self, key: _Key, look: "asyncio.Task[WindowState | None]") -> None:
        """Where it failed and nobody waited, the next read looks again, and from `MAX_AGE_S` on somebody waits."""
        del self._looks[key]
        error = None if look.cancelled() else look.exception()
        if error is not None:
            tell = _log.warning if isinstance(error, MillstreamError) else _log.error
            tell("window not read again", problem=f"{type(error).__name__}: {error}"[:300])

    async def _look(self, key: _Key) -> WindowState | None:
        tenant, kind, subject = key
        began = self._clock.monotonic()
        kept = self._kept.get(key) or _Kept()
        kept.arrived = None
        if self.connected:
            # Before the tables are asked, so that no update falls between the two.
            self._kept[key] = kept
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        found = await self._windows.newest(kind, tenant, WindowFilter(subject=subject, grain=Grain.ALL.value), limit=1)
        states = [state for state in (*found, kept.arrived) if state is not None]
        kept.state = max(states, key=lambda state: state.revision, default=None)
        kept.checked = began
        return kept.state
