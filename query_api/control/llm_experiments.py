"""Experiments on datasets, and how far their runs have come."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.runtime.clock import Clock
from query_api.control.audit import Actor, AuditEntry, add_entries
from query_api.control.dataset_models import ExampleRow, LlmExperimentExampleRow, LlmExperimentRow, LlmRunRow
from query_api.control.datasets import held_in
from query_api.control.engine import changing, reading


class Experiment(NamedTuple):
    """An experiment."""

    number: int
    tenant: str
    dataset: int
    version: int
    name: str
    description: str | None
    repetitions: int
    meta: str
    """JSON object."""
    project_name: str
    created_at_us: int
    updated_at_us: int
    example_count: int = 0
    successful_runs: int = 0
    failed_runs: int = 0

    @property
    def missing_runs(self) -> int:
        """Runs that nobody has made yet."""
        return self.example_count * self.repetitions - self.successful_runs - self.failed_runs


_FIELDS = Experiment._fields[:11]
_COUNTED = select(func.count()).where(LlmExperimentExampleRow.experiment == LlmExperimentRow.number)
_RUNS = select(func.count()).where(LlmRunRow.experiment == LlmExperimentRow.number)
_EXPERIMENT = [
    *(LlmExperimentRow.__table__.c[name] for name in _FIELDS),
    _COUNTED.scalar_subquery().label("example_count"),
    _RUNS.where(LlmRunRow.error.is_(None)).scalar_subquery().label("successful_runs"),
    _RUNS.where(LlmRunRow.error.is_not(None)).scalar_subquery().label("failed_runs"),
]


class ExperimentStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def create(self, tenant: str, values: Mapping[str, Any], splits: Collection[int] | None, actor: Actor) -> Experiment:
        """Stores an experiment on the examples that its version of the dataset holds now, those of splits only when given."""
        now = self._clock.now_us()
        row = {"tenant": tenant, **values, "created_at_us": now, "updated_at_us": now}
        async with changing(self._engine) as connection:
            number = (await connection.execute(insert(LlmExperimentRow).values(**row).returning(LlmExperimentRow.number))).scalar_one()
            covered = held_in(select(literal(number, BigInteger), ExampleRow.number), row["dataset"], row["version"], splits)
            covers = await connection.execute(insert(LlmExperimentExampleRow).from_select(["experiment", "example"], covered))
            after = {"dataset": row["dataset"], "version": row["version"], "repetitions": row["repetitions"]}
            await add_entries(connection, [AuditEntry(tenant, actor, "llm_experiment.created", "llm_experiment", row["name"], {}, after)], now)
        return Experiment(number=number, **row, example_count=covers.rowcount)

    async def of_dataset(self, dataset: int, *, first: int | None, limit: int) -> Sequence[Experiment]:
        """The newest first, from the one numbered `first` on."""
        query = select(*_EXPERIMENT).where(LlmExperimentRow.dataset == dataset)
        if first is not None:
            query = query.where(LlmExperimentRow.number <= first)
        return await self._found(query.order_by(LlmExperimentRow.number.desc()).limit(limit))

    async def by_number(self, tenant: str, number: int) -> Experiment | None:
        found = await self._found(select(*_EXPERIMENT).where(LlmExperimentRow.tenant == tenant, LlmExperimentRow.number == number))
        return found[0] if found else None

    async def projects(self, dataset: int) -> Sequence[str]:
        """The names of the projects of a dataset's experiments."""
        async with reading(self._engine) as connection:
            return (await connection.execute(select(LlmExperimentRow.project_name).where(LlmExperimentRow.dataset == dataset))).scalars().all()

    async def change(self, experiment: Experiment, values: Mapping[str, Any], actor: Actor) -> Experiment:
        """Changes these fields."""
        after = experiment._replace(**values, updated_at_us=self._clock.now_us())
        async with changing(self._engine) as connection:
            one = update(LlmExperimentRow).where(LlmExperimentRow.number == experiment.number)
            await connection.execute(one.values(**values, updated_at_us=after.updated_at_us))
            old = {name: getattr(experiment, name) for name in values}
            line = AuditEntry(experiment.tenant, actor, "llm_experiment.updated", "llm_experiment", experiment.name, old, values)
            await add_entries(connection, [line], after.updated_at_us)
        return after

    async def remove(self, experiment: Experiment, actor: Actor) -> None:
        """Forgets an experiment with its runs; nothing happens when it is gone already."""
        async with changing(self._engine) as connection:
            gone = await connection.execute(delete(LlmExperimentRow).where(LlmExperimentRow.number == experiment.number))
            if gone.rowcount:
                before = {"dataset": experiment.dataset, "version": experiment.version}
                line = AuditEntry(experiment.tenant, actor, "llm_experiment.deleted", "llm_experiment", experiment.name, before, {})
                await add_entries(connection, [line], self._clock.now_us())

    async def incomplete(self, experiment: Experiment, *, first: int | None, limit: int) -> Sequence[tuple[int, Sequence[int]]]:
        """Examples in rising order, from the one numbered `first` on, and the repetitions of each that have no successful run."""
        covered, run = LlmExperimentExampleRow, LlmRunRow
        done = (run.experiment == covered.experiment) & (run.example == covered.example) & run.error.is_(None)
        query = select(covered.example).outerjoin_from(covered, run, done).where(covered.experiment == experiment.number)
        if first is not None:
            query = query.where(covered.example >= first)
        query = query.group_by(covered.example).having(func.count(run.number) < experiment.repetitions).order_by(covered.example).limit(limit)
        made = select(run.example, run.repetition).where(run.experiment == experiment.number, run.error.is_(None))
        async with reading(self._engine) as connection:
            examples = (await connection.execute(query)).scalars().all()
            if not examples:
                return []
            runs = await connection.execute(made.where(run.example.between(examples[0], examples[-1])))
            pairs = {(row.example, row.repetition) for row in runs}
        return [(example, [number for number in range(1, experiment.repetitions + 1) if (example, number) not in pairs]) for example in examples]

    async def _found(self, query: Select[Any]) -> Sequence[Experiment]:
        async with reading(self._engine) as connection:
            return [Experiment(**row) for row in (await connection.execute(query)).mappings()]
