"""The assignments agent's computation: who was exposed to what first, and whether the split is the planned one."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from infra.runtime.clickhouse import ClickHouse
from schemas import position, sample_ratio
from schemas.definitions import Definitions, effective_experiment
from schemas.unit_sums import SEVERAL
from schemas.windows import MINUTE_US, Grain, minute_of, to_iso, window_start
from streams.publish_windows import Items, WindowWriter
from streams.readers.windows import window_starts
from streams.refresher import SPANS, Batch, Subject
from streams.unit_readings import Reading
from streams.watermarks import Row

WHOLE = "*"
"""Item that holds the figures of all variants together."""
MAX_SUSPECTS = 20
"""Parts of the breakdown that are named, the most telling first."""

Counts = Mapping[str, int]
"""Units by variant."""


_ByMinute = dict[int, dict[str, int]]


@dataclass
class _State:
    """How far the windows of an experiment are."""

    positions: position.Positions
    by_minute: _ByMinute | None = None
    """Counts by minute of the last refresh; None before the first."""
    exposures: pa.Table | None = None
    """What the last refresh was computed from."""


class Assignments:
    """Windows of assignments. One instance per worker; it owns the experiments whose marks the worker reads."""

    def __init__(self, clickhouse: ClickHouse, definitions: Definitions, writer: WindowWriter) -> None:
        self._clickhouse = clickhouse
        self._definitions = definitions
        self._writer = writer
        self._states: dict[Subject, _State] = {}

    def forget(self) -> None:
        """Partitions moved: other workers may have written."""
        self._states.clear()
        self._writer.forget()

    async def refresh(self, subject: Subject, batch: Batch, reading: Reading) -> Row:
        """All windows at once: a unit's first exposure may move between windows, so they change together; the watermark that is to be said of them.
        Raises ClickHouseError; repeating is safe."""
        state = self._states.get(subject)
        if state is None:
            state = self._states[subject] = _State((await self._writer.reached(subject.tenant, subject.name)).positions)
        positions = position.merge(state.positions, batch.positions)
        table = reading.exposures
        if table is state.exposures and not batch.redefined:
            state.positions = positions
            return self._writer.progress(subject.tenant, subject.name, positions)
        by_minute = _count(table, "minute")
        weights = self._weights(subject, {name for counts in by_minute.values() for name in counts})
        changed = await self._changed(subject, batch, state.by_minute, by_minute)
        figures: dict[str, dict[int, Items]] = {}
        for grain in SPANS:
            windows: defaultdict[int, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
            wanted = {window_start(minute * MINUTE_US, grain) for minute in changed}
            for minute, counts in by_minute.items():
                start = window_start(minute * MINUTE_US, grain)
                if start in wanted:
                    for name, units in counts.items():
                        windows[start][name] += units
            figures[grain.value] = {start: _items(windows.get(start, {}), weights) for start in wanted}
        figures[Grain.ALL.value] = {0: _items(_sum(by_minute.values()), weights, suspects=_suspects(table, weights))}
        await self._writer.write_grains(subject.tenant, subject.name, figures, positions)
        state.positions, state.by_minute, state.exposures = positions, by_minute, table
        return self._writer.progress(subject.tenant, subject.name, positions)

    async def _changed(self, subject: Subject, batch: Batch, before: _ByMinute | None, by_minute: _ByMinute) -> set[int]:
        """Minutes whose counts differ from those of the last refresh; all that have or had a window where the definitions changed."""
        if batch.redefined:
            stored = await window_starts(self._clickhouse, "assignments", subject.tenant, subject.name, Grain.MINUTE.value)
            return {*by_minute, *batch.minutes, *(minute_of(start) for start in stored)}
        if before is None:
            return set(batch.minutes)
        return {minute for minute in {*before, *by_minute} if before.get(minute) != by_minute.get(minute)}

    def _weights(self, subject: Subject, seen: set[str]) -> dict[str, float]:
        effective = effective_experiment(self._definitions, subject.tenant, subject.name, [], sorted(seen - {SEVERAL}))
        return {variant.name: variant.weight for variant in effective.experiment.variants}


def _count(table: pa.Table, dimension: str) -> dict[Any, dict[str, int]]:
    counts: dict[Any, dict[str, int]] = {}
    grouped = table.group_by(["variant", dimension], use_threads=False).aggregate([("units", "sum")])
    for row in grouped.to_pylist():
        counts.setdefault(row[dimension], {})[row["variant"]] = row["units_sum"]
    return counts


def _sum(several: Any) -> dict[str, int]:
    total: defaultdict[str, int] = defaultdict(int)
    for counts in several:
        for name, units in counts.items():
            total[name] += units
    return total


def _items(counts: Counts, weights: Mapping[str, float], suspects: list[dict[str, Any]] | None = None) -> Items:
    planned = {name: units for name, units in counts.items() if name != SEVERAL}
    units = sum(planned.values())
    items: dict[str, dict[str, Any]] = {
        name: {"units": planned.get(name, 0), "share": planned.get(name, 0) / units if units else None, "weight": weights.get(name)}
        for name in sorted({*weights, *planned})
    }
    whole: dict[str, Any] = {"units": units, "excluded_units": counts.get(SEVERAL, 0)}
    if len(weights) > 1:
        whole["sample_ratio"] = sample_ratio.check(planned, weights).as_dict()
    if suspects is not None:
        whole["suspects"] = suspects
    items[WHOLE] = whole
    return items


def _suspects(table: pa.Table, weights: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parts of the traffic whose split is off, by SDK, source and hour."""
    if len(weights) < 2:
        return []
    by_hour: defaultdict[str, list[dict[str, int]]] = defaultdict(list)
    for minute, counts in _count(table, "minute").items():
        by_hour[to_iso(minute // 60 * 60 * MINUTE_US)].append(counts)
    breakdown = {"sdk": _count(table, "sdk"), "source": _count(table, "source"), "hour": {hour: _sum(several) for hour, several in by_hour.items()}}
    cleaned = {
        dimension: {str(value): {name: n for name, n in counts.items() if name != SEVERAL} for value, counts in values.items()}
        for dimension, values in breakdown.items()
    }
    found = sample_ratio.diagnose(cleaned, weights)[:MAX_SUSPECTS]
    return [{"dimension": s.dimension, "value": s.value, "explains": s.explains, "rest_p": s.rest_p, **s.ratio.as_dict()} for s in found]
