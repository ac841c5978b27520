"""Usage by window before prices are applied: what cost reads instead of the history of spans, points and logs."""

from schemas.tables.cardinality_states import SKETCH
from schemas.tables.table import Column, Table

COST_USAGE = Table(
    name="cost_usage",
    meaning="What was used, by window, before prices. Read with FINAL: the newest computation counts.",
    columns=(
        Column("tenant", "LowCardinality(String)", "Tenant."),
        Column("grain", "LowCardinality(String)", "1m, 5m, 1h, 1d or all; each the sum of the one before."),
        Column("within", "DateTime64(6, 'UTC')", "Start of the window of the next grain that holds it: what adds up to a window stands together."),
        Column("dimension", "LowCardinality(String)", "provider, model, project, user, session, service or prompt_version."),
        Column("value", "String", "Which one."),
        Column("window_start", "DateTime64(6, 'UTC')", "Start of the window in event time; the epoch for all."),
        Column("service", "LowCardinality(String)", "Service that sent it."),
        Column("provider", "LowCardinality(String)", "Provider of the model; empty where the unit has none."),
        Column("model", "LowCardinality(String)", "Model; empty where the unit has none."),
        Column("unit", "LowCardinality(String)", "Unit of account, see schemas/cost.py."),
        Column("project", "LowCardinality(String)", "Project of the spans; empty where the unit has none."),
        Column("quantity", "UInt64", "How many; 0 when none is left."),
        Column("billed", "UInt64", "How many of them the unit's price applies to."),
        Column("series", SKETCH, "Distinct series, where the unit is active_series; else empty."),
        Column("computed", "UInt64", "When, in microseconds; the newest row counts."),
    ),
    engine="ReplacingMergeTree(computed)",
    order_by="(tenant, grain, within, dimension, value, window_start, service, provider, model, unit, project)",
    granularity=1024,
    writer="cost",
)
