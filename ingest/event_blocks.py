"""Parts of A/B event requests, put together into one block."""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from infra.runtime.clock import Clock
from ingest import json_rows
from ingest.events import EventRows
from schemas.blocks import MAX_UNITS, Block, Touched
from schemas.topics import EVENTS


def touched(table: pa.Table) -> tuple[Touched, ...]:
    """The experiments a block changes, with their minutes and, when they are few, their units."""
    live = table.filter((pc.field("quarantined") == 0) & (pc.field("experiment") != ""))
    if live.num_rows == 0:
        return ()
    minute = pc.divide(live["time"].cast(pa.int64()), 60_000_000)
    columns = {"tenant": live["tenant"], "experiment": live["experiment"], "minute": minute, "keyed": live["keyed"]}
    wanted: list[Any] = [("minute", "distinct"), ("keyed", "max")]
    if live.num_rows <= 4 * MAX_UNITS:  # counting the units of a large block costs more than recomputing all of them
        columns["unit"] = live["unit"]
        wanted.append(("unit", "distinct"))
    groups = pa.table(columns).group_by(["tenant", "experiment"], use_threads=False).aggregate(wanted).to_pylist()
    return tuple(
        Touched(g["tenant"], g["experiment"], tuple(sorted(g["minute_distinct"])), _named(g.get("unit_distinct")), bool(g["keyed_max"])) for g in groups
    )


def _named(units: list[str] | None) -> tuple[str, ...] | None:
    return tuple(units) if units is not None and len(units) <= MAX_UNITS else None


def assembler(clock: Clock) -> Callable[[Sequence[EventRows], str], Block]:
    """How group commit makes an `events/1` block of several requests' rows."""

    def assemble(parts: Sequence[EventRows], batch_id: str) -> Block:
        body, table = json_rows.stream([part.table for part in parts])
        low, high = json_rows.time_range(table)
        return Block(EVENTS, batch_id, "events/1", table.num_rows, body, low, high, clock.now_us(), touched(table))

    return assemble
