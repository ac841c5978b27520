"""Mergeable counts of distinct series and label values, per window: what cardinality reads instead of the history of points."""

from schemas.tables.table import Column, Table

SKETCH = "AggregateFunction(uniqCombined64, UInt64)"
"""Distinct 64-bit hashes: exact up to 4,096, then within about 0.5 %, 98 KB at most. Merging shards gives the state of the whole."""
EMPTY_SKETCH = "arrayReduce('uniqCombined64State', emptyArrayUInt64())"

CARDINALITY_STATES = Table(
    name="cardinality_states",
    meaning="Distinct series and label values by window as mergeable states. Read with FINAL: the newest computation counts.",
    columns=(
        Column("tenant", "LowCardinality(String)", "Tenant."),
        Column("service", "LowCardinality(String)", "Service."),
        Column("grain", "LowCardinality(String)", "1m, 5m, 1h, 1d or all; each from the states of the one before."),
        Column("window_start", "DateTime64(6, 'UTC')", "Start of the window in event time; the epoch for all."),
        Column("signal", "LowCardinality(String)", "metrics or spans."),
        Column("metric", "String", "Metric; empty for spans."),
        Column("label", "String", "Attribute whose values are counted; empty where the series themselves are."),
        Column("state", SKETCH, "Distinct series, or distinct values of the label."),
        Column("points", "UInt64", "Distinct points or spans, those with the label where one is named; 0 when none is left."),
        Column("computed", "UInt64", "When, in microseconds; the newest row counts."),
    ),
    engine="ReplacingMergeTree(computed)",
    order_by="(tenant, service, grain, window_start, signal, metric, label)",
    granularity=256,
    writer="cardinality",
)
