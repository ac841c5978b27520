"""Runs and their metrics as their telemetry adds up: everything a run is shown by, so that its events need not be read again.

Every aggregate is one that an event which comes twice does not change.
"""

from schemas.run_sql import EPOCH, HYPERPARAMETERS, IS_CHECKPOINT, IS_LOG, NO_METRICS, PLACE, PROGRESS, RUN_ID, STATUS, STATUS_RANK, STEP
from schemas.tables.table import Column, Table

_TIME = "DateTime64(6, 'UTC')"
_NUMBER = "SimpleAggregateFunction(max, Nullable(Float64))"
_OF_RUN = (
    Column("tenant", "LowCardinality(String)", "Tenant of the API key."),
    Column("run_id", "String", "`metadata.run_id`, a text of at most 512 characters or a whole number."),
)

RUNS = Table(
    name="runs",
    meaning="Runs that telemetry named, but for quarantined events. Read with GROUP BY and the -Merge functions.",
    columns=(
        *_OF_RUN,
        Column("experiment", "SimpleAggregateFunction(max, String)", "Experiment of the run; the last by alphabet where its events name several."),
        Column("began", f"SimpleAggregateFunction(min, {_TIME})", "Time of its first event."),
        Column("latest", f"SimpleAggregateFunction(max, {_TIME})", "Time of its last event."),
        Column(
            "status",
            f"AggregateFunction(argMaxIf, String, Tuple({_TIME}, UInt8), UInt8)",
            "What the last event that says something of its state says, of several at one instant the one that ends it; empty when none did.",
        ),
        Column("started", f"AggregateFunction(minIf, {_TIME}, UInt8)", "Time of the first event that says it runs; 1970 when none did."),
        Column("ended", f"AggregateFunction(maxIf, {_TIME}, UInt8)", "Time of the last event that says it completed or failed; 1970 when none did."),
        Column("progress", f"AggregateFunction(argMax, Nullable(Float64), {_TIME})", "How far the last event that tells says it is; empty when none did."),
        Column("step", _NUMBER, "Highest step."),
        Column("epoch", _NUMBER, "Highest epoch."),
        Column(
            "hyperparameters",
            f"AggregateFunction(groupUniqArrayIf(1000), Tuple({_TIME}, String), UInt8)",
            "`metadata.hyperparameters` of its events with their times, JSON objects of at most 16 KiB; at most 1,000 different ones.",
        ),
    ),
    engine="AggregatingMergeTree",
    order_by="(tenant, run_id)",
    granularity=1024,
    writer="telemetry sink",
    view_source="telemetry",
    view_select=(
        f"SELECT tenant, {RUN_ID} AS run_id, max(experiment) AS experiment, min(time) AS began, max(time) AS latest, "
        f"argMaxIfState({STATUS}, (time, {STATUS_RANK}), {STATUS} != '') AS status, minIfState(time, {STATUS} = 'running') AS started, "
        f"maxIfState(time, {STATUS} IN ('completed', 'failed')) AS ended, argMaxState({PROGRESS}, time) AS progress, "
        f"max({STEP}) AS step, max({EPOCH}) AS epoch, "
        f"groupUniqArrayIfState(1000)((time, {HYPERPARAMETERS}), {HYPERPARAMETERS} != '') AS hyperparameters "
        "FROM telemetry WHERE NOT quarantined AND run_id != '' GROUP BY tenant, run_id"
    ),
)

_NAMES = ", ".join(f"'{name}'" for name in NO_METRICS)

RUN_METRICS = Table(
    name="run_metrics",
    meaning="Measurements of runs by name. Read with GROUP BY and argMaxMerge, max and min.",
    columns=(
        *_OF_RUN,
        Column("name", "String", "Name of the measurement."),
        Column(
            "last",
            f"AggregateFunction(argMax, Float64, Tuple(Float64, {_TIME}))",
            "Its value at the highest step, or epoch, and of equal ones at the last time.",
        ),
        Column("highest", "SimpleAggregateFunction(max, Float64)", "Highest value."),
        Column("lowest", "SimpleAggregateFunction(min, Float64)", "Lowest value."),
    ),
    engine="AggregatingMergeTree",
    order_by="(tenant, run_id, name)",
    granularity=1024,
    writer="telemetry sink",
    view_source="telemetry",
    view_select=(
        "SELECT tenant, run_id, named.1 AS name, argMaxState(named.2, (place, time)) AS last, max(named.2) AS highest, min(named.2) AS lowest "
        # The place of an event is found once, before its measurements are taken apart.
        f"FROM (SELECT tenant, {RUN_ID} AS run_id, time, {PLACE} AS place, JSONExtractKeysAndValues(measurements, 'Float64') AS measured "
        f"FROM telemetry WHERE NOT quarantined AND run_id != '' AND NOT {IS_CHECKPOINT} AND NOT {IS_LOG}) ARRAY JOIN measured AS named "
        f"WHERE named.1 NOT IN ({_NAMES}) AND isFinite(named.2) GROUP BY tenant, run_id, name"
    ),
)
