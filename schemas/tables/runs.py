"""The runs there are: what a list of them is filtered and ordered by, kept beside their telemetry so that it need not be read from it."""

from schemas.run_sql import RUN_ID, STATUS
from schemas.tables.table import Column, Table

_STATE = "argMaxIf, String, DateTime64(6, 'UTC'), UInt8"

RUNS = Table(
    name="runs",
    meaning="Runs that telemetry named. Read with GROUP BY, min, max and argMaxIfMerge.",
    columns=(
        Column("tenant", "LowCardinality(String)", "Tenant of the API key."),
        Column("run_id", "String", "`metadata.run_id`."),
        Column("experiment", "SimpleAggregateFunction(max, String)", "Experiment of the run; the last by alphabet where its events name several."),
        Column("began", "SimpleAggregateFunction(min, DateTime64(6, 'UTC'))", "Time of its first event."),
        Column("latest", "SimpleAggregateFunction(max, DateTime64(6, 'UTC'))", "Time of its last event."),
        Column("status", f"AggregateFunction({_STATE})", "What the last event that says something of its state says; empty when none did."),
    ),
    engine="AggregatingMergeTree",
    order_by="(tenant, run_id)",
    granularity=1024,
    writer="telemetry sink",
    view_source="telemetry",
    view_select=(
        f"SELECT tenant, {RUN_ID} AS run_id, max(experiment) AS experiment, min(time) AS began, max(time) AS latest, "
        f"argMaxIfState({STATUS}, time, {STATUS} != '') AS status FROM telemetry WHERE NOT quarantined AND run_id != '' GROUP BY tenant, run_id"
    ),
)
