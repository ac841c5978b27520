"""Cost: what a tenant's telemetry used and what that costs, by provider, model, project, user, session, prompt version and service.

Marks name a service. A refresh adds up the touched minutes of that service again from the distinct rows, of users and sessions those that
spans came for, hands the sums up (5m from 1m, 1h from 5m, 1d from 1h, all from 1d) for the subjects that changed in those minutes since
the last refresh, and prices the windows of those. So it costs what changed. Of a session, of which there are nearly as many as calls, only the window over all time is
kept, and none of a trace: whoever wants another adds it up from the spans.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.runtime.clickhouse import ClickHouse, ClickHouseError
from infra.runtime.clock import Clock
from schemas.cost import FINER, SESSION, Piece, Usage, figures, pieces, whole_minutes
from schemas.definitions import Definitions, PriceList, to_us
from schemas.windows import MINUTE_US, Grain, window_end, window_start, windows_touched
from streams.publish_windows import Items, WindowWriter
from streams.readers import cost as reader
from streams.readers.cost import Blocks, Came, Touched
from streams.refresher import Batch, Subject
from streams.whole_refresh import WholeRefresh

CHUNK = 60
"""Minutes added up by one statement."""
MAX_BLOCKS = 200_000
"""Blocks of minutes that are remembered as counted; beyond it all minutes are counted as a whole once more."""
MAX_CAME = 1_000
"""Blocks that one statement looks for: they travel in the request's address. With more their minutes are counted as a whole."""
PAGE = 20_000
"""Subjects priced at once when a whole range is priced again."""


@dataclass(frozen=True)
class _Minute:
    """A minute of a service all of whose windows are up to date."""

    computed: int
    """The computation whose changes reached them."""
    blocks: Blocks
    """The spans that were counted."""


_Place = tuple[Subject, int]
"""Service and start of a minute."""


class Cost(WholeRefresh):
    """Windows of cost; marks come per service, windows are per `dimension=value`."""

    kind = "cost"

    def __init__(self, clickhouse: ClickHouse, writer: WindowWriter, definitions: Definitions, clock: Clock, *, timeout: float = 60.0) -> None:
        """`timeout` in seconds bounds each statement."""
        super().__init__(writer)
        self._clickhouse = clickhouse
        self._definitions = definitions
        self._clock = clock
        self._timeout = timeout
        self._priced: dict[str, tuple[PriceList, ...]] = {}
        self._computed = 0
        self._minutes: dict[_Place, _Minute] = {}
        self._remembered = 0
        """Blocks of all those minutes."""
        self._doubtful: set[_Place] = set()
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
            found = await reader.starts(self._clickhouse, tenant, grain, from_us, until_us, timeout=self._timeout)
            for start, subjects in found:
                pages = 1 + subjects // PAGE
                for page in range(pages):
                    async with self._writing:
                        windows = await self._windows(tenant, grain, [start], None, (page, pages))
                        await self._writer.write_many(tenant, {name: {grain.value: starts} for name, starts in windows.items()}, {})

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
        touched = Touched(subject.name, minutes, [minute.computed if minute else 0 for minute in known])
        try:
            found = await reader.blocks(self._clickhouse, tenant, subject.name, minutes, timeout=self._timeout)
            came = _came(found, {start: minute.blocks for start, minute in zip(minutes, known, strict=True) if minute})
            await reader.count_minutes(self._clickhouse, tenant, touched, came, self._computed, timeout=self._timeout)
            changed = await reader.subjects(self._clickhouse, tenant, touched, timeout=self._timeout)
            if changed:
                await self._hand_up(tenant, touched, changed, positions)
        except ClickHouseError:
            self._doubtful.update(places)
            for place in places:
                self._forget_minute(place)
            raise
        # Only now: what a refresh that failed half way had counted is still to be handed up by the next one.
        for start, blocks in found.items():
            if (subject, start) not in self._doubtful:
                self._remember((subject, start), _Minute(self._computed, blocks))

    def _remember(self, place: _Place, minute: _Minute) -> None:
        self._forget_minute(place)
        if self._remembered + len(minute.blocks) > MAX_BLOCKS:
            self._minutes.clear()
            self._remembered = 0
        self._minutes[place] = minute
        # A minute without spans takes its place too.
        self._remembered += len(minute.blocks) + 1

    def _forget_minute(self, place: _Place) -> None:
        minute = self._minutes.pop(place, None)
        if minute is not None:
            self._remembered -= len(minute.blocks) + 1

    async def _hand_up(self, tenant: str, touched: Touched, changed: Sequence[tuple[int, str, str]], positions: Mapping[str, int]) -> None:
        """Bring the coarser usage and the windows of every grain up to date for the subjects that changed in the minutes touched."""
        for grain in FINER:
            await reader.add_up(self._clickhouse, tenant, touched, grain, self._computed, timeout=self._timeout)
        chosen: dict[str, dict[str, dict[int, Items]]] = {}
        for grain in Grain:
            starts = windows_touched((start // MINUTE_US for start in touched.starts), grain)
            windows = await self._windows(tenant, grain, starts, touched, (0, 1))
            # A subject that was in one touched window may be looked up in another it was never in: only its own count.
            mine = {(f"{dimension}={value}", window_start(start, grain)) for start, dimension, value in changed if _has_windows(grain, dimension)}
            for name, start in mine:
                chosen.setdefault(name, {}).setdefault(grain.value, {})[start] = windows.get(name, {}).get(start, {})
        await self._writer.write_many(tenant, chosen, positions)

    async def _windows(self, tenant: str, grain: Grain, starts: Sequence[int], touched: Touched | None, page: tuple[int, int]) -> dict[str, dict[int, Items]]:
        """Figures by subject and window start."""
        governed: dict[int, list[tuple[PriceList, list[Usage]]]] = {start: [] for start in starts}
        changes = [to_us(prices.effective_from) for prices in self._definitions.price_lists(tenant)]
        whole: list[int] = []
        for start in starts:
            split = {hourly: list(pieces(grain, start, changes, Grain.HOUR if hourly else Grain.MINUTE)) for hourly in _hourly(grain)}
            if all(len(parts) == 1 for parts in split.values()):
                whole.append(start)
                continue
            for hourly, parts in split.items():
                for part in parts:
                    used = await self._usage(tenant, grain, part, None, touched, page, hourly)
                    governed[start].append((self._prices(tenant, part.from_us, hourly), [usage for _, usage in used]))
        if whole:
            span = Piece(grain, min(whole), window_end(max(whole), grain))
            by_start: dict[int, list[Usage]] = {start: [] for start in whole}
            for start, usage in await self._usage(tenant, grain, span, whole, touched, page, None):
                by_start[start].append(usage)
            for start, usages in by_start.items():
                governed[start].append((self._prices(tenant, start, False), usages))
        found: dict[str, dict[int, Items]] = {}
        for start, parts_of in governed.items():
            # Beside the event loop: a busy minute has a hundred thousand subjects, and blocks of every topic are stored from that loop.
            for name, items in (await asyncio.to_thread(figures, parts_of)).items():
                found.setdefault(name, {})[start] = items
        return found

    async def _usage(
        self, tenant: str, grain: Grain, piece: Piece, starts: Sequence[int] | None, touched: Touched | None, page: tuple[int, int], hourly: bool | None
    ) -> list[tuple[int, Usage]]:
        left_out = None if _has_windows(grain, SESSION) else SESSION
        return await reader.usage(self._clickhouse, tenant, piece, starts, touched, page, hourly=hourly, left_out=left_out, timeout=self._timeout)

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


def _came(found: Mapping[int, Blocks], counted: Mapping[int, Blocks]) -> Came:
    """What came since the minutes were counted. A minute is known while what was counted of it is there as it was: spans of a block that are no
    longer there were replaced by copies, which may belong to other users and sessions."""
    known = [start for start, blocks in counted.items() if all(found[start].get(place) == spans for place, spans in blocks.items())]
    blocks = {place for start in known for place in found[start].keys() - counted[start].keys()}
    return Came(found, known, blocks) if len(blocks) <= MAX_CAME else Came(found, [], ())


def _hourly(grain: Grain) -> tuple[bool, ...]:
    """Whether usage of a window is of series by the hour, as `schemas.cost` tells them apart: they are in no window shorter than that."""
    return (False, True) if grain is Grain.ALL or grain.seconds >= Grain.HOUR.seconds else (False,)


def _has_windows(grain: Grain, dimension: str) -> bool:
    return dimension != SESSION or grain is Grain.ALL
