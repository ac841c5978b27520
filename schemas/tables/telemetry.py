"""Crucible telemetry events as they came, one row per event id."""

from schemas.tables.table import Column, Feed, Table

STRUCTURE = (
    "tenant String, event_name String, experiment String, event_id String, keyed UInt8, "
    "time DateTime64(6, 'UTC'), received DateTime64(6, 'UTC'), quarantined UInt8, measurements String, metadata String, extra String"
)

_COLUMNS = ("tenant", "event_name", "experiment", "event_id", "keyed", "time", "received", "quarantined", "measurements", "metadata", "extra")

TELEMETRY = Table(
    name="telemetry",
    meaning="Telemetry events as they came. Read with FINAL: an event id that was sent in several batches is one row.",
    columns=(
        Column("tenant", "LowCardinality(String)", "Tenant of the API key."),
        Column("event_name", "LowCardinality(String)", "`event_name`, its parts joined by dots."),
        Column("experiment", "LowCardinality(String)", "`metadata.experiment_id` when it is text."),
        Column("event_id", "String", "The client's `id`, else one made at ingest."),
        Column("keyed", "UInt8", "1 when the client gave the id."),
        Column("time", "DateTime64(6, 'UTC')", "`timestamp`, else the time of receipt."),
        Column("received", "DateTime64(6, 'UTC')", "When ingest took it."),
        Column("quarantined", "UInt8", "1 when the event time is absurdly far from the time of receipt."),
        Column("measurements", "String", "`measurements` as sent, JSON.", "CODEC(ZSTD(1))"),
        Column("metadata", "String", "`metadata` as sent, JSON.", "CODEC(ZSTD(1))"),
        Column("extra", "String", "Unknown fields as sent, a JSON object, or empty."),
    ),
    engine="ReplacingMergeTree(received)",
    order_by="(tenant, event_name, event_id)",
    partition_by="toDate(received)",
    ttl="toDate(received) + INTERVAL {days} DAY",
    # Blocks are stored one after the other: what came behind one of them is found without reading what was there before.
    indices=("time_range time TYPE minmax GRANULARITY 16", "block_offset offset TYPE minmax GRANULARITY 1"),
    writer="telemetry sink",
    feed=Feed(format="ArrowStream", structure=STRUCTURE, select=", ".join(_COLUMNS), columns=_COLUMNS, settings={"optimize_on_insert": "0"}),
)
