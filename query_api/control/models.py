"""The tables of the control store. A change here needs a migration; a test compares both."""

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only for a column of exactly INTEGER."""


class Base(DeclarativeBase):
    """Root of the tables."""


class DefinitionRow(Base):
    """The newest version of each definition. Deleted ones stay, so that their version goes on rising."""

    __tablename__ = "definitions"

    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(300), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    payload: Mapped[str] = mapped_column(Text)
    """Canonical JSON, kept as text so that equal means equal; empty when deleted."""
    deleted: Mapped[bool] = mapped_column(Boolean)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)


class OutboxRow(Base):
    """A change on its way to the control topic, written in the same transaction as the definition."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_unpublished", "seq", sqlite_where=text("published_at_us IS NULL"), postgresql_where=text("published_at_us IS NULL")),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    """Rises; for one definition in the order of its versions."""
    kind: Mapped[str] = mapped_column(String(32))
    tenant: Mapped[str] = mapped_column(String(64))
    id: Mapped[str] = mapped_column(String(300))
    version: Mapped[int] = mapped_column(BigInteger)
    payload: Mapped[str] = mapped_column(Text)
    deleted: Mapped[bool] = mapped_column(Boolean)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)
    published_at_us: Mapped[int | None] = mapped_column(BigInteger)
    """When the broker acknowledged it; empty until then."""


class AuditRow(Base):
    """One line of the audit log. Rows are only ever added; triggers refuse everything else."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("audit_log_by_tenant", "tenant", "seq"),
        Index("audit_log_by_subject", "tenant", "kind", "id", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    at_us: Mapped[int] = mapped_column(BigInteger)
    tenant: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(String(300))
    key_name: Mapped[str] = mapped_column(String(300))
    user_id: Mapped[str] = mapped_column(String(300))
    action: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    id: Mapped[str] = mapped_column(String(300))
    before: Mapped[str] = mapped_column(Text)
    """Changed fields as JSON."""
    after: Mapped[str] = mapped_column(Text)
    evidence: Mapped[str | None] = mapped_column(Text)


class WebhookRow(Base):
    """Where a tenant wants to be told of events."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("webhooks_by_tenant", "tenant"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    url: Mapped[str] = mapped_column(String(2000))
    description: Mapped[str] = mapped_column(String(300))
    events: Mapped[str] = mapped_column(Text)
    """JSON list of names; empty means all."""
    secret: Mapped[str] = mapped_column(String(200))
    """In clear, because messages are signed with it. Nothing but the sender reads it."""
    previous_secret: Mapped[str | None] = mapped_column(String(200))
    previous_until_us: Mapped[int | None] = mapped_column(BigInteger)
    """Until then messages are signed with both secrets."""
    enabled: Mapped[bool] = mapped_column(Boolean)
    disabled_reason: Mapped[str] = mapped_column(String(300))
    created_at_us: Mapped[int] = mapped_column(BigInteger)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)


class WebhookEventRow(Base):
    """An event that at least one webhook is told of."""

    __tablename__ = "webhook_events"
    __table_args__ = (Index("webhook_events_by_time", "at_us"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Sent as `webhook-id`, so that a receiver knows what it got twice."""
    tenant: Mapped[str] = mapped_column(String(64))
    type: Mapped[str] = mapped_column(String(64))
    body: Mapped[str] = mapped_column(Text)
    at_us: Mapped[int] = mapped_column(BigInteger)
    audit_seq: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    """Line of the audit log that it was made from."""


class WebhookDeliveryRow(Base):
    """One event on its way to one webhook."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook", "event", name="webhook_deliveries_once"),
        Index(
            "webhook_deliveries_due", "next_attempt_us", sqlite_where=text("next_attempt_us IS NOT NULL"), postgresql_where=text("next_attempt_us IS NOT NULL")
        ),
        Index("webhook_deliveries_by_event", "event"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    webhook: Mapped[str] = mapped_column(String(64), ForeignKey("webhooks.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(64), ForeignKey("webhook_events.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(16))
    """pending, delivered or failed."""
    attempts: Mapped[int] = mapped_column(Integer)
    """How many were made."""
    next_attempt_us: Mapped[int | None] = mapped_column(BigInteger)
    """Empty when none will follow."""
    attempted_at_us: Mapped[int | None] = mapped_column(BigInteger)
    response_code: Mapped[int | None] = mapped_column(Integer)
    """Of the last attempt; empty when no answer came."""
    error: Mapped[str] = mapped_column(String(300))
    """Why the last attempt failed; empty when it did not."""
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    created_at_us: Mapped[int] = mapped_column(BigInteger)


class WebhookProgressRow(Base):
    """Up to where the audit log was turned into events; one row."""

    __tablename__ = "webhook_progress"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    audit_seq: Mapped[int] = mapped_column(BigInteger)


class SignificantRow(Base):
    """A metric of an experiment that became significant in a variant, once and for all."""

    __tablename__ = "significant_results"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    experiment: Mapped[str] = mapped_column(String(300), primary_key=True)
    metric: Mapped[str] = mapped_column(String(300), primary_key=True)
    variant: Mapped[str] = mapped_column(String(300), primary_key=True)
    at_us: Mapped[int] = mapped_column(BigInteger)


class CrossedThresholdRow(Base):
    """A threshold of an evaluation rule that is crossed, and was told of. It goes when the threshold recovers."""

    __tablename__ = "crossed_thresholds"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    rule: Mapped[str] = mapped_column(String(300), primary_key=True)
    alert: Mapped[str] = mapped_column(String(300), primary_key=True)
    at_us: Mapped[int] = mapped_column(BigInteger)


class ProjectRow(Base):
    """A project of the LLM surface."""

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("tenant", "name", name="projects_by_name"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    """The number in its GlobalID."""
    tenant: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(300))
    description: Mapped[str | None] = mapped_column(Text)
    of_experiment: Mapped[bool] = mapped_column(Boolean)
    """Whether it holds the traces of an experiment, and so is hidden from lists unless asked for."""
    created_at_us: Mapped[int] = mapped_column(BigInteger)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)


class AnnotationConfigRow(Base):
    """An annotation configuration of the LLM surface."""

    __tablename__ = "annotation_configs"
    __table_args__ = (UniqueConstraint("tenant", "name", name="annotation_configs_by_name"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    """The number in its GlobalID."""
    tenant: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    """As it was sent, as JSON."""
    created_at_us: Mapped[int] = mapped_column(BigInteger)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)


class PromptRow(Base):
    """A prompt of the LLM surface."""

    __tablename__ = "prompts"
    __table_args__ = (UniqueConstraint("tenant", "name", name="prompts_by_name"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    """The number in its GlobalID."""
    tenant: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(300))
    description: Mapped[str | None] = mapped_column(Text)
    source: Mapped[int | None] = mapped_column(BigInteger)
    """Number of the prompt it was copied from, which may be gone."""
    metadata_: Mapped[str] = mapped_column("metadata", Text)
    """JSON object."""
    created_at_us: Mapped[int] = mapped_column(BigInteger)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)


class PromptVersionRow(Base):
    """A version of a prompt. Rows are added and, with their prompt, removed; they never change."""

    __tablename__ = "prompt_versions"
    __table_args__ = (Index("prompt_versions_by_prompt", "prompt", "number"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    """The number in its GlobalID; rises with every version."""
    prompt: Mapped[int] = mapped_column(BigInteger, ForeignKey("prompts.number", ondelete="CASCADE"))
    body: Mapped[str] = mapped_column(Text)
    """The version as it was sent, as JSON."""
    created_at_us: Mapped[int] = mapped_column(BigInteger)


class PromptTagRow(Base):
    """A name for one version of a prompt."""

    __tablename__ = "prompt_tags"
    __table_args__ = (
        UniqueConstraint("prompt", "name", name="prompt_tags_by_name"),
        Index("prompt_tags_by_version", "version", "number"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    """The number in its GlobalID."""
    prompt: Mapped[int] = mapped_column(BigInteger, ForeignKey("prompts.number", ondelete="CASCADE"))
    version: Mapped[int] = mapped_column(BigInteger, ForeignKey("prompt_versions.number", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(300))
    description: Mapped[str | None] = mapped_column(Text)
