"""What became of every block, and of what could not be stored."""

from schemas.tables.table import Column, Table

_PLACE = (
    Column("topic", "LowCardinality(String)", "Raw topic."),
    Column("partition", "UInt32", "Its partition."),
)

LEDGER = Table(
    name="ledger",
    meaning="One row per block that left a raw topic: the high-water mark of each partition, and the audit of what was stored.",
    columns=(
        *_PLACE,
        Column("generation", "String", "Identity of the topic's log; a topic that was made anew starts a new one."),
        Column("offset", "Int64", "Offset of the block."),
        Column("batch_id", "String", "The block's batch id, which is its insert token."),
        Column("rows", "UInt32", "Rows the block carries."),
        Column("outcome", "LowCardinality(String)", "stored or dead."),
        Column("born", "DateTime64(6, 'UTC')", "When ingest closed the block."),
        Column("stored", "DateTime64(6, 'UTC')", "When ClickHouse had acknowledged it."),
        Column("subjects", "Array(String)", "`tenant/subject` of every subject the block touched."),
    ),
    engine="ReplacingMergeTree(stored)",
    order_by="(topic, partition, generation, offset)",
    writer="sinks",
)

DEAD_LETTERS = Table(
    name="dead_letters",
    meaning="Index of the dead-letter topic: what was refused, where it came from and why. The original bytes are on the topic.",
    columns=(
        *_PLACE,
        Column("offset", "Int64", "Offset it had on its own topic."),
        Column("at", "DateTime64(6, 'UTC')", "When it was given up."),
        Column("tenant", "String", "Tenant, when known."),
        Column("batch_id", "String", "Batch id, when known."),
        Column("reason", "String", "Why it could not be stored."),
        Column("rows", "UInt32", "Rows it carried, when known."),
        Column("letter_partition", "UInt32", "Partition on the dead-letter topic."),
        Column("letter_offset", "Int64", "Offset on the dead-letter topic."),
    ),
    engine="ReplacingMergeTree(at)",
    order_by="(topic, partition, offset)",
    ttl="toDate(at) + INTERVAL {days} DAY",
    writer="dead_letter_index",
)
