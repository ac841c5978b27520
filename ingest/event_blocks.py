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
_FEW_EACH = 5
"""Rows a part, on average, up to which a row at a time costs less than a column at a time."""
_MAX_ROWS_NAMED = 4 * MAX_UNITS
"""Rows up to which a block's units are looked for: counting those of a large block costs more than recomputing all of them."""
_MINUTE_US = 60_000_000
_TEXT, _FLAG = pa.string(), pa.uint8()
_TYPES = {
    "tenant": _TEXT,
    "experiment": _TEXT,
    "unit": _TEXT,
    "event_type": _TEXT,
    "variant": _TEXT,
    "event_id": _TEXT,
    "keyed": _FLAG,
    "time": json_rows.MICROS,
    "received": json_rows.MICROS,
    "sdk": _TEXT,
    "source": _TEXT,
    "quarantined": _FLAG,
    "metadata": pa.binary(),
    "extra": _TEXT,
}


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


def _per_part(values: Sequence[str], counts: Sequence[int]) -> pa.Array:
    """A value that all rows of a part share, as a column."""
    if len(set(values)) == 1:
        return pa.repeat(values[0], sum(counts))
    return pa.array(list(chain.from_iterable(map(repeat, values, counts))), _TEXT)


def columns_of(parts: Sequence[EventRows], settings: IngestSettings) -> dict[str, pa.Array]:
    """The columns of the parts' rows, in the order of the block's structure."""
    if sum(part.rows for part in parts) < _FEW_EACH * len(parts):
        return _columns_of_few(parts, settings)
    events, counts, came = [e for part in parts for e in part.events], [part.rows for part in parts], [part.received for part in parts]
    count, is_keyed = len(events), any(part.keyed for part in parts)
    times: npt.NDArray[np.int64] = np.concatenate([np.asarray(part.times, np.int64) for part in parts])
    received: npt.NDArray[np.int64] = np.repeat(np.asarray([each.at_us for each in came], np.int64), counts)
    extras = [text for part in parts for text in part.extras or [""] * part.rows] if any(part.extras for part in parts) else None
    return {
        "tenant": _per_part([each.tenant for each in came], counts),
        "experiment": pa.array([e.experiment_id or "" for e in events], _TEXT),
        "unit": pa.array([e.user_id for e in events], _TEXT),
        "event_type": pa.array([e.event_type for e in events], _TEXT),
        "variant": pa.array([e.variant or "" for e in events], _TEXT),
        "event_id": pa.array([name for part in parts for name in part.ids], _TEXT),
        "keyed": pa.array(np.fromiter((e.id is not None for e in events), np.uint8, count) if is_keyed else np.zeros(count, np.uint8)),
        "time": json_rows.micros_column(times),
        "received": json_rows.micros_column(received),
        "sdk": _per_part([each.sdk for each in came], counts),
        "source": _per_part([each.source for each in came], counts),
        "quarantined": pa.array(json_rows.quarantined(times, received, settings)),
        "metadata": json_objects.column([part.metadata for part in parts]),
        "extra": pa.array(extras, _TEXT) if extras else pa.repeat("", count),
    }


def _columns_of_few(parts: Sequence[EventRows], settings: IngestSettings) -> dict[str, pa.Array]:
    """The same for parts of few rows each: one pass in Python and one kind of call, because it is the different calls of Arrow and numpy that
    cost here, and not the rows."""
    rows = chain.from_iterable(_rows_of(part, settings) for part in parts)
    return {name: pa.array(values, type) for (name, type), values in zip(_TYPES.items(), zip(*rows, strict=True), strict=True)}


def _rows_of(part: EventRows, settings: IngestSettings) -> Iterator[tuple[object, ...]]:
    """The rows of a part, each with its values in the order of the block's structure."""
    came, extras = part.received, part.extras or [""] * part.rows
    earliest, latest = json_rows.plausible(came.at_us, settings)
    times = part.times if isinstance(part.times, list) else part.times.tolist()
    for e, name, time, metadata, extra in zip(part.events, part.ids, times, part.metadata.each(), extras, strict=True):
        yield (
            came.tenant, e.experiment_id or "", e.user_id, e.event_type, e.variant or "", name, 0 if e.id is None else 1, time, came.at_us, came.sdk,
            came.source, 0 if earliest <= time <= latest else 1, metadata, extra,
        )  # fmt: skip


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
        return cls(columns, len(times), sum(part.size for part in parts), int(times.min()), int(times.max()))


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
