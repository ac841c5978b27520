"""The runs of experiments and the evaluations of runs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.runtime.errors import Conflict, NotFound
from query_api.control.dataset_models import LlmEvaluationRow, LlmExperimentExampleRow, LlmExperimentRow, LlmRunRow
from query_api.control.engine import changing, reading
from query_api.control.upsert import inserting
from schemas.global_id import global_id


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a task gave for an example."""

    example: int
    repetition: int
    output: str
    """JSON of any shape."""
    error: str | None
    trace_id: str | None
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Run(NewRun):
    """A stored run."""

    number: int
    experiment: int

    @property
    def latency_ms(self) -> float:
        """How long the task took."""
        return (self.end_us - self.start_us) / 1_000


@dataclass(frozen=True, slots=True)
class NewEvaluation:
    """How an evaluator judged a run: a label, score or explanation, or the error with which it failed."""

    name: str
    annotator_kind: str
    label: str | None
    score: float | None
    explanation: str | None
    error: str | None
    meta: str
    """JSON object."""
    trace_id: str | None
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Evaluation(NewEvaluation):
    """A stored evaluation."""

    number: int
    run: int


_RUN = [LlmRunRow.__table__.c[each.name] for each in fields(Run)]
_EVALUATION = [LlmEvaluationRow.__table__.c[each.name] for each in fields(Evaluation)]


class RunStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, experiment: int, run: NewRun) -> int:
        """Stores a run and returns its number. A failed run of the same example and repetition is replaced, and what was said of it goes.

        Raises `Conflict` when there is a successful one, and `NotFound` when the experiment does not cover the example.
        """
        async with changing(self._engine) as connection:
            await _covers(connection, experiment, run.example)
            values = asdict(run)
            statement = inserting(connection, LlmRunRow).values(experiment=experiment, **values)
            number = await connection.scalar(
                statement.on_conflict_do_update(
                    index_elements=["experiment", "example", "repetition"], set_=values, where=LlmRunRow.error.is_not(None)
                ).returning(LlmRunRow.number)
            )
            if number is None:
                raise await _successful(connection, experiment, run)
            await connection.execute(delete(LlmEvaluationRow).where(LlmEvaluationRow.run == number))
        return int(number)

    async def page(self, experiment: int, *, first: int | None, limit: int | None) -> Sequence[Run]:
        """The newest first, from the one numbered `first` on."""
        query = select(*_RUN).where(LlmRunRow.experiment == experiment).order_by(LlmRunRow.number.desc()).limit(limit)
        return await self._runs(query if first is None else query.where(LlmRunRow.number <= first))

    async def every(self, experiment: int, *, examples: Collection[int] | None = None) -> Sequence[Run]:
        """By example and repetition; only those of some (few) examples when given."""
        query = select(*_RUN).where(LlmRunRow.experiment == experiment).order_by(LlmRunRow.example, LlmRunRow.repetition)
        return await self._runs(query if examples is None else query.where(LlmRunRow.example.in_(examples)))

    async def evaluate(self, tenant: str, run: int, evaluation: NewEvaluation) -> int:
        """Stores an evaluation in place of the run's one of this name and returns its number. Raises `NotFound` for an unknown run."""
        known = select(LlmRunRow.number).join(LlmExperimentRow, LlmExperimentRow.number == LlmRunRow.experiment)
        async with changing(self._engine) as connection:
            if await connection.scalar(known.where(LlmRunRow.number == run, LlmExperimentRow.tenant == tenant)) is None:
                raise NotFound(f"ExperimentRun with ID {global_id('ExperimentRun', run)} does not exist")
            values = asdict(evaluation)
            statement = inserting(connection, LlmEvaluationRow).values(run=run, **values)
            number = await connection.scalar(statement.on_conflict_do_update(index_elements=["run", "name"], set_=values).returning(LlmEvaluationRow.number))
        return int(number)

    async def evaluations(self, experiment: int, *, examples: Collection[int] | None = None) -> Mapping[int, Sequence[Evaluation]]:
        """The evaluations of each run that has any, by name; only of runs on some (few) examples when given."""
        query = select(*_EVALUATION).join(LlmRunRow, LlmRunRow.number == LlmEvaluationRow.run).where(LlmRunRow.experiment == experiment)
        if examples is not None:
            query = query.where(LlmRunRow.example.in_(examples))
        found: dict[int, list[Evaluation]] = {}
        async with reading(self._engine) as connection:
            for row in await connection.execute(query.order_by(LlmEvaluationRow.run, LlmEvaluationRow.name)):
                found.setdefault(row.run, []).append(Evaluation(*row))
        return found

    async def unjudged(self, experiment: int, names: Collection[str], *, first: int | None, limit: int) -> Sequence[tuple[Run, Sequence[str]]]:
        """Successful runs in rising order, from the one numbered `first` on, that lack a successful evaluation of one of these names, with the
        names they lack."""
        run, judged = LlmRunRow, LlmEvaluationRow
        fine = (judged.run == run.number) & judged.name.in_(names) & judged.error.is_(None)
        query = select(run.number).outerjoin_from(run, judged, fine).where(run.experiment == experiment, run.error.is_(None))
        if first is not None:
            query = query.where(run.number >= first)
        query = query.group_by(run.number).having(func.count(judged.number) < len(names)).order_by(run.number).limit(limit)
        async with reading(self._engine) as connection:
            numbers = (await connection.execute(query)).scalars().all()
            if not numbers:
                return []
            runs = await connection.execute(select(*_RUN).where(run.number.in_(numbers)).order_by(run.number))
            there = await connection.execute(select(judged.run, judged.name).where(judged.run.in_(numbers), judged.name.in_(names), judged.error.is_(None)))
            done = {(row.run, row.name) for row in there}
        return [(each, sorted(name for name in names if (each.number, name) not in done)) for each in (Run(*row) for row in runs)]

    async def names(self, experiment: int) -> Sequence[str]:
        """The evaluations that have a score for some run, by name."""
        query = select(LlmEvaluationRow.name).join(LlmRunRow, LlmRunRow.number == LlmEvaluationRow.run).distinct().order_by(LlmEvaluationRow.name)
        async with reading(self._engine) as connection:
            found = await connection.execute(query.where(LlmRunRow.experiment == experiment, LlmEvaluationRow.score.is_not(None)))
            return found.scalars().all()

    async def scores(self, experiment: int, name: str) -> Mapping[int, float]:
        """The mean score over its repetitions of each example with a scored run."""
        query = select(LlmRunRow.example, func.avg(LlmEvaluationRow.score)).join(LlmEvaluationRow, LlmEvaluationRow.run == LlmRunRow.number)
        query = query.where(LlmRunRow.experiment == experiment, LlmEvaluationRow.name == name, LlmEvaluationRow.score.is_not(None))
        async with reading(self._engine) as connection:
            return {example: float(mean) for example, mean in await connection.execute(query.group_by(LlmRunRow.example))}

    async def examples(self, experiments: Collection[int], *, first: int | None, limit: int) -> Sequence[int]:
        """The examples with a run in any of these experiments, in rising order from the one numbered `first` on."""
        query = select(LlmRunRow.example).where(LlmRunRow.experiment.in_(experiments)).distinct().order_by(LlmRunRow.example).limit(limit)
        async with reading(self._engine) as connection:
            return (await connection.execute(query if first is None else query.where(LlmRunRow.example >= first))).scalars().all()

    async def _runs(self, query: Select[Any]) -> Sequence[Run]:
        async with reading(self._engine) as connection:
            return [Run(*row) for row in await connection.execute(query)]


async def _covers(connection: AsyncConnection, experiment: int, example: int) -> None:
    covered = select(LlmExperimentExampleRow.example).where(LlmExperimentExampleRow.experiment == experiment, LlmExperimentExampleRow.example == example)
    if await connection.scalar(covered) is None:
        raise NotFound(f"DatasetExample with ID {global_id('DatasetExample', example)} is not among the examples of this experiment")


async def _successful(connection: AsyncConnection, experiment: int, run: NewRun) -> Conflict:
    here = (LlmRunRow.experiment == experiment, LlmRunRow.example == run.example, LlmRunRow.repetition == run.repetition)
    number = await connection.scalar(select(LlmRunRow.number).where(*here))
    return Conflict(f"Experiment run {global_id('ExperimentRun', number or 0)} already exists with a successful result and cannot be updated")
