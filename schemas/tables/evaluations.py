"""Evaluations: what became of each span that a rule of online evaluation judged."""

from schemas.tables.table import Column, Feed, Table

_NAME = "LowCardinality(String)"
_TIME = "DateTime64(6, 'UTC')"

_OWN = (
    Column("tenant", _NAME, "Tenant of the rule."),
    Column("rule", _NAME, "Id of the rule."),
    Column("trace_id", "String", "Trace of the span, lower-case hex."),
    Column("span_id", "String", "The span, lower-case hex."),
    Column("project", _NAME, "Project of the span when it was judged."),
    Column("time", _TIME, "When the span ended; the time its evaluation is counted at."),
    Column("outcome", _NAME, "judged or failed."),
    Column("label", "Nullable(String)", "Label given."),
    Column("score", "Nullable(Float64)", "Score given."),
    Column("reason", _NAME, "Of a failure, why, in one word; see `infra/docs/online-evaluation.md`."),
    Column("detail", "String", "Of a failure, why, in a sentence.", "CODEC(ZSTD(1))"),
    Column("calls", "Int32", "Calls of a model it took."),
    Column("tokens", "Int32", "Tokens of these calls, prompt and completion."),
    Column("cost", "Float64", "Cost of these calls under the tenant's price list; 0 without a price."),
    Column("currency", _NAME, "Of the cost; empty without a price."),
    Column("evaluated", _TIME, "When it was judged; the newest counts."),
)

EVALUATIONS = Table(
    name="evaluations",
    meaning="What became of each span that a rule judged. Read with FINAL: a span judged again by the same rule is one row.",
    columns=_OWN,
    engine="ReplacingMergeTree(evaluated)",
    order_by="(tenant, rule, toStartOfMinute(time), trace_id, span_id)",
    ttl="toDate(evaluated) + INTERVAL {days} DAY",
    writer="evaluations sink",
    feed=Feed(
        format="ArrowStream",
        structure=", ".join(
            f"{column.name} {column.type.removeprefix('LowCardinality(').removesuffix(')') if column.type == _NAME else column.type}" for column in _OWN
        ),
        select=", ".join(column.name for column in _OWN),
        columns=tuple(column.name for column in _OWN),
        settings={"optimize_on_insert": "0"},
    ),
)
