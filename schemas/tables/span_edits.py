"""What was done to spans after they were stored: deletions, and traces moved to another project.

An edit is a row that reads respect, so it is in force as soon as it is stored, whatever comes again later. `query_api/readers/visible_spans.py`
is where it is respected.
"""

from schemas.tables.table import Column, Feed, Table

STRUCTURE = "tenant String, edit String, key String, project String, at DateTime64(9, 'UTC')"
_COLUMNS = ("tenant", "edit", "key", "project", "at")

SPAN_EDITS = Table(
    name="span_edits",
    meaning="Deletions of spans, traces and projects, and moves of traces. Read with FINAL: the newest edit of a key counts.",
    columns=(
        Column("tenant", "LowCardinality(String)", "Tenant of the API key."),
        Column("edit", "LowCardinality(String)", "span, trace or project for what is deleted; moved for a trace in another project."),
        Column("key", "String", "Trace id and span id together, trace id, or name of the project."),
        Column("project", "LowCardinality(String)", "Where a moved trace is now; empty for deletions."),
        Column("at", "DateTime64(9, 'UTC')", "When. Of a project, spans that began before it are deleted."),
    ),
    engine="ReplacingMergeTree(at)",
    order_by="(tenant, edit, key)",
    writer="span_edits sink",
    feed=Feed(format="ArrowStream", structure=STRUCTURE, select=", ".join(_COLUMNS), columns=_COLUMNS, settings={"optimize_on_insert": "0"}),
)
