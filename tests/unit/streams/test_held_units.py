"""Units in memory: what is not told apart by the flow tests, which hold them against new readings."""

from typing import Any

import pyarrow as pa

from streams.held_units import HeldUnits
from streams.unit_events import by_unit


def _came(units: HeldUnits, *events: dict[str, Any]) -> None:
    rows = [{"unit": 1, "variant": "a", "sdk": "web", "source": "http", "event_type": "buy", "time": 60_000_000, "value": 1.0, **event} for event in events]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0] if name != "unit"}
    hashes = pa.array([row["unit"] for row in rows], pa.uint64())
    units.add(*by_unit(pa.table({**columns, "hash": hashes, "check": hashes})))


def test_exposures_are_the_same_table_until_a_first_exposure_changes() -> None:
    units = HeldUnits()
    _came(units, {"unit": 1}, {"unit": 2, "variant": "b"})
    first = units.exposures()
    _came(units, {"unit": 1, "time": 190_000_000, "value": 5.0}, {"unit": 3, "variant": ""})
    assert units.exposures() is first
    for event in ({"unit": 4}, {"unit": 2, "variant": "a"}, {"unit": 1, "time": 50_000_000}, {"unit": 1, "sdk": "app"}, {"unit": 3}):
        before = units.exposures()
        _came(units, event)
        after = units.exposures()
        assert after is not before and after.to_pylist() != before.to_pylist(), event
    assert sum(after["units"].to_pylist()) == 4


def test_units_that_are_new_have_nothing_of_types_that_others_had() -> None:
    units = HeldUnits()
    _came(units, {"unit": 5, "event_type": "view", "value": 2.0})
    _came(units, {"unit": 1, "event_type": "buy", "value": 3.0}, {"unit": 9, "event_type": "buy", "value": 4.0})
    _came(units, {"unit": 9, "event_type": "view", "value": 7.0})
    sums = units.sums()
    assert sums is not None
    assert sums.figures[("a", "view")] == (2.0, 2.0, 2.0, 9.0, 53.0)
    assert sums.figures[("a", "buy")] == (2.0, 2.0, 2.0, 7.0, 25.0)
