"""Parts of A/B event requests, put together into one block."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from infra.runtime.clock import Clock
from infra.runtime.settings import IngestSettings
from ingest import json_rows
from ingest.events import EventRows
from schemas.blocks import MAX_UNITS, Block, Touched
from schemas.topics import EVENTS

SMALL_ROWS = 1_000
"""Rows up to which a block's subjects are found row by row: starting Arrow's grouping costs more."""

_MINUTE_US = 60_000_000


def touched(columns: dict[str, pa.Array]) -> tuple[Touched, ...]:
    """The experiments a block changes, with their minutes and, when they are few, their units."""
    live = pa.table(columns)
    if live.num_rows <= SMALL_ROWS:
        return _touched_by_row(live)
    live = live.filter((pc.field("quarantined") == 0) & (pc.field("experiment") != ""))
    if live.num_rows == 0:
        return ()
    minute = pc.divide(live["time"].cast(pa.int64()), _MINUTE_US)
    grouped = {"tenant": live["tenant"], "experiment": live["experiment"], "minute": minute, "keyed": live["keyed"]}
    wanted: list[Any] = [("minute", "distinct"), ("keyed", "max")]
    if live.num_rows <= 4 * MAX_UNITS:  # counting the units of a large block costs more than recomputing all of them
        grouped["unit"] = live["unit"]
        wanted.append(("unit", "distinct"))
    groups = pa.table(grouped).group_by(["tenant", "experiment"], use_threads=False).aggregate(wanted).to_pylist()
    return tuple(
        Touched(g["tenant"], g["experiment"], tuple(sorted(g["minute_distinct"])), _named(g.get("unit_distinct")), bool(g["keyed_max"])) for g in groups
    )


def _touched_by_row(table: pa.Table) -> tuple[Touched, ...]:
    groups: dict[tuple[str, str], tuple[set[int], set[str], set[int]]] = {}
    micros = table["time"].cast(pa.int64()).to_pylist()
    names = ("tenant", "experiment", "unit", "keyed", "quarantined")
    for time, tenant, experiment, unit, keyed, far in zip(micros, *(table[name].to_pylist() for name in names), strict=True):
        if experiment and not far:
            minutes, units, keys = groups.setdefault((tenant, experiment), (set(), set(), set()))
            minutes.add(time // _MINUTE_US)
            units.add(unit)
            keys.add(keyed)
    return tuple(
        Touched(tenant, experiment, tuple(sorted(minutes)), tuple(sorted(units)), 1 in keys) for (tenant, experiment), (minutes, units, keys) in groups.items()
    )


def _named(units: list[str] | None) -> tuple[str, ...] | None:
    return tuple(units) if units is not None and len(units) <= MAX_UNITS else None


def _texts(columns: Iterable[Iterable[str]]) -> pa.Array:
    return pa.array(list(chain.from_iterable(columns)), pa.string())


def _per_part(parts: Sequence[EventRows], name: str) -> pa.Array:
    """A value that all rows of a part share, as a column."""
    values = [getattr(part.received, name) for part in parts]
    if len(set(values)) == 1:
        return pa.repeat(values[0], sum(part.rows for part in parts))
    return pa.array(np.repeat(np.array(values, dtype=object), [part.rows for part in parts]), pa.string())


def columns_of(parts: Sequence[EventRows], settings: IngestSettings) -> dict[str, pa.Array]:
    """The columns of the parts' rows, in the order of the block's structure."""
    times: npt.NDArray[np.int64] = np.concatenate([part.times for part in parts])
    received: npt.NDArray[np.int64] = np.repeat([part.received.at_us for part in parts], [part.rows for part in parts])
    return {
        "tenant": _per_part(parts, "tenant"),
        "experiment": _texts([e.experiment_id or "" for e in part.events] for part in parts),
        "unit": _texts([e.user_id for e in part.events] for part in parts),
        "event_type": _texts([e.event_type for e in part.events] for part in parts),
        "variant": _texts([e.variant or "" for e in part.events] for part in parts),
        "event_id": _texts(part.ids for part in parts),
        "keyed": pa.array(np.fromiter((e.id is not None for part in parts for e in part.events), dtype=np.uint8, count=len(times))),
        "time": json_rows.micros_column(times),
        "received": json_rows.micros_column(received),
        "sdk": _per_part(parts, "sdk"),
        "source": _per_part(parts, "source"),
        "quarantined": pa.array(json_rows.quarantined(times, received, settings)),
        "metadata": pa.array(list(chain.from_iterable(part.metadata for part in parts)), pa.binary()),
        "extra": _texts(part.extras or [""] * part.rows for part in parts),
    }


def assembler(clock: Clock, settings: IngestSettings) -> Callable[[Sequence[EventRows], str], Block]:
    """How group commit makes an `events/1` block of several requests' rows."""

    def assemble(parts: Sequence[EventRows], batch_id: str) -> Block:
        columns = columns_of(parts, settings)
        low, high = min(int(part.times.min()) for part in parts), max(int(part.times.max()) for part in parts)
        body = json_rows.stream(columns)
        return Block(EVENTS, batch_id, "events/1", sum(part.rows for part in parts), body, low, high, clock.now_us(), touched(columns))

    return assemble
