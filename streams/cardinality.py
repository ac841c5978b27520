"""Cardinality: distinct series and label values of a service, by window, with growth and what causes it.

A refresh counts the touched minutes again from the distinct rows and hands the counts up: 5m from 1m, 1h from 5m, 1d from
1h, all from 1d. So it costs what changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from schemas import cardinality
from schemas.cardinality import Count
from schemas.cost import FINER, whole_minutes
from schemas.windows import MICROSECONDS, MINUTE_US, Grain, windows_touched
from streams.publish_windows import WindowWriter
from streams.readers import cardinality as reader
from streams.refresher import Batch, Subject
from streams.whole_refresh import WholeRefresh

CHUNK = 60
"""Minutes counted by one statement."""


class Cardinality(WholeRefresh):
    """Windows of cardinality; a subject is a service."""

    kind = "cardinality"

    def __init__(self, clickhouse: ClickHouse, writer: WindowWriter, clock: Clock, *, timeout: float = 60.0) -> None:
        """`timeout` in seconds bounds each statement."""
        super().__init__(writer)
        self._clickhouse = clickhouse
        self._clock = clock
        self._timeout = timeout
        self._computed = 0

    async def refresh(self, subject: Subject, batch: Batch) -> None:
        """Bring every window the batch touched up to date, publish what changed, then say how far. Raises ClickHouseError; repeating is safe."""
        positions = await self._merged(subject, batch)
        minutes = whole_minutes(batch.minutes)
        for first in range(0, len(minutes), CHUNK):
            await self._chunk(subject, minutes[first : first + CHUNK], batch.redefined, positions)
        await self._reached(subject, positions)

    async def _chunk(self, subject: Subject, minutes: Sequence[int], redefined: bool, positions: Mapping[str, int]) -> None:
        # A clock that was set back must not make a new count older than the one it replaces.
        self._computed = max(self._computed + 1, self._clock.now_us())
        tenant, service, computed = subject.tenant, subject.name, self._computed
        await reader.count_minutes(self._clickhouse, tenant, service, minutes, computed, timeout=self._timeout)
        touched = {grain: windows_touched((start // MINUTE_US for start in minutes), grain) for grain in Grain}
        for grain, finer in FINER.items():
            # Only the cumulative window has an unbounded number of parts. Merging the changed ones into it is enough, save for
            # values that no longer exist anywhere, which a recompute takes out.
            changed = touched[finer] if grain is Grain.ALL and not redefined else None
            await reader.merge(self._clickhouse, tenant, service, grain, finer, touched[grain], changed, computed, timeout=self._timeout)
        for grain in (Grain.ALL, *(grain for grain in Grain if grain is not Grain.ALL)):
            windows = await self._windows(subject, grain, touched[grain])
            await self._writer.write(tenant, service, grain.value, windows, positions)

    async def _windows(self, subject: Subject, grain: Grain, starts: Sequence[int]) -> dict[int, dict[str, dict[str, Any]]]:
        """Figures of the touched windows and of those after them whose history they are in."""
        length = grain.seconds * MICROSECONDS
        later = {start + step * length for start in starts for step in range(cardinality.HISTORY + 1)} if length else set(starts)
        rows = await reader.counts(self._clickhouse, subject.tenant, subject.name, grain, sorted(later), timeout=self._timeout)
        found: dict[tuple[int, str], tuple[int, Count, dict[str, Count]]] = {}
        labels: dict[tuple[int, str], dict[str, Count]] = {}
        for row in rows:
            place = (int(row["target"]), cardinality.item(row["signal"], row["metric"]))
            count = _count(row)
            if row["label"]:
                labels.setdefault(place, {})[row["label"]] = count
            else:
                found[place] = (int(row["n"]), count, labels.setdefault(place, {}))
        windows: dict[int, dict[str, dict[str, Any]]] = {start: {} for start in starts}
        for (start, name), (points, whole, of_labels) in found.items():
            windows.setdefault(start, {})[name] = cardinality.figures(points, whole, of_labels)
        return windows


def _count(row: Mapping[str, Any]) -> Count:
    history = tuple(int(size) for size in row["history"])
    now = int(row["now"])
    # Two estimates are subtracted, so the difference may lie a little outside of what is possible.
    fresh = min(max(int(row["seen"]) - int(row["before"]), 0), now) if history else None
    return Count(now, history, fresh)
