"""Datasets of the LLM surface, and the experiments on them."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _number() -> sa.Column[Any]:
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True)


def _of(column: str, table: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(column, sa.BigInteger, sa.ForeignKey(f"{table}.number", ondelete="CASCADE"), nullable=False, **options)


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _big(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _name(name: str = "name", length: int = 300) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=False)


def upgrade() -> None:
    op.create_table(
        "datasets",
        _number(),
        _name("tenant", 64),
        _name(),
        _text("description", nullable=True),
        _text("meta"),
        _big("examples_made"),
        _big("created_at_us"),
        _big("updated_at_us"),
        sa.UniqueConstraint("tenant", "name", name="datasets_by_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "dataset_versions",
        _number(),
        _of("dataset", "datasets"),
        _text("description", nullable=True),
        _text("meta"),
        _big("example_count"),
        _big("created_at_us"),
        sqlite_autoincrement=True,
    )
    op.create_index("dataset_versions_by_dataset", "dataset_versions", ["dataset", "number"])
    op.create_table(
        "dataset_examples",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        _of("dataset", "datasets"),
        _text("external_id", nullable=True),
        sa.Column("trace_id", sa.String(32), nullable=True),
        sa.Column("span_id", sa.String(16), nullable=True),
        sa.UniqueConstraint("dataset", "external_id", name="dataset_examples_by_id"),
    )
    op.create_table(
        "dataset_example_revisions",
        _of("example", "dataset_examples", primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        _big("until", nullable=True),
        _big("dataset"),
        _text("input"),
        _text("output"),
        _text("meta"),
        _name("digest", 32),
        _big("at_us"),
    )
    op.create_index("dataset_example_revisions_by_dataset", "dataset_example_revisions", ["dataset", "version"])
    op.create_table(
        "dataset_splits",
        _number(),
        _name("tenant", 64),
        _name(),
        _text("description", nullable=True),
        _name("color", 64),
        _text("meta"),
        _big("created_at_us"),
        _big("updated_at_us"),
        sa.UniqueConstraint("tenant", "name", name="dataset_splits_by_name"),
        sqlite_autoincrement=True,
    )
    op.create_table("dataset_split_examples", _of("example", "dataset_examples", primary_key=True), _of("split", "dataset_splits", primary_key=True))
    op.create_index("dataset_split_examples_by_split", "dataset_split_examples", ["split"])
    op.create_table(
        "llm_experiments",
        _number(),
        _name("tenant", 64),
        _of("dataset", "datasets"),
        _big("version"),
        _name(),
        _text("description", nullable=True),
        sa.Column("repetitions", sa.Integer, nullable=False),
        _text("meta"),
        _name("project_name"),
        _big("created_at_us"),
        _big("updated_at_us"),
        sqlite_autoincrement=True,
    )
    op.create_index("llm_experiments_by_dataset", "llm_experiments", ["dataset", "number"])
    op.create_table("llm_experiment_examples", _of("experiment", "llm_experiments", primary_key=True), sa.Column("example", sa.BigInteger, primary_key=True))
    op.create_table(
        "llm_experiment_runs",
        _number(),
        _of("experiment", "llm_experiments"),
        _big("example"),
        sa.Column("repetition", sa.Integer, nullable=False),
        _text("output"),
        _text("error", nullable=True),
        _text("trace_id", nullable=True),
        _big("start_us"),
        _big("end_us"),
        sa.UniqueConstraint("experiment", "example", "repetition", name="llm_experiment_runs_once"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "llm_experiment_evaluations",
        _number(),
        _of("run", "llm_experiment_runs"),
        _name(),
        _name("annotator_kind", 16),
        _text("label", nullable=True),
        sa.Column("score", sa.Float, nullable=True),
        _text("explanation", nullable=True),
        _text("error", nullable=True),
        _text("meta"),
        _text("trace_id", nullable=True),
        _big("start_us"),
        _big("end_us"),
        sa.UniqueConstraint("run", "name", name="llm_experiment_evaluations_once"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    for table in (
        "llm_experiment_evaluations",
        "llm_experiment_runs",
        "llm_experiment_examples",
        "llm_experiments",
        "dataset_split_examples",
        "dataset_splits",
        "dataset_example_revisions",
        "dataset_examples",
        "dataset_versions",
        "datasets",
    ):
        op.drop_table(table)
