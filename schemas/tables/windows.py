"""The window tables: results, one row per item of a window, the newest revision counts."""

from schemas.tables.table import Column, Table


def _windows(kind: str, subject: str, item: str, payload: str) -> Table:
    return Table(
        name=f"windows_{kind}",
        meaning=f"Windows of {kind}. Read with FINAL: the newest revision of each item counts.",
        columns=(
            Column("tenant", "LowCardinality(String)", "Tenant."),
            Column("subject", "String", subject),
            Column("grain", "LowCardinality(String)", "1m, 5m, 1h, 1d or all."),
            Column("window_start", "DateTime64(6, 'UTC')", "Start of the window in event time; the epoch for all."),
            Column("item", "String", item),
            Column("revision", "UInt64", "Number of the refresh of the subject that last changed the item."),
            Column("computed_at", "DateTime64(6, 'UTC')", "When the figures were computed."),
            Column("positions", "Map(LowCardinality(String), Int64)", "Highest offset of each `topic:partition` the subject's figures include."),
            Column("payload", "String", payload, "CODEC(ZSTD(1))"),
        ),
        engine="ReplacingMergeTree(revision)",
        order_by="(tenant, subject, grain, window_start, item)",
        writer=kind,
    )


WINDOWS_ASSIGNMENTS = _windows("assignments", "Experiment.", "Variant.", "Units, exclusions, sample-ratio check and its breakdown, JSON.")
WINDOWS_CARDINALITY = _windows("cardinality", "Service.", "Metric, or span attributes.", "Active series, points, distinct values by label and growth, JSON.")
WINDOWS_COST = _windows("cost", "`dimension=value`.", "Unit of account.", "Quantity, price and amount under the price list named, JSON.")
WINDOWS_SIGNIFICANCE = _windows("significance", "Experiment.", "`metric/variant`.", "Sample sizes, differences, intervals and p-values, JSON.")
WINDOWS_EVALUATION = _windows(
    "evaluation", "Evaluation rule.", "`results`, or what a threshold says.", "Count, failures, scores and labels; or the state of a threshold, JSON."
)

WINDOWS = {
    table.name.removeprefix("windows_"): table for table in (WINDOWS_ASSIGNMENTS, WINDOWS_CARDINALITY, WINDOWS_COST, WINDOWS_SIGNIFICANCE, WINDOWS_EVALUATION)
}
