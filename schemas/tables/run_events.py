"""Those telemetry events of runs that are shown one by one, kept once more in the order of their runs, so that those of one are read without the others."""

from schemas.run_sql import IS_CHECKPOINT, IS_LOG, RUN_ID
from schemas.tables.table import Column, Table

_COPIED = ("event_name", "experiment", "event_id", "time", "received", "measurements", "metadata")

RUN_EVENTS = Table(
    name="run_events",
    meaning="Checkpoints of runs and lines of their logs, but for quarantined ones. Read with FINAL: an event id that was sent in several batches is one row.",
    columns=(
        Column("tenant", "LowCardinality(String)", "Tenant of the API key."),
        Column("run_id", "String", "`metadata.run_id`, a text of at most 512 characters or a whole number."),
        Column("event_name", "LowCardinality(String)", "`event_name`, its parts joined by dots."),
        Column("experiment", "LowCardinality(String)", "`metadata.experiment_id` when it is text."),
        Column("event_id", "String", "The client's `id`, else one made at ingest."),
        Column("time", "DateTime64(6, 'UTC')", "`timestamp`, else the time of receipt."),
        Column("received", "DateTime64(6, 'UTC')", "When ingest took it."),
        Column("measurements", "String", "`measurements` as sent, JSON.", "CODEC(ZSTD(1))"),
        Column("metadata", "String", "`metadata` as sent, JSON.", "CODEC(ZSTD(1))"),
    ),
    engine="ReplacingMergeTree(received)",
    order_by="(tenant, run_id, event_name, event_id)",
    partition_by="toDate(received)",
    ttl="toDate(received) + INTERVAL {days} DAY",
    granularity=1024,
    writer="telemetry sink",
    view_source="telemetry",
    view_select=f"SELECT tenant, {RUN_ID} AS run_id, {', '.join(_COPIED)} FROM telemetry WHERE NOT quarantined AND ({IS_CHECKPOINT} OR {IS_LOG}) AND run_id != ''",
)
