"""Annotations: what people, programs and models said about a span, a trace, a session or a retrieved document."""

from schemas.tables.table import Column, Feed, Table

_NAME = "LowCardinality(String)"
_TIME = "DateTime64(6, 'UTC')"

_OWN = (
    Column("tenant", _NAME, "Tenant of the API key."),
    Column("target", _NAME, "What it is about: span, trace, session or document."),
    Column("target_id", "String", "Span id, trace id or session id; of a document the id of the span that retrieved it."),
    Column("position", "Int32", "Of a document, its place in what was retrieved, from 0; -1 for anything else."),
    Column("name", _NAME, "Name of the annotation; with target and identifier it is one annotation."),
    Column("identifier", "String", "Tells annotations of the same name apart; empty for the one that every later one replaces."),
    Column("trace_id", "String", "Trace of the span where the writer knew it, else empty: then it is about the span of this id in whatever trace."),
    Column("annotator_kind", _NAME, "LLM, CODE or HUMAN."),
    Column("label", "Nullable(String)", "Label of the result."),
    Column("score", "Nullable(Float64)", "Score of the result."),
    Column("explanation", "Nullable(String)", "Why.", "CODEC(ZSTD(1))"),
    Column("metadata", "String", "A JSON object."),
    Column("source", _NAME, "API for clients, SPAN for feedback carried inside spans, RULE for online evaluation."),
    Column("user_id", "String", "Id of the user whose key it came with, else empty."),
    Column("created", _TIME, "When the first one of its name and identifier was written."),
    Column("updated", _TIME, "When this one was written, of one carried by a span when the span ended; the newest counts."),
    Column("deleted", "UInt8", "1 for one that was removed."),
)
STRUCTURE = ", ".join(
    f"{column.name} {column.type.removeprefix('LowCardinality(').removesuffix(')') if column.type == _NAME else column.type}" for column in _OWN
)
"""How the engine reads a block of them."""

ANNOTATIONS = Table(
    name="annotations",
    meaning="Annotations. Read with FINAL and `deleted = 0`: the newest one of a target, name and identifier counts.",
    columns=(*_OWN, Column("stored", "DateTime('UTC')", "When it was stored; it is kept for the days of retention from then on.", "MATERIALIZED now()")),
    engine="ReplacingMergeTree(updated)",
    order_by="(tenant, target, target_id, position, name, identifier, trace_id)",
    ttl="toDate(stored) + INTERVAL {days} DAY",
    writer="annotations sink",
    feed=Feed(
        format="ArrowStream",
        structure=STRUCTURE,
        select=", ".join(column.name for column in _OWN),
        columns=tuple(column.name for column in _OWN),
        settings={"optimize_on_insert": "0"},
    ),
)
