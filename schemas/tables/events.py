"""A/B events as they came, one row per event id."""

from schemas.tables.table import Column, Feed, Table

BUCKETS = 8192
"""Shards of the units of an experiment; a refresh recomputes only the shards that changed."""

BUCKET = f"toUInt16(cityHash64(unit) % {BUCKETS})"
"""The shard of a unit, as the engine computes it."""

STRUCTURE = (
    "tenant String, experiment String, unit String, event_type String, variant String, event_id String, keyed UInt8, "
    "time DateTime64(6, 'UTC'), received DateTime64(6, 'UTC'), sdk String, source String, quarantined UInt8, metadata String, extra String"
)

_DIRECT = (
    "tenant",
    "experiment",
    "unit",
    "event_type",
    "variant",
    "event_id",
    "keyed",
    "time",
    "received",
    "sdk",
    "source",
    "quarantined",
    "metadata",
    "extra",
)

EVENTS = Table(
    name="events",
    meaning="A/B events as they came. Read with FINAL: an event id that was sent in several batches is one row.",
    columns=(
        Column("tenant", "LowCardinality(String)", "Tenant of the API key."),
        Column("experiment", "LowCardinality(String)", "`experiment_id`; empty when the event names none."),
        Column("unit", "String", "`user_id`: the randomisation unit."),
        Column("bucket", "UInt16", "Shard of the unit within the experiment."),
        Column("event_type", "LowCardinality(String)", "`event_type`."),
        Column("variant", "LowCardinality(String)", "`variant`; an event that names one is an exposure."),
        Column("event_id", "String", "The client's `id`, else one made at ingest."),
        Column("keyed", "UInt8", "1 when the client gave the id, so that the event may come again in another batch."),
        Column("time", "DateTime64(6, 'UTC')", "`timestamp`, else the time of receipt."),
        Column("received", "DateTime64(6, 'UTC')", "When ingest took it."),
        Column("value", "Nullable(Float64)", "`metadata.value` when it is a number."),
        Column("sdk", "LowCardinality(String)", "Client library, from the request's headers."),
        Column("source", "LowCardinality(String)", "Where the client says the event was made."),
        Column("quarantined", "UInt8", "1 when the event time is absurdly far from the time of receipt; left out of windows."),
        Column("metadata", "String", "`metadata` as sent, JSON.", "CODEC(ZSTD(1))"),
        Column("extra", "String", "Unknown fields as sent, a JSON object, or empty."),
    ),
    engine="ReplacingMergeTree(received)",
    order_by="(tenant, experiment, bucket, unit, event_id)",
    partition_by="toDate(received)",
    ttl="toDate(received) + INTERVAL {days} DAY",
    indices=("time_range time TYPE minmax GRANULARITY 16", "offset_range offset TYPE minmax GRANULARITY 16"),
    granularity=1024,
    writer="events sink",
    feed=Feed(
        format="ArrowStream",
        structure=STRUCTURE,
        select=", ".join(_DIRECT) + f", JSONExtract(metadata, 'value', 'Nullable(Float64)') AS value, {BUCKET} AS bucket",
        columns=(*_DIRECT, "value", "bucket"),
        settings={"optimize_on_insert": "0"},
    ),
)
