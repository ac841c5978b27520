"""Webhooks, their events and deliveries, and the results that were announced."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("description", sa.String(300), nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("secret", sa.String(200), nullable=False),
        sa.Column("previous_secret", sa.String(200), nullable=True),
        sa.Column("previous_until_us", sa.BigInteger, nullable=True),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("disabled_reason", sa.String(300), nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("updated_at_us", sa.BigInteger, nullable=False),
    )
    op.create_index("webhooks_by_tenant", "webhooks", ["tenant"])
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("audit_seq", sa.BigInteger, nullable=True, unique=True),
    )
    op.create_index("webhook_events_by_time", "webhook_events", ["at_us"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("webhook", sa.String(64), sa.ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("event", sa.String(64), sa.ForeignKey("webhook_events.id", ondelete="CASCADE"), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_us", sa.BigInteger, nullable=True),
        sa.Column("attempted_at_us", sa.BigInteger, nullable=True),
        sa.Column("response_code", sa.Integer, nullable=True),
        sa.Column("error", sa.String(300), nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=True),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("webhook", "event", name="webhook_deliveries_once"),
    )
    due = sa.text("next_attempt_us IS NOT NULL")
    op.create_index("webhook_deliveries_due", "webhook_deliveries", ["next_attempt_us"], sqlite_where=due, postgresql_where=due)
    op.create_index("webhook_deliveries_by_event", "webhook_deliveries", ["event"])
    op.create_table(
        "webhook_progress",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("audit_seq", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "significant_results",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("experiment", sa.String(300), primary_key=True),
        sa.Column("metric", sa.String(300), primary_key=True),
        sa.Column("variant", sa.String(300), primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in ("significant_results", "webhook_progress", "webhook_deliveries", "webhook_events", "webhooks"):
        op.drop_table(table)
