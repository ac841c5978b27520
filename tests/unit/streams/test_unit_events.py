"""Events added up for each unit, against the same written out event by event."""

import random
from typing import Any

import pyarrow as pa
import pytest

from streams.held_units import CannotHold, HeldUnits
from streams.readers.experiments import MAX_TYPES
from streams.unit_events import by_unit

_NAMES = ("variant", "sdk", "source", "event_type")


def _events(rows: list[dict[str, Any]], chunk: int = 7) -> pa.Table:
    """As the engine sends them: in chunks, each with dictionaries of its own that hold more than the chunk uses."""
    batches = []
    for begin in range(0, len(rows), chunk):
        some = rows[begin : begin + chunk]
        columns: dict[str, Any] = {
            "hash": pa.array([row["hash"] for row in some], pa.uint64()),
            "check": pa.array([row["hash"] ^ 5 for row in some], pa.uint64()),
            "time": pa.array([row["time"] for row in some], pa.int64()),
            "value": pa.array([row["value"] for row in some], pa.float64()),
        }
        for name in _NAMES:
            texts = ["", f"unused {begin}", *dict.fromkeys(row[name] for row in some if row[name])]
            columns[name] = pa.DictionaryArray.from_arrays(pa.array([texts.index(row[name]) for row in some], pa.int32()), texts)
        batches.append(pa.table(columns))
    return pa.concat_tables(batches)


def _row(unit: int, **other: Any) -> dict[str, Any]:
    return {"hash": unit, "variant": "a", "sdk": "web", "source": "http", "event_type": "buy", "time": 10, "value": 1.0, **other}


def _expected(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for unit in {row["hash"] for row in rows}:
        mine = [row for row in rows if row["hash"] == unit]
        shown = [row for row in mine if row["variant"]]
        found[unit] = {
            "is_exposed": bool(shown),
            "since": min((row["time"] for row in shown), default=None),
            "variant": max((row["variant"] for row in shown), default=""),
            "several": len({row["variant"] for row in shown}) > 1,
            "sdk": min(row["sdk"] for row in mine),
            "source": min(row["source"] for row in mine),
            "of": {
                kind: (len(of), pytest.approx(sum(row["value"] for row in of)), min(row["time"] for row in of))
                for kind in {row["event_type"] for row in mine}
                if (of := [row for row in mine if row["event_type"] == kind])
            },
        }
    return found


@pytest.mark.parametrize("seed", range(4))
def test_it_says_what_adding_up_event_by_event_says(seed: int) -> None:
    dice = random.Random(seed)
    rows = [
        _row(
            dice.choice((1, 2, 3, 2**63 + 9, 2**64 - 1)), variant=dice.choice(["", "", "a", "b", "ä"]), sdk=dice.choice(["", "web", "app"]),
            source=dice.choice(["kafka", "http"]), event_type=dice.choice(["buy", "view", "öl"]), time=dice.randrange(-50, 10**15), value=dice.uniform(-9, 9),
        )
        for _ in range(dice.choice((1, 20, 60)))
    ]  # fmt: skip
    table, types = by_unit(_events(rows))
    assert sorted(types) == sorted({row["event_type"] for row in rows})
    found = {}
    for unit in table.to_pylist():
        assert unit["check"] == unit["hash"] ^ 5
        kinds = {kind: (unit[f"n{n}"], unit[f"x{n}"], unit[f"first{n}"]) for n, kind in enumerate(types) if unit[f"n{n}"]}
        since = unit["since"] if unit["is_exposed"] else None
        found[unit["hash"]] = {**{name: unit[name] for name in ("is_exposed", "variant", "several", "sdk", "source")}, "since": since, "of": kinds}
    assert found == _expected(rows)


def test_nothing_is_nothing() -> None:
    table, types = by_unit(_events([_row(1)]).slice(0, 0))
    assert (table.num_rows, types) == (0, [])


def test_two_units_with_one_hash_are_found() -> None:
    events = _events([_row(1), _row(2), _row(1)])
    with pytest.raises(CannotHold):
        by_unit(events.set_column(events.schema.get_field_index("check"), "check", pa.array([1, 2, 3], pa.uint64())))


def test_too_many_event_types_are_refused() -> None:
    rows = [_row(1, event_type=f"kind {number}") for number in range(MAX_TYPES + 1)]
    assert len(by_unit(_events(rows[:-1]))[1]) == MAX_TYPES
    with pytest.raises(CannotHold):
        by_unit(_events(rows))


def test_texts_of_others_in_the_same_dictionary_do_not_count() -> None:
    """The dictionary is that of a part of the table, where other tenants may have thousands."""
    texts = ["", "http", *(f"foreign {number}" for number in range(5_000))]
    events = _events([_row(unit) for unit in range(10)], chunk=10)
    column = events.column_names.index("source")
    events = events.set_column(column, "source", pa.DictionaryArray.from_arrays(pa.array([1] * 10, pa.int32()), texts))
    changes, types = by_unit(events)
    assert set(changes["source"].combine_chunks().dictionary.to_pylist()) == {"", "http"}
    units = HeldUnits()
    units.add(changes, types)
    assert len(units) == 10
