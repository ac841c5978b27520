"""The freshness contract: what is visible now, and reads that wait until a given write is.

A raw read covers a position when the ledger does: the sink writes the ledger row after ClickHouse acknowledged the
block. A window read of a subject also needs the windows to be recomputed from the last block up to that position that
touched the subject; blocks that did not touch it change nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from infra.runtime.clock import Clock
from infra.runtime.errors import NotVisibleYet
from query_api.readers.ledger import HighWater, LedgerReader
from query_api.readers.windows import WindowReader
from schemas.position import Positions, covers, encode
from schemas.tables.watermarks import TENANT_WIDE

POLL_FIRST_S = 0.005
POLL_MAX_S = 0.05
RECENT_S = 0.5
"""A watermark this old is looked at again behind the read that asks."""
OLD_S = 10.0
"""One this old is looked at before."""
_OVERLAP_US = 60_000_000
"""How far behind the newest ledger row known the next look begins: wider than the clocks of two workers differ."""


@dataclass(frozen=True)
class Wait:
    """What a caller wants to see, and how long it will wait."""

    wanted: Positions = field(default_factory=dict)
    timeout_s: float = 0.0


class Freshness:
    """Knows the watermark. One look at the ledger at a time serves every request that waits."""

    def __init__(self, ledger: LedgerReader, windows: WindowReader, clock: Clock) -> None:
        self._ledger = ledger
        self._windows = windows
        self._clock = clock
        self._marks: dict[str, HighWater] = {}
        self._look: asyncio.Task[None] | None = None
        self._looked = float("-inf")

    async def watermark(self) -> Positions:
        """What is visible at least, for every partition that ever stored a block. Raises Unavailable without ClickHouse.

        A look that is already under way when the call comes is waited for and followed by one more, so that whatever was stored
        before the call is in the answer.
        """
        running = self._look
        if running is not None and not running.done():
            await asyncio.wait({running})
        if self._look is None or self._look is running:
            self._look = asyncio.create_task(self._refresh())
        await asyncio.shield(self._look)
        return {place: mark.offset for place, mark in self._marks.items()}

    async def recent(self) -> Positions:
        """What was visible a moment ago, and so is visible at least: for answers that need not wait for a look at the ledger. Raises Unavailable where
        there was none for long."""
        known = self.known()
        if known is None:
            return await self.watermark()
        if self._clock.monotonic() - self._looked > RECENT_S and (self._look is None or self._look.done()):
            self._look = asyncio.create_task(self._refresh())
            # Somebody waits for it again once it is old.
            self._look.add_done_callback(lambda look: look.cancelled() or look.exception())
        return known

    def known(self) -> Positions | None:
        """What was visible when somebody last looked, unless that is long ago. Does not block."""
        if self._clock.monotonic() - self._looked > OLD_S:
            return None
        return {place: mark.offset for place, mark in self._marks.items()}

    async def raw(self, wait: Wait) -> Positions:
        """The watermark, once it covers what is wanted. Raises NotVisibleYet at the deadline."""
        return await self._until(wait, self._never_missing)

    async def window(self, wait: Wait, kinds: tuple[str, ...], tenant: str, subject: str | None, topics: Collection[str]) -> Positions:
        """The watermark, once it covers what is wanted and every touched subject's windows of the kinds do: the subject named,
        or all of the tenant. Positions on other than the `topics` that feed the kinds ask only for storage. Raises NotVisibleYet at
        the deadline."""
        needed: list[tuple[str, str, str, int]] | None = None

        async def missing() -> Positions:
            nonlocal needed
            if needed is None:
                needed = [
                    (kind, place, touched, last)
                    for place, offset in wait.wanted.items()
                    if place.rpartition(":")[0] in topics
                    for touched, last in (await self._ledger.touches(place, self._marks[place].generation, offset, tenant, subject)).items()
                    for kind in kinds
                ]
            for kind, place in {(kind, place) for kind, place, _, _ in needed}:
                covered = await self._windows.covered(kind, tenant, place)
                whole = covered.get(TENANT_WIDE, -1)
                needed = [each for each in needed if each[:2] != (kind, place) or max(covered.get(each[2], -1), whole) < each[3]]
            return {place: last for _, place, _, last in needed}

        return await self._until(wait, missing)

    async def _until(self, wait: Wait, missing: Callable[[], Awaitable[Positions]]) -> Positions:
        deadline = self._clock.monotonic() + wait.timeout_s
        pause = POLL_FIRST_S
        while True:
            watermark = await self.watermark()
            behind: Positions = {}
            if covers(watermark, wait.wanted):
                behind = await missing()
                if not behind:
                    return watermark
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise NotVisibleYet(
                    f"not visible within {wait.timeout_s:g} s; read again, or wait longer with X-Millstream-Wait-Timeout",
                    details={"watermark": encode(watermark), "wanted": encode(wait.wanted), "windows_behind": encode(behind)},
                )
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, POLL_MAX_S)

    async def _never_missing(self) -> Positions:
        return {}

    async def _refresh(self) -> None:
        began = self._clock.monotonic()
        newest = max((mark.stored_us for mark in self._marks.values()), default=0)
        for mark in await self._ledger.high_water(max(0, newest - _OVERLAP_US)):
            known = self._marks.get(mark.place)
            if known is None or mark.generation != known.generation or mark.offset > known.offset:
                self._marks[mark.place] = mark
        self._looked = began
