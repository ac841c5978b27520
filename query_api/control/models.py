"""The tables of the control store. A change here needs a migration; a test compares both."""

from sqlalchemy import BigInteger, Boolean, Index, Integer, String, Text, text
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
