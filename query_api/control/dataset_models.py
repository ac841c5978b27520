"""The tables of the control store that hold datasets and the experiments on them. A change here needs a migration; a test compares both.

Texts called JSON hold what a client sent, encoded once, and go out as they are.
"""

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from query_api.control.models import Base

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only for a column of exactly INTEGER."""


class DatasetRow(Base):
    """A dataset."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("tenant", "name", name="datasets_by_name"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    """The number in its GlobalID."""
    tenant: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(300))
    description: Mapped[str | None] = mapped_column(Text)
    meta: Mapped[str] = mapped_column(Text)
    """JSON object."""
    examples_made: Mapped[int] = mapped_column(BigInteger)
    """How many examples it ever had; the next one gets the number after."""
    created_at_us: Mapped[int] = mapped_column(BigInteger)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)


class DatasetVersionRow(Base):
    """A state of a dataset's examples."""

    __tablename__ = "dataset_versions"
    __table_args__ = (Index("dataset_versions_by_dataset", "dataset", "number"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    """Rises within a dataset."""
    dataset: Mapped[int] = mapped_column(BigInteger, ForeignKey("datasets.number", ondelete="CASCADE"))
    description: Mapped[str | None] = mapped_column(Text)
    meta: Mapped[str] = mapped_column(Text)
    example_count: Mapped[int] = mapped_column(BigInteger)
    created_at_us: Mapped[int] = mapped_column(BigInteger)


class ExampleRow(Base):
    """An example: what stays of it over all versions."""

    __tablename__ = "dataset_examples"
    __table_args__ = (UniqueConstraint("dataset", "external_id", name="dataset_examples_by_id"),)

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """The dataset's number and, in the low 32 bits, its own: numbers rise in the order of upload."""
    dataset: Mapped[int] = mapped_column(BigInteger, ForeignKey("datasets.number", ondelete="CASCADE"))
    external_id: Mapped[str | None] = mapped_column(Text)
    """The id that its author gave it."""
    trace_id: Mapped[str | None] = mapped_column(String(32))
    """Of the span it was made from."""
    span_id: Mapped[str | None] = mapped_column(String(16))


class ExampleRevisionRow(Base):
    """What an example held from one version on, up to but not including another."""

    __tablename__ = "dataset_example_revisions"
    __table_args__ = (Index("dataset_example_revisions_by_dataset", "dataset", "version"),)

    example: Mapped[int] = mapped_column(BigInteger, ForeignKey("dataset_examples.number", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    until: Mapped[int | None] = mapped_column(BigInteger)
    """Empty while it holds."""
    dataset: Mapped[int] = mapped_column(BigInteger)
    input: Mapped[str] = mapped_column(Text)
    output: Mapped[str] = mapped_column(Text)
    meta: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(32))
    """Of input, output and metadata, whatever the order of their keys."""
    at_us: Mapped[int] = mapped_column(BigInteger)


class SplitRow(Base):
    """A named part that examples of any dataset may belong to. Which do is not versioned."""

    __tablename__ = "dataset_splits"
    __table_args__ = (UniqueConstraint("tenant", "name", name="dataset_splits_by_name"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(300))
    description: Mapped[str | None] = mapped_column(Text)
    color: Mapped[str] = mapped_column(String(64))
    meta: Mapped[str] = mapped_column(Text)
    created_at_us: Mapped[int] = mapped_column(BigInteger)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)


class SplitExampleRow(Base):
    """An example that belongs to a split."""

    __tablename__ = "dataset_split_examples"
    __table_args__ = (Index("dataset_split_examples_by_split", "split"),)

    example: Mapped[int] = mapped_column(BigInteger, ForeignKey("dataset_examples.number", ondelete="CASCADE"), primary_key=True)
    split: Mapped[int] = mapped_column(BigInteger, ForeignKey("dataset_splits.number", ondelete="CASCADE"), primary_key=True)


class LlmExperimentRow(Base):
    """An experiment: a task, run on every example of a version of a dataset."""

    __tablename__ = "llm_experiments"
    __table_args__ = (Index("llm_experiments_by_dataset", "dataset", "number"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(String(64))
    dataset: Mapped[int] = mapped_column(BigInteger, ForeignKey("datasets.number", ondelete="CASCADE"))
    version: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(300))
    description: Mapped[str | None] = mapped_column(Text)
    repetitions: Mapped[int] = mapped_column(Integer)
    meta: Mapped[str] = mapped_column(Text)
    project_name: Mapped[str] = mapped_column(String(300))
    """Where the traces of its task go."""
    created_at_us: Mapped[int] = mapped_column(BigInteger)
    updated_at_us: Mapped[int] = mapped_column(BigInteger)


class LlmExperimentExampleRow(Base):
    """An example that an experiment covers, fixed when the experiment was made."""

    __tablename__ = "llm_experiment_examples"

    experiment: Mapped[int] = mapped_column(BigInteger, ForeignKey("llm_experiments.number", ondelete="CASCADE"), primary_key=True)
    example: Mapped[int] = mapped_column(BigInteger, primary_key=True)


class LlmRunRow(Base):
    """What the task of an experiment gave for an example, once per repetition."""

    __tablename__ = "llm_experiment_runs"
    __table_args__ = (UniqueConstraint("experiment", "example", "repetition", name="llm_experiment_runs_once"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    experiment: Mapped[int] = mapped_column(BigInteger, ForeignKey("llm_experiments.number", ondelete="CASCADE"))
    example: Mapped[int] = mapped_column(BigInteger)
    repetition: Mapped[int] = mapped_column(Integer)
    """From 1."""
    output: Mapped[str] = mapped_column(Text)
    """JSON of any shape."""
    error: Mapped[str | None] = mapped_column(Text)
    """Why the task failed; empty when it did not."""
    trace_id: Mapped[str | None] = mapped_column(Text)
    start_us: Mapped[int] = mapped_column(BigInteger)
    end_us: Mapped[int] = mapped_column(BigInteger)


class LlmEvaluationRow(Base):
    """How an evaluator judged a run."""

    __tablename__ = "llm_experiment_evaluations"
    __table_args__ = (UniqueConstraint("run", "name", name="llm_experiment_evaluations_once"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    run: Mapped[int] = mapped_column(BigInteger, ForeignKey("llm_experiment_runs.number", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(300))
    annotator_kind: Mapped[str] = mapped_column(String(16))
    label: Mapped[str | None] = mapped_column(Text)
    score: Mapped[float | None] = mapped_column(Float)
    explanation: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    """Why the evaluator failed; empty when it did not."""
    meta: Mapped[str] = mapped_column(Text)
    trace_id: Mapped[str | None] = mapped_column(Text)
    start_us: Mapped[int] = mapped_column(BigInteger)
    end_us: Mapped[int] = mapped_column(BigInteger)
