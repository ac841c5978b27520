"""Thresholds of evaluation rules that are crossed."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crossed_thresholds",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("rule", sa.String(300), primary_key=True),
        sa.Column("alert", sa.String(300), primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("crossed_thresholds")
