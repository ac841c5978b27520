"""How far each agent has come with each subject."""

from schemas.tables.table import Column, Table

TENANT_WIDE = "*"
"""Subject of agents that refresh a tenant as a whole."""


def ending_windows(kind: str) -> str:
    """The kind under which an agent that brings some windows up to date after the others says how far those are: of significance the windows with an
    end, of cost those of users and sessions."""
    return f"{kind}/windows"


WATERMARKS = Table(
    name="watermarks",
    meaning="How far the windows of a subject include the raw topics; what a read waits for.",
    columns=(
        Column(
            "kind",
            "LowCardinality(String)",
            "assignments, cardinality, cost or significance; `significance/windows` for its grains other than `all`, `cost/windows` for users and sessions.",
        ),
        Column("tenant", "LowCardinality(String)", "Tenant."),
        Column("subject", "String", "Experiment, or * where a tenant is refreshed as a whole."),
        Column("revision", "UInt64", "Number of the last refresh that changed something."),
        Column("positions", "Map(LowCardinality(String), Int64)", "Highest offset included, by `topic:partition`."),
        Column("at", "DateTime64(6, 'UTC')", "When the refresh ended."),
        Column(
            "definition", "String", "Fingerprint of the definitions that all windows of `significance/windows` were computed by; empty where it is not known."
        ),
    ),
    engine="ReplacingMergeTree(at)",
    order_by="(kind, tenant, subject)",
    writer="assignments, cardinality, cost, evaluation and significance, each for its own kind",
)
