"""Following windows of one kind, one process at a time, to act on what they say.

Every refresh of a cumulative window is judged once, a moment after it was published; on start, those that are stored.
"""

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog

from infra.runtime.errors import MillstreamError
from query_api.control.leadership import Leadership
from query_api.live.updates import Receiver
from query_api.readers.window_state import WindowState
from query_api.readers.windows import WindowFilter, WindowReader
from schemas.definitions import Definitions
from schemas.windows import Grain

_log = structlog.get_logger()

LOOK_S: Final = 1.0
"""How often a process that is not the leader tries to become it, and a failed step is tried again."""
MAX_WINDOWS: Final = 10_000
"""Windows of a tenant that are looked at on start."""

Place = tuple[str, str]
"""Tenant and subject."""


class WindowWatch(Receiver):
    """Judges windows, one after the other, in the process that leads. It is the receiver of a reader of updates of its own."""

    kind: str
    """Of the windows."""

    def __init__(self, definitions: Definitions, windows: WindowReader, leadership: Leadership) -> None:
        """Does nothing before `run`."""
        self._definitions = definitions
        self._windows = windows
        self._leadership = leadership
        self._waiting: dict[Place, WindowState] = {}
        self._read_all = False
        self._wake = asyncio.Event()
        self.updates = 0
        self.connected = False

    @abstractmethod
    async def judge(self, state: WindowState) -> None:
        """Act on what one window says. Again changes nothing. Raises a MillstreamError when a store is away."""

    def began(self) -> None:
        """Leads from now on; another process may have led before."""

    def publish(self, state: WindowState) -> None:
        """Keeps the newest state of each subject until it is judged."""
        self.updates += 1
        if state.kind == self.kind and state.grain == Grain.ALL.value:
            place = (state.tenant, state.subject)
            known = self._waiting.get(place)
            if known is None or known.revision <= state.revision:
                self._waiting[place] = state
            self._wake.set()

    def lost(self, since_us: int) -> None:
        """What is stored is read again."""
        self._read_all = True
        self._wake.set()

    async def run(self, read: Callable[[], Coroutine[Any, Any, None]], known: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled. `read` reads updates into this object for ever; `known` returns when the definitions are there."""
        await known()
        try:
            while not await self._leadership.held():
                await asyncio.sleep(LOOK_S)
            await self._lead(read)
        finally:
            await self._leadership.release()

    async def _lead(self, read: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.began()
        self.connected = False
        reader = asyncio.create_task(read())
        try:
            # Only once updates arrive, so that nothing falls between what is stored and what is told.
            while not self.connected:
                await asyncio.sleep(0.05)
            self._read_all = True
            while await self._leadership.held():
                try:
                    await self.step()
                except MillstreamError as error:
                    _log.warning("windows cannot be judged at the moment", kind=self.kind, problem=error.message)
                    await asyncio.sleep(LOOK_S)
                    continue
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), LOOK_S)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            self._waiting.clear()

    async def step(self) -> None:
        """Judges everything that waits. What could not be judged because a store is away stays waiting, and the error is raised."""
        self._wake.clear()
        if self._read_all:
            self._read_all = False
            try:
                await self._take_stored()
            except BaseException:
                self._read_all = True
                raise
        while self._waiting:
            place, state = next(iter(self._waiting.items()))
            try:
                await self.judge(state)
            except MillstreamError:
                raise
            except Exception as error:  # noqa: BLE001
                # One window that cannot be read must not keep the others from being judged.
                _log.error("window cannot be judged", kind=self.kind, tenant=state.tenant, subject=state.subject, problem=f"{type(error).__name__}: {error}")
            if self._waiting.get(place) is state:
                del self._waiting[place]

    async def _take_stored(self) -> None:
        for tenant in self._definitions.tenants():
            for state in await self._windows.newest(self.kind, tenant.id, WindowFilter(grain=Grain.ALL.value), limit=MAX_WINDOWS):
                known = self._waiting.get((tenant.id, state.subject))
                if known is None or known.revision < state.revision:
                    self._waiting[tenant.id, state.subject] = state
