"""Prompts of the LLM surface, with their versions and tags."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _number() -> sa.Column[int]:
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True)


def upgrade() -> None:
    op.create_table(
        "prompts",
        _number(),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("description", sa.Text, nullable=True),
        sa.Column("source", sa.BigInteger, nullable=True),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("updated_at_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("tenant", "name", name="prompts_by_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "prompt_versions",
        _number(),
        sa.Column("prompt", sa.BigInteger, sa.ForeignKey("prompts.number", ondelete="CASCADE"), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("prompt_versions_by_prompt", "prompt_versions", ["prompt", "number"])
    op.create_table(
        "prompt_tags",
        _number(),
        sa.Column("prompt", sa.BigInteger, sa.ForeignKey("prompts.number", ondelete="CASCADE"), nullable=False),
        sa.Column("version", sa.BigInteger, sa.ForeignKey("prompt_versions.number", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("description", sa.Text, nullable=True),
        sa.UniqueConstraint("prompt", "name", name="prompt_tags_by_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("prompt_tags_by_version", "prompt_tags", ["version", "number"])


def downgrade() -> None:
    op.drop_table("prompt_tags")
    op.drop_table("prompt_versions")
    op.drop_table("prompts")
