"""Events added up for each unit. In columns this costs a third of what the engine takes for a GROUP BY with aggregates for each event type."""

from typing import Any

import numpy as np
import pyarrow as pa

from streams.columns import LATE, Column, column_of
from streams.held_units import CannotHold
from streams.readers.experiments import MAX_TYPES

_HIGH = np.iinfo(np.int32).max
"""Stands for "none" where a minimum is looked for."""


def by_unit(events: pa.Table) -> tuple[pa.Table, list[str]]:
    """Of `streams.readers.unit_changes.since`, a row for each unit with the columns of `streams.readers.unit_changes.sealed_and_since`; and the event
    types these are of. Raises CannotHold when two units share a hash, and when there are too many event types."""
    events = events.unify_dictionaries().combine_chunks()
    hashes, checks = column_of(events, "hash"), column_of(events, "check")
    order = np.argsort(hashes)
    hashes, checks = hashes[order], checks[order]
    begins = np.ones(len(order), bool)
    begins[1:] = hashes[1:] != hashes[:-1]
    if (checks[1:] != checks[:-1])[~begins[1:]].any():
        raise CannotHold
    first, unit = np.flatnonzero(begins), np.cumsum(begins) - 1

    time, value = column_of(events, "time")[order], column_of(events, "value")[order]
    variants, variant = _by_name(events, "variant", order)
    exposed = variant > 0
    high = np.maximum.reduceat(variant, first)
    columns: dict[str, Any] = {
        "hash": hashes[first],
        "check": checks[first],
        "is_exposed": high > 0,
        "since": np.minimum.reduceat(np.where(exposed, time, LATE), first),
        "variant": pa.DictionaryArray.from_arrays(high, variants),
        "several": (high > 0) & (np.minimum.reduceat(np.where(exposed, variant, _HIGH), first) != high),
    }
    for name in ("sdk", "source"):
        texts, places = _by_name(events, name, order)
        columns[name] = pa.DictionaryArray.from_arrays(np.minimum.reduceat(places, first), texts)

    types, event_type = _by_name(events, "event_type", order)
    present = np.flatnonzero(np.bincount(event_type, minlength=len(types)))
    if len(present) > MAX_TYPES:
        raise CannotHold
    for number, code in enumerate(present):
        rows = np.flatnonzero(event_type == code)
        of, starts = np.unique(unit[rows], return_index=True)
        earliest = np.full(len(first), LATE)
        earliest[of] = np.minimum.reduceat(time[rows], starts)
        columns[f"n{number}"] = np.bincount(unit[rows], minlength=len(first))
        columns[f"x{number}"] = np.bincount(unit[rows], weights=value[rows], minlength=len(first))
        columns[f"first{number}"] = earliest
    return pa.table(columns), [types[code] for code in present]


def _by_name(events: pa.Table, name: str, order: Column) -> tuple[list[str], Column]:
    """The texts of a column's rows in ascending order, with the empty one first, and for each row the place of its own.

    The engine sends the dictionary of a whole part with them, where texts of other experiments and tenants stand too.
    """
    column = events[name].combine_chunks()
    if not isinstance(column, pa.DictionaryArray):
        column = column.dictionary_encode()
    codes = _codes(column)
    used = np.flatnonzero(np.bincount(codes, minlength=len(column.dictionary)))
    given = column.dictionary.take(pa.array(used)).to_pylist()
    texts = sorted({"", *given})
    places = {text: place for place, text in enumerate(texts)}
    place = np.zeros(len(column.dictionary), np.int32)
    place[used] = [places[text] for text in given]
    return texts, place[codes[order]]


def _codes(column: pa.DictionaryArray) -> Column:
    codes: Column = column.indices.to_numpy(zero_copy_only=False)
    return codes
