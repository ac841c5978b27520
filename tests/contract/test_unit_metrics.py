"""Metrics computed from the rows: the engine's answer against the same definition written out in Python, unit by unit."""

import json
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from infra.runtime.clickhouse import ClickHouse
from query_api.readers.unit_metrics import largest_segments, metric_by_segment
from schemas.cuped import CovariateMoments, adjust
from schemas.definition_kinds import Metric
from schemas.metric_arms import arms_from_rows
from schemas.moments import Moments, RatioMoments
from schemas.quantiles import OrderStatistics
from schemas.tables.events import EVENTS
from streams.readers.unit_metrics import by_variant
from streams.rows import insert_rows

DAY = 86_400
T0 = 1_767_225_600
"""2026-01-01, seconds."""
ARMS = ("control", "treatment")
COUNTRIES = ("de", "fr", 7)


@dataclass(frozen=True)
class Event:
    unit: str
    experiment: str
    type: str
    variant: str
    at: int
    value: float | None = None
    price: float | None = None


def _events() -> list[Event]:
    dice = random.Random(11)
    events: list[Event] = []
    for number in range(400):
        unit, arm, level = f"u{number}", ARMS[number % 2], dice.expovariate(1.0)
        exposed = T0 + dice.randrange(5 * DAY)
        for _ in range(dice.randrange(1, 4)):
            events.append(Event(unit, "exp", "exposure", arm, exposed + dice.randrange(DAY)))
        events.append(Event(unit, "exp", "exposure", arm, exposed))
        if number % 50 == 7:
            events.append(Event(unit, "exp", "exposure", ARMS[1 - number % 2], exposed + DAY))
        for _ in range(dice.randrange(5)):
            events.append(Event(unit, dice.choice(["", "exp"]), "purchase", "", exposed - dice.randrange(1, 20 * DAY), level * dice.random(), dice.random()))
        for _ in range(dice.randrange(6)):
            at = exposed + dice.randrange(6 * DAY)
            events.append(Event(unit, "exp", "purchase", "", at, level * dice.expovariate(1.0) if dice.random() < 0.9 else None, dice.random()))
        for _ in range(dice.randrange(4)):
            events.append(Event(unit, "exp", "visit", "", exposed + dice.randrange(6 * DAY), 1.0 + dice.random()))
    events += [
        Event("stranger", "exp", "purchase", "", T0 + DAY, 1e6),
        Event("u1", "other", "purchase", ARMS[0], T0, 1e6),
        Event("u2", "", "visit", "", T0 + DAY, 1e6),
    ]
    return events


EXPERIMENT_EVENTS = _events()


@pytest.fixture
async def stored(writer: ClickHouse) -> AsyncIterator[ClickHouse]:
    for sql in EVENTS.create(100, 36_500):
        await writer.command(sql)
    rows: list[dict[str, Any]] = []
    for number, event in enumerate(EXPERIMENT_EVENTS):
        metadata = {"value": event.value, "order": event.price} | ({"country": COUNTRIES[number % 3]} if number % 4 else {})
        row = {
            "tenant": "t", "experiment": event.experiment, "unit": event.unit, "event_type": event.type, "variant": event.variant, "event_id": f"e{number}",
            "time": event.at, "received": T0 + 40 * DAY, "value": event.value, "metadata": json.dumps(metadata), "quarantined": 0, "sdk": f"sdk{number % 3}",
        }  # fmt: skip
        rows += [row, {**row, "received": T0 + 41 * DAY}] if number % 10 == 0 else [row]
        if number % 100 == 0:
            rows.append({**row, "event_id": f"q{number}", "quarantined": 1, "value": 1e9})
    rows.append({**rows[0], "tenant": "somebody else", "value": 1e9})
    await insert_rows(writer, "events", rows, token="unit metrics")
    yield writer
    await writer.command("DROP TABLE events")


@dataclass
class _Unit:
    variant: str
    first: int
    events: list[Event]

    def after(self, kind: str, window: int, end: float) -> list[Event]:
        until = self.first + window if window else math.inf
        return [e for e in self.events if e.experiment == "exp" and e.type == kind and self.first <= e.at < min(until, end)]

    def before(self, kind: str, days: int) -> list[Event]:
        return [e for e in self.events if e.type == kind and self.first - days * DAY <= e.at < self.first]


def _units(start: float, end: float) -> list[_Unit]:
    by_unit: dict[str, list[Event]] = {}
    for event in EXPERIMENT_EVENTS:
        if event.experiment in ("exp", ""):
            by_unit.setdefault(event.unit, []).append(event)
    units = []
    for events in by_unit.values():
        exposures = [e for e in events if e.experiment == "exp" and e.variant and start <= e.at < end]
        if exposures:
            seen = {e.variant for e in exposures}
            units.append(_Unit(seen.pop() if len(seen) == 1 else "", min(e.at for e in exposures), events))
    return units


def _metric(**settings: Any) -> Metric:
    return Metric(tenant="t", id="m", event_type="purchase", **settings)


def _value(metric: Metric) -> Callable[[list[Event]], float]:
    if metric.kind == "proportion":
        return lambda events: float(bool(events))
    if metric.kind == "count" or not metric.value_path:
        return lambda events: float(len(events))
    return lambda events: sum((e.price if metric.value_path == "order" else e.value) or 0.0 for e in events)


CASES = {
    "mean in a window": _metric(kind="mean", window_s=2 * DAY),
    "count in a window": _metric(kind="count", window_s=DAY),
    "proportion in a window": _metric(kind="proportion", window_s=DAY),
    "winsorized mean": _metric(kind="mean", winsorize=0.9),
    "winsorized count": _metric(kind="count", winsorize=0.75),
    "mean with covariate": _metric(kind="mean", covariate_days=14),
    "mean of another key with covariate": _metric(kind="mean", value_path="order", covariate_days=7),
    "events with covariate": _metric(kind="mean", value_path="", covariate_days=20),
    "proportion with covariate": _metric(kind="proportion", covariate_days=14),
    "winsorized with covariate in a window": _metric(kind="mean", covariate_days=14, winsorize=0.95, window_s=3 * DAY),
}
SPANS: dict[str, tuple[int, int] | None] = {"all": None, "range": (T0 + DAY, T0 + 4 * DAY)}


async def _arms(clickhouse: ClickHouse, metric: Metric, span: tuple[int, int] | None) -> Any:
    wanted = None if span is None else (span[0] * 1_000_000, span[1] * 1_000_000)
    return arms_from_rows(metric, await by_variant(clickhouse, metric, "t", "exp", wanted, timeout=30.0), ARMS)


def _agree(got: Moments, expected: Moments) -> None:
    assert got.count == expected.count > 0
    assert got.mean == pytest.approx(expected.mean, rel=1e-9)
    assert got.variance == pytest.approx(expected.variance, rel=1e-9)


async def test_means_counts_and_proportions(stored: ClickHouse) -> None:
    for name, metric in CASES.items():
        for place, span in SPANS.items():
            start, end = span or (0, math.inf)
            value, units = _value(metric), _units(start, end)
            values = [value(unit.after("purchase", metric.window_s, end)) for unit in units]
            single = sorted(y for unit, y in zip(units, values, strict=True) if unit.variant)
            cap = single[math.floor(metric.winsorize * len(single))] if metric.winsorize < 1 else math.inf
            pairs = {
                arm: [
                    (min(y, cap), value(unit.before("purchase", metric.covariate_days)) if metric.covariate_days else 0.0)
                    for unit, y in zip(units, values, strict=True)
                    if unit.variant == arm
                ]
                for arm in ARMS
            }
            got = await _arms(stored, metric, span)
            expected = {arm: CovariateMoments.of(*zip(*each, strict=True)) for arm, each in pairs.items()}
            for arm in ARMS:
                _agree(got.arms[arm], adjust(expected).arms[arm] if metric.covariate_days else expected[arm].plain)
            assert (got.notes.get("winsorized_at") == pytest.approx(cap)) if metric.winsorize < 1 else "winsorized_at" not in got.notes, (name, place)
            json.dumps(got.figures("control", "treatment", 0.05), allow_nan=False)


@pytest.mark.parametrize("settings", [{}, {"window_s": 2 * DAY}, {"value_path": ""}, {"denominator_value_path": ""}])
async def test_ratios(stored: ClickHouse, settings: dict[str, Any]) -> None:
    metric = _metric(kind="ratio", denominator_event_type="visit", **settings)
    got, units = await _arms(stored, metric, None), _units(0, math.inf)
    for arm in ARMS:
        rows = [(unit.after("purchase", metric.window_s, math.inf), unit.after("visit", metric.window_s, math.inf)) for unit in units if unit.variant == arm]
        lower = [float(len(low)) if metric.denominator_value_path == "" else sum(event.value or 0.0 for event in low) for _, low in rows]
        expected = RatioMoments.of([_value(metric)(top) for top, _ in rows], lower)
        assert got.arms[arm].count == expected.count
        assert got.arms[arm].mean == pytest.approx(expected.mean, rel=1e-9)
        assert got.arms[arm].variance == pytest.approx(expected.variance, rel=1e-9)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("skip", [False, True])
async def test_quantiles(stored: ClickHouse, quantile: float, skip: bool) -> None:
    metric = _metric(kind="quantile", quantile=quantile, skip_missing=skip, window_s=4 * DAY)
    got = await _arms(stored, metric, None)
    for arm in ARMS:
        events = [unit.after("purchase", metric.window_s, math.inf) for unit in _units(0, math.inf) if unit.variant == arm]
        values = [sum(e.value or 0.0 for e in each) for each in events if each or not skip]
        expected = OrderStatistics.of(values, quantile)
        assert got.arms[arm].count == expected.count
        assert got.arms[arm].ranks == expected.ranks
        assert got.arms[arm].values == pytest.approx(expected.values, rel=1e-9)
        assert got.arms[arm].value == pytest.approx(np.quantile(values, quantile, method="inverted_cdf"))
    json.dumps(got.figures("control", "treatment", 0.05), allow_nan=False)


async def test_an_experiment_without_events(stored: ClickHouse) -> None:
    for metric in (_metric(kind="quantile"), _metric(kind="mean", winsorize=0.99), _metric(kind="mean", covariate_days=7)):
        rows = await by_variant(stored, metric, "t", "nothing", None, timeout=30.0)
        figures = arms_from_rows(metric, rows, ARMS).figures("control", "treatment", 0.05)
        assert figures["control_units"] == 0
        assert figures["fixed"]["reason"] == "empty_arm"  # type: ignore[index]
        json.dumps(figures, allow_nan=False)


_SAYS: dict[str, Callable[[int], str]] = {
    "sdk": lambda number: f"sdk{number % 3}",
    "metadata.country": lambda number: str(COUNTRIES[number % 3]) if number % 4 else "",
    "metadata.nothing": lambda number: "",
}


def _by_segment(segment: str, start: float, end: float) -> dict[str, list[_Unit]]:
    """Units by what their first exposure says; of several at the same time, by the one that is first by name."""
    numbers = {id(event): number for number, event in enumerate(EXPERIMENT_EVENTS)}
    found: dict[str, list[_Unit]] = {}
    for unit in _units(start, end):
        first = [e for e in unit.events if e.experiment == "exp" and e.variant and e.at == unit.first]
        found.setdefault(min(_SAYS[segment](numbers[id(event)]) for event in first), []).append(unit)
    return found


@pytest.mark.parametrize("segment", _SAYS)
@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
async def test_segments(stored: ClickHouse, segment: str, span: tuple[int, int] | None) -> None:
    rows: Any = stored
    start, end = span or (0, math.inf)
    wanted = None if span is None else (span[0] * 1_000_000, span[1] * 1_000_000)
    expected = _by_segment(segment, start, end)
    largest = await largest_segments(rows, "t", "exp", wanted, segment, 20)
    counted = {name: dict(Counter(unit.variant for unit in units)) for name, units in expected.items()}
    assert largest.units == counted and largest.omitted == 0
    assert list(largest.units) == sorted(counted, key=lambda name: (-sum(counted[name].values()), name))
    one = await largest_segments(rows, "t", "exp", wanted, segment, 1)
    assert list(one.units) == list(largest.units)[:1] and one.omitted == len(expected) - 1

    everybody = sorted(_value(CASES["winsorized mean"])(unit.after("purchase", 0, end)) for unit in _units(start, end) if unit.variant)
    cap = everybody[math.floor(0.9 * len(everybody))]
    for name in ("mean in a window", "winsorized mean", "proportion with covariate"):
        metric = CASES[name]
        value, limit = _value(metric), cap if metric.winsorize < 1 else math.inf
        found = await metric_by_segment(rows, metric, "t", "exp", wanted, segment, list(largest.units))
        for part, units in expected.items():
            pairs = {
                arm: [
                    (min(value(u.after("purchase", metric.window_s, end)), limit), value(u.before("purchase", metric.covariate_days)))
                    for u in units
                    if u.variant == arm
                ]
                for arm in ARMS
            }
            sums = {arm: CovariateMoments.of(*zip(*each, strict=True)) for arm, each in pairs.items()}
            arms = arms_from_rows(metric, found[part], ARMS).arms
            for arm in ARMS:
                got = arms[arm]
                assert isinstance(got, Moments)
                _agree(got, adjust(sums).arms[arm] if metric.covariate_days else sums[arm].plain)

    median = _metric(kind="quantile", quantile=0.5, skip_missing=True)
    found = await metric_by_segment(rows, median, "t", "exp", wanted, segment, list(largest.units))
    for part, units in expected.items():
        arms = arms_from_rows(median, found[part], ARMS).arms
        for arm in ARMS:
            events = [unit.after("purchase", 0, end) for unit in units if unit.variant == arm]
            values = [sum(e.value or 0.0 for e in each) for each in events if each]
            got = arms[arm]
            wished = OrderStatistics.of(values, 0.5)
            assert isinstance(got, OrderStatistics) and (got.count, got.ranks) == (wished.count, wished.ranks)
            assert got.values == pytest.approx(wished.values, rel=1e-9)
