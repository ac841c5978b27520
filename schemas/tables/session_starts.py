"""When sessions began: what the list of sessions is ordered by, kept beside the spans so that it need not be read from them."""

from schemas.tables.table import Column, Table

_TIME = "SimpleAggregateFunction(min, DateTime64(9, 'UTC'))"

SESSION_STARTS = Table(
    name="session_starts",
    meaning="Sessions of the spans, whether or not these are still visible. Read with GROUP BY and min.",
    columns=(
        Column("tenant", "LowCardinality(String)", "Tenant of the API key."),
        Column("project", "LowCardinality(String)", "Project the spans were sent to."),
        Column("session_id", "String", "The session."),
        Column("began", _TIME, "Start of its first span."),
    ),
    engine="AggregatingMergeTree",
    order_by="(tenant, project, session_id)",
    granularity=1024,
    writer="spans sink",
    view_source="spans",
    view_select="SELECT tenant, project, session_id, min(start_time) AS began FROM spans WHERE session_id != '' GROUP BY tenant, project, session_id",
)
