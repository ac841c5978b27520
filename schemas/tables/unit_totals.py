"""Per-unit partial aggregates: what significance and assignments read instead of the history of events.

An event's id decides how it can be added up. An event without an id of the client's own exists once by construction: its
id is born with its block, and the block's token stores it once. Such events are folded into `unit_totals` once and for
all ("sealed") when enough have gathered, and only the tail behind the seal is read row by row. An event with a client's
id may come again in another block, so its unit is totalled again from the distinct rows into `unit_keyed_totals`.
"""

from schemas.tables.table import Column, Table

_KEY = (
    Column("tenant", "LowCardinality(String)", "Tenant."),
    Column("experiment", "LowCardinality(String)", "Experiment."),
    Column("bucket", "UInt16", "Shard of the unit."),
    Column("unit", "String", "Randomisation unit."),
    Column("event_type", "LowCardinality(String)", "Event type the totals are of."),
)
_ORDER = "(tenant, experiment, bucket, unit, event_type)"

NEVER = "toDateTime64('2200-01-01 00:00:00', 6, 'UTC')"
"""Stands for "no exposure" where an earliest time is kept."""
NO_VARIANT = "'\\xFF'"
"""Stands for "no variant" where a smallest name is kept: greater than any UTF-8 text."""

_FIGURES: tuple[tuple[str, str, str, str], ...] = (
    ("exposed", "min", "DateTime64(6, 'UTC')", "Earliest exposure; the year 2200 when there is none."),
    ("variant_low", "min", "String", "Smallest variant name seen; greater than any name when there is none."),
    ("variant_high", "max", "String", "Largest variant name seen; a unit that saw several variants has two different ends."),
    ("sdk", "min", "String", "SDK of the events, the first by name when there are several."),
    ("source", "min", "String", "Source of the events, the first by name when there are several."),
    ("first_time", "min", "DateTime64(6, 'UTC')", "Earliest event of the type."),
    ("events", "sum", "UInt64", "Events."),
    ("total", "sum", "Float64", "Sum of their values."),
)
"""What is kept of a unit and event type: name, how two rows merge, type, meaning."""

FIGURES = tuple(name for name, *_ in _FIGURES)

UNIT_TOTALS = Table(
    name="unit_totals",
    meaning="Sealed totals by unit and event type of events whose id was made at ingest, with the unit's exposures.",
    columns=(*_KEY, *(Column(name, f"SimpleAggregateFunction({merge}, {kind})", meaning) for name, merge, kind, meaning in _FIGURES)),
    engine="AggregatingMergeTree",
    order_by=_ORDER,
    granularity=1024,
    writer="assignments and significance",
)

UNIT_KEYED_TOTALS = Table(
    name="unit_keyed_totals",
    meaning="Totals by unit and event type of events with a client's id, recomputed from the distinct rows of each unit that changed.",
    columns=(
        *_KEY,
        *(Column(name, kind, meaning) for name, _, kind, meaning in _FIGURES),
        Column("computed", "UInt64", "When, in microseconds; the newest row counts."),
    ),
    engine="ReplacingMergeTree(computed)",
    order_by=_ORDER,
    granularity=1024,
    writer="assignments and significance",
)

SEALS = Table(
    name="seals",
    meaning="How far each experiment's events are folded into unit_totals; an intent without its completion is carried out again with the same token.",
    columns=(
        Column("tenant", "LowCardinality(String)", "Tenant."),
        Column("experiment", "String", "Experiment."),
        Column("sequence", "UInt64", "Number of the seal, from 1."),
        Column("done", "UInt8", "0 for the intent, 1 once the totals are in unit_totals."),
        Column("positions", "Map(UInt16, UInt64)", "First offset behind the seal, by partition of the events topic."),
        Column("at", "DateTime64(6, 'UTC')", "When it was written."),
    ),
    engine="ReplacingMergeTree",
    order_by="(tenant, experiment, sequence, done)",
    writer="assignments and significance",
)
