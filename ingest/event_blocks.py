"""Parts of A/B event requests, put together into one block."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, repeat
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from infra.runtime.clock import Clock
from infra.runtime.settings import IngestSettings
from ingest import json_objects, json_rows
from ingest.events import EventRows
from schemas.arrow_stream import stream
from schemas.blocks import MAX_UNITS, Block, Touched
from schemas.topics import EVENTS

SMALL_ROWS = 1_000
"""Rows up to which a block's subjects are found row by row: starting Arrow's grouping costs more."""

EARLY_ROWS = 100
"""Rows from which on a request becomes columns by itself."""
_MAX_ROWS_NAMED = 4 * MAX_UNITS
"""Rows up to which a block's units are looked for: counting those of a large block costs more than recomputing all of them."""
_MINUTE_US = 60_000_000


def touched(columns: dict[str, pa.Array]) -> tuple[Touched, ...]:
    """The experiments a block changes, with their minutes and, when they are few, their units."""
    if len(columns["time"]) <= SMALL_ROWS:
        return _touched_by_row(columns)
    table = pa.table(columns)
    if not pc.any(table["quarantined"].cast(pa.bool_())).as_py() and (single := _touched_if_single(columns)):
        return (single,)
    live = table.filter((pc.field("quarantined") == 0) & (pc.field("experiment") != ""))
    if live.num_rows == 0:
        return ()
    minute = pc.divide(live["time"].cast(pa.int64()), _MINUTE_US)
    grouped = {"tenant": live["tenant"], "experiment": live["experiment"], "minute": minute, "keyed": live["keyed"]}
    wanted: list[Any] = [("minute", "distinct"), ("keyed", "max")]
    if live.num_rows <= _MAX_ROWS_NAMED:
        grouped["unit"] = live["unit"]
        wanted.append(("unit", "distinct"))
    groups = pa.table(grouped).group_by(["tenant", "experiment"], use_threads=False).aggregate(wanted).to_pylist()
    return tuple(
        Touched(g["tenant"], g["experiment"], tuple(sorted(g["minute_distinct"])), _named(g.get("unit_distinct")), bool(g["keyed_max"])) for g in groups
    )


def _touched_if_single(columns: dict[str, pa.Array]) -> Touched | None:
    """The one experiment of a block that has but one, for which nothing needs grouping."""
    tenants, experiments = pc.unique(columns["tenant"]), pc.unique(columns["experiment"])
    if len(tenants) > 1 or len(experiments) > 1 or not experiments[0].as_py():
        return None
    minutes = np.unique(columns["time"].cast(pa.int64()).to_numpy() // _MINUTE_US)
    units = pc.unique(columns["unit"]).to_pylist() if len(columns["unit"]) <= _MAX_ROWS_NAMED else None
    return Touched(tenants[0].as_py(), experiments[0].as_py(), tuple(minutes.tolist()), _named(units), bool(pc.max(columns["keyed"]).as_py()))


def _touched_by_row(columns: dict[str, pa.Array]) -> tuple[Touched, ...]:
    groups: dict[tuple[str, str], tuple[set[int], set[str], set[int]]] = {}
    micros = columns["time"].view(pa.int64()).to_pylist()
    names = ("tenant", "experiment", "unit", "keyed", "quarantined")
    for time, tenant, experiment, unit, keyed, far in zip(micros, *(columns[name].to_pylist() for name in names), strict=True):
        if experiment and not far:
            subject = (tenant, experiment)
            if subject not in groups:
                groups[subject] = (set(), set(), set())
            minutes, units, keys = groups[subject]
            minutes.add(time // _MINUTE_US)
            units.add(unit)
            keys.add(keyed)
    return tuple(
        Touched(tenant, experiment, tuple(sorted(minutes)), tuple(sorted(units)), 1 in keys) for (tenant, experiment), (minutes, units, keys) in groups.items()
    )


def _named(units: list[str] | None) -> tuple[str, ...] | None:
    return tuple(units) if units is not None and len(units) <= MAX_UNITS else None


def _per_part(values: list[str], counts: list[int], rows: int) -> pa.Array:
    """A value that all rows of a part share, as a column; `counts` are the rows of each part."""
    if len(set(values)) == 1:
        return pa.repeat(values[0], rows)
    return pa.array(list(chain.from_iterable(map(repeat, values, counts))), pa.string())


def columns_of(parts: Sequence[EventRows], settings: IngestSettings) -> dict[str, pa.Array]:
    """The columns of the parts' rows, in the order of the block's structure."""
    events, counts, came = [e for part in parts for e in part.events], [part.rows for part in parts], [part.received for part in parts]
    times: npt.NDArray[np.int64] = np.concatenate([part.times for part in parts])
    received: npt.NDArray[np.int64] = np.repeat([each.at_us for each in came], counts)
    count, text = len(events), pa.string()
    keyed = np.fromiter((e.id is not None for e in events), np.uint8, count) if any(part.keyed for part in parts) else np.zeros(count, np.uint8)
    extras = list(chain.from_iterable(part.extras or [""] * part.rows for part in parts)) if any(part.extras for part in parts) else None
    return {
        "tenant": _per_part([each.tenant for each in came], counts, count),
        "experiment": pa.array([e.experiment_id or "" for e in events], text),
        "unit": pa.array([e.user_id for e in events], text),
        "event_type": pa.array([e.event_type for e in events], text),
        "variant": pa.array([e.variant or "" for e in events], text),
        "event_id": pa.array([name for part in parts for name in part.ids], text),
        "keyed": pa.array(keyed),
        "time": json_rows.micros_column(times),
        "received": json_rows.micros_column(received),
        "sdk": _per_part([each.sdk for each in came], counts, count),
        "source": _per_part([each.source for each in came], counts, count),
        "quarantined": pa.array(json_rows.quarantined(times, received, settings)),
        "metadata": json_objects.column([part.metadata for part in parts]),
        "extra": pa.repeat("", count) if extras is None else pa.array(extras, text),
    }


@dataclass(frozen=True)
class EventColumns:
    """A request's rows as columns already: cheapest right after decoding, while its events are still in the processor's cache."""

    columns: dict[str, pa.Array]
    rows: int
    size: int
    low_us: int
    """Earliest event time, microseconds since the epoch."""
    high_us: int

    @classmethod
    def of(cls, parts: Sequence[EventRows], settings: IngestSettings) -> "EventColumns":
        columns = columns_of(parts, settings)
        times = columns["time"].view(pa.int64()).to_numpy()
        return cls(columns, len(times), sum([part.size for part in parts]), int(times.min()), int(times.max()))


def part_of(rows: EventRows, settings: IngestSettings) -> EventRows | EventColumns:
    """What a request adds to a block: columns when it has many rows. Columns of a few rows cost more than the rows, so those wait for others."""
    return rows if rows.rows < EARLY_ROWS else EventColumns.of([rows], settings)


def _together(parts: Sequence[EventRows | EventColumns], settings: IngestSettings) -> Iterator[EventColumns]:
    """The parts as columns, in order; neighbours that are still rows become columns together."""
    for are_rows, run in groupby(parts, lambda part: isinstance(part, EventRows)):
        if are_rows:
            yield EventColumns.of(cast(list[EventRows], list(run)), settings)
        else:
            yield from cast(Iterator[EventColumns], run)


def assembler(clock: Clock, settings: IngestSettings) -> Callable[[Sequence[EventRows | EventColumns], str], Block]:
    """How group commit makes an `events/1` block of several requests' rows."""

    def assemble(parts: Sequence[EventRows | EventColumns], batch_id: str) -> Block:
        pieces = list(_together(parts, settings))
        columns = pieces[0].columns
        if len(pieces) > 1:
            columns = {name: pa.concat_arrays([piece.columns[name] for piece in pieces]) for name in columns}
        low, high = min(piece.low_us for piece in pieces), max(piece.high_us for piece in pieces)
        rows, body = sum(piece.rows for piece in pieces), stream(columns)
        return Block(EVENTS, batch_id, "events/1", rows, body, low, high, clock.now_us(), touched(columns))

    return assemble
