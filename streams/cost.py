"""Cost: what a tenant's telemetry used and what that costs, by provider, model, project, user, session, prompt version and service.

Marks name a service. A refresh adds up the touched minutes of that service again from the distinct rows, hands the sums up
(5m from 1m, 1h from 5m, 1d from 1h, all from 1d) for the subjects that changed in those minutes since the last refresh, and prices
the windows of those. So it costs what changed.

Users and sessions are so many that they follow at a pace of their own: `streams/cost_of_many.py`. Of a session only the window over all time
is kept, and none of a trace: whoever wants another adds it up from the spans.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.runtime.clickhouse import ClickHouse, ClickHouseError
from infra.runtime.clock import Clock
from schemas.cost import FEW, FINER, SESSION, Usage, figures, pieces, whole_minutes
from schemas.definitions import Definitions, PriceList, to_us
from schemas.windows import MINUTE_US, Grain, window_start, windows_touched
from streams.publish_windows import Items, WindowWriter
from streams.readers import cost as reader
from streams.readers import usage_counts
from streams.readers.cost import Place, Touched
from streams.readers.usage_counts import Blocks
from streams.refresher import Batch, Subject
from streams.whole_refresh import WholeRefresh

CHUNK = 60
"""Minutes added up by one statement."""
MAX_BLOCKS = 200_000
"""Blocks of minutes that are remembered as counted; beyond it all minutes are counted as a whole once more."""
PAGE = 20_000
"""Subjects priced at once when a whole range is priced again."""


@dataclass(frozen=True)
class _Minute:
    """A minute of a service all of whose windows are up to date."""

    computed: int
    """The computation whose changes reached them."""
    blocks: Blocks
    """What its spans were counted from, where that is followed."""


_OfService = tuple[Subject, int]
"""Service and start of a minute."""


class Cost(WholeRefresh):
    """Windows of cost by the dimensions with few values; marks come per service, windows are per `dimension=value`."""

    kind = "cost"
    dimensions: Sequence[str] = FEW

    def __init__(self, clickhouse: ClickHouse, writer: WindowWriter, definitions: Definitions, clock: Clock, *, timeout: float = 60.0) -> None:
        """`timeout` in seconds bounds each statement."""
        super().__init__(writer)
        self._clickhouse = clickhouse
        self._definitions = definitions
        self._clock = clock
        self._timeout = timeout
        self._priced: dict[str, tuple[PriceList, ...]] = {}
        self._computed = 0
        self._minutes: dict[_OfService, _Minute] = {}
        self._remembered = 0
        """Blocks of all those minutes."""
        self._doubtful: set[_OfService] = set()
        """Those whose refresh failed: a statement that got no answer may still run, so what it changes belongs to no computation known."""
        # Windows span services, so two refreshes may meet in one window; a revision has one author at a time.
        self._writing = asyncio.Lock()

    async def refresh(self, subject: Subject, batch: Batch) -> None:
        """Bring every window the batch touched up to date, publish what changed, then say how far.

        A batch that says something was redefined prices again what the change of price lists governs, and takes nothing about its minutes
        as known. Raises ClickHouseError; repeating is safe.
        """
        positions = await self._merged(subject, batch)
        minutes = whole_minutes(batch.minutes)
        if batch.redefined:
            for start in minutes:
                self._forget_minute((subject, start))
        for first in range(0, len(minutes), CHUNK):
            async with self._writing:
                await self._chunk(subject, minutes[first : first + CHUNK], positions)
        if batch.redefined:
            await self._follow_prices(subject.tenant)
        await self._reached(subject, positions)

    def forget(self) -> None:
        """Drop everything cached: subjects may have gone to another worker."""
        super().forget()
        self._priced.clear()
        self._minutes.clear()
        self._remembered = 0
        self._doubtful.clear()

    async def reprice(self, tenant: str, from_us: int, until_us: int | None) -> None:
        """Price all windows again that overlap [from_us, until_us), None meaning for ever, from the usage that is kept, not from rows.

        Reads what is stored of that range. Raises ClickHouseError; repeating is safe.
        """
        for grain in Grain:
            found = await reader.starts(self._clickhouse, tenant, grain, from_us, until_us, dimensions=self._with_windows(grain), timeout=self._timeout)
            for start, subjects in found:
                pages = 1 + subjects // PAGE
                for page in range(pages):
                    async with self._writing:
                        windows = await self._windows(tenant, [(grain, start)], None, (page, pages))
                        await self._writer.write_many(tenant, {name: {grain.value: {start: items}} for name, items in windows[grain, start].items()}, {})

    async def _follow_prices(self, tenant: str) -> None:
        """Price again what the price lists changed since they were last followed; everything when that is not known."""
        now = self._definitions.price_lists(tenant)
        before = self._priced.get(tenant)
        span = (0, None) if before is None else changed_span(before, now)
        if span is not None:
            await self.reprice(tenant, *span)
        self._priced[tenant] = now

    async def _chunk(self, subject: Subject, minutes: Sequence[int], positions: Mapping[str, int]) -> None:
        # A clock that was set back must not make a new sum older than the one it replaces.
        self._computed = max(self._computed + 1, self._clock.now_us())
        tenant, places = subject.tenant, [(subject, start) for start in minutes]
        known = [self._minutes.get(place) for place in places]
        touched = Touched(subject.name, minutes, [minute.computed if minute else 0 for minute in known], self.dimensions)
        try:
            counted = {start: minute.blocks for start, minute in zip(minutes, known, strict=True) if minute}
            found = await self._count(tenant, touched, self._computed, counted)
            changed = await reader.subjects(self._clickhouse, tenant, touched, timeout=self._timeout)
            if changed:
                await self._hand_up(tenant, touched, changed, positions)
        except ClickHouseError:
            self._doubtful.update(places)
            for place in places:
                self._forget_minute(place)
            raise
        # Only now: what a refresh that failed half way had counted is still to be handed up by the next one.
        for start in minutes:
            if (subject, start) not in self._doubtful:
                self._remember((subject, start), _Minute(self._computed, found.get(start, {})))

    async def _count(self, tenant: str, touched: Touched, computed: int, counted: Mapping[int, Blocks]) -> Mapping[int, Blocks]:
        """Store the usage of the minutes touched. `counted` are the blocks, by start of the minute, of what is stored already where that is known; those
        of now are given back. Raises ClickHouseError."""
        await usage_counts.count_few(self._clickhouse, tenant, touched, computed, timeout=self._timeout)
        return {}

    def _remember(self, place: _OfService, minute: _Minute) -> None:
        self._forget_minute(place)
        if self._remembered + len(minute.blocks) > MAX_BLOCKS:
            self._minutes.clear()
            self._remembered = 0
        self._minutes[place] = minute
        # A minute without spans takes its place too.
        self._remembered += len(minute.blocks) + 1

    def _forget_minute(self, place: _OfService) -> None:
        minute = self._minutes.pop(place, None)
        if minute is not None:
            self._remembered -= len(minute.blocks) + 1

    async def _hand_up(self, tenant: str, touched: Touched, changed: Sequence[tuple[int, str, str]], positions: Mapping[str, int]) -> None:
        """Bring the coarser usage and the windows of every grain up to date for the subjects that changed in the minutes touched."""
        for grain in FINER:
            await reader.add_up(self._clickhouse, tenant, touched, grain, self._computed, timeout=self._timeout)
        minutes = [start // MINUTE_US for start in touched.starts]
        windows = await self._windows(tenant, [(grain, start) for grain in Grain for start in windows_touched(minutes, grain)], touched, (0, 1))
        chosen: dict[str, dict[str, dict[int, Items]]] = {}
        for grain in Grain:
            # A subject that was in one touched window may be looked up in another it was never in: only its own count.
            mine = {(f"{dimension}={value}", window_start(start, grain)) for start, dimension, value in changed if _has_windows(grain, dimension)}
            for name, start in mine:
                chosen.setdefault(name, {}).setdefault(grain.value, {})[start] = windows[grain, start].get(name, {})
        await self._writer.write_many(tenant, chosen, positions)

    async def _windows(self, tenant: str, places: Sequence[Place], touched: Touched | None, page: tuple[int, int]) -> dict[Place, dict[str, Items]]:
        """Figures of windows by subject."""
        governed: dict[Place, list[tuple[PriceList, list[Usage]]]] = {place: [] for place in places}
        changes = [to_us(prices.effective_from) for prices in self._definitions.price_lists(tenant)]
        whole: dict[Place, list[Usage]] = {}
        for grain, start in places:
            split = {hourly: list(pieces(grain, start, changes, Grain.HOUR if hourly else Grain.MINUTE)) for hourly in _hourly(grain)}
            if all(len(parts) == 1 for parts in split.values()):
                whole[grain, start] = []
                continue
            wanted = self._with_windows(grain)
            for hourly, parts in split.items():
                for part in parts:
                    used = await reader.usage_of_piece(self._clickhouse, tenant, part, wanted, touched, page, hourly=hourly, timeout=self._timeout)
                    governed[grain, start].append((self._prices(tenant, part.from_us, hourly), used))
        if whole:
            dimensions = {place: self._with_windows(place[0]) for place in whole}
            for place, usage in await reader.usage(self._clickhouse, tenant, dimensions, touched, page, timeout=self._timeout):
                whole[place].append(usage)
            for (grain, start), usages in whole.items():
                governed[grain, start].append((self._prices(tenant, start, False), usages))
        # Beside the event loop: a busy minute has a hundred thousand subjects, and blocks of every topic are stored from that loop.
        return {place: dict(await asyncio.to_thread(figures, parts_of)) for place, parts_of in governed.items()}

    def _with_windows(self, grain: Grain) -> list[str]:
        return [dimension for dimension in self.dimensions if _has_windows(grain, dimension)]

    def _prices(self, tenant: str, at_us: int, hourly: bool) -> PriceList:
        """The list in force; series are priced by the list at the start of their hour."""
        return self._definitions.price_list(tenant, window_start(at_us, Grain.HOUR) if hourly else at_us)


def changed_span(before: Sequence[PriceList], now: Sequence[PriceList]) -> tuple[int, int | None] | None:
    """The time, [from, until), for which another price list may govern, or the same with other prices; None when nothing changed."""
    kept = [prices for prices in before if prices in now]
    changed = [to_us(prices.effective_from) for prices in (*before, *now) if prices not in kept]
    if not changed:
        return None
    later = [at for at in (to_us(prices.effective_from) for prices in kept) if at > max(changed)]
    return max(min(changed), 0), min(later, default=None)


def _hourly(grain: Grain) -> tuple[bool, ...]:
    """Whether usage of a window is of series by the hour, as `schemas.cost` tells them apart: they are in no window shorter than that."""
    return (False, True) if grain is Grain.ALL or grain.seconds >= Grain.HOUR.seconds else (False,)


def _has_windows(grain: Grain, dimension: str) -> bool:
    return dimension != SESSION or grain is Grain.ALL
