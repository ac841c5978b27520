"""Experiments, models and statistical results of the crucible surface."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _number() -> sa.Column[Any]:
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True)


def _name(name: str, length: int) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=False)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "ml_experiments",
        _number(),
        _name("tenant", 64),
        _name("id", 64),
        _name("name", 300),
        _text("description"),
        _name("status", 16),
        _text("config"),
        _text("tags"),
        _time("started_at_us", nullable=True),
        _time("completed_at_us", nullable=True),
        _time("created_at_us"),
        _time("updated_at_us"),
        sa.UniqueConstraint("tenant", "id", name="ml_experiments_by_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ml_experiments_by_tenant", "ml_experiments", ["tenant", "number"])
    op.create_table(
        "ml_models",
        _number(),
        _name("tenant", 64),
        _name("id", 64),
        _name("name", 300),
        _name("provider", 300),
        _name("type", 64),
        _text("config"),
        _name("status", 16),
        _time("created_at_us"),
        _time("updated_at_us"),
        sa.UniqueConstraint("tenant", "id", name="ml_models_by_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ml_models_by_tenant", "ml_models", ["tenant", "number"])
    op.create_table(
        "statistical_results",
        _number(),
        _name("tenant", 64),
        _name("id", 64),
        _name("experiment", 64),
        _name("test_type", 64),
        _text("body"),
        _time("created_at_us"),
        sa.UniqueConstraint("tenant", "id", name="statistical_results_by_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("statistical_results_by_experiment", "statistical_results", ["tenant", "experiment", "number"])


def downgrade() -> None:
    for table in ("statistical_results", "ml_models", "ml_experiments"):
        op.drop_table(table)
