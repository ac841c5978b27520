"""The tables of the control store that hold the crucible surface's experiments, models and statistical results. A change here needs a migration; a test compares both.

Texts called JSON hold what a client sent, encoded once.
"""

from sqlalchemy import BigInteger, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from query_api.control.models import Base

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only for a column of exactly INTEGER."""


class MlExperimentRow(Base):
    """An experiment of the crucible surface; its runs are in its telemetry."""

    __tablename__ = "ml_experiments"
    __table_args__ = (
        UniqueConstraint("tenant", "id", name="ml_experiments_by_id"),
        Index("ml_experiments_by_tenant", "tenant", "number"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    """Rises; sets the order of those that are equal otherwise."""
    tenant: Mapped[str] = mapped_column(String(64))
    id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(300))
    description: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    config: Mapped[str] = mapped_column(Text)
    """JSON object."""
    tags: Mapped[str] = mapped_column(Text)
    """JSON list."""
    started_at_us: Mapped[int | None] = mapped_column(BigInteger)
    completed_at_us: Mapped[int | None] = mapped_column(BigInteger)
    created_at_us: Mapped[int] = mapped_column(BigInteger)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)


class MlModelRow(Base):
    """A model of the registry."""

    __tablename__ = "ml_models"
    __table_args__ = (
        UniqueConstraint("tenant", "id", name="ml_models_by_id"),
        Index("ml_models_by_tenant", "tenant", "number"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(String(64))
    id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(300))
    provider: Mapped[str] = mapped_column(String(300))
    type: Mapped[str] = mapped_column(String(64))
    config: Mapped[str] = mapped_column(Text)
    """JSON object."""
    status: Mapped[str] = mapped_column(String(16))
    created_at_us: Mapped[int] = mapped_column(BigInteger)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)


class StatisticalResultRow(Base):
    """What a statistical test came to when it was run. Rows are added and never change."""

    __tablename__ = "statistical_results"
    __table_args__ = (
        UniqueConstraint("tenant", "id", name="statistical_results_by_id"),
        Index("statistical_results_by_experiment", "tenant", "experiment", "number"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(String(64))
    id: Mapped[str] = mapped_column(String(64))
    experiment: Mapped[str] = mapped_column(String(64))
    """Id of an experiment, which may be gone."""
    test_type: Mapped[str] = mapped_column(String(64))
    body: Mapped[str] = mapped_column(Text)
    """JSON object: everything else of the result."""
    created_at_us: Mapped[int] = mapped_column(BigInteger)
