"""One suite for datasets and experiments on every database the control store runs on."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import Conflict, NotFound
from query_api.control.audit import Actor, AuditFilter
from query_api.control.dataset_plan import Action, NewExample
from query_api.control.dataset_writes import DatasetWriter, Written
from query_api.control.datasets import Dataset, DatasetStore
from query_api.control.llm_experiments import Experiment, ExperimentStore
from query_api.control.llm_runs import NewEvaluation, NewRun, RunStore
from query_api.control.splits import SplitStore
from query_api.control.store import ControlStore

ACTOR = Actor("key", "name", "user")


class Stores(NamedTuple):
    """The stores over one database, for a tenant of its own."""

    tenant: str
    control: ControlStore
    writer: DatasetWriter
    datasets: DatasetStore
    splits: SplitStore
    experiments: ExperimentStore
    runs: RunStore

    async def write(self, texts: Sequence[str], action: Action = "create", *, name: str = "d", splits: Sequence[frozenset[str]] | None = None) -> Written:
        """Examples whose input is a text."""
        rows = [NewExample(text, "{}", "{}", text, splits[number] if splits else frozenset()) for number, text in enumerate(texts)]
        return await self.writer.write(self.tenant, name, None, action, rows, ACTOR, set_splits=splits is not None)

    async def inputs(self, written: Written, splits: Sequence[int] | None = None) -> list[str]:
        return [each.input for each in await self.datasets.examples(written.dataset, written.version, splits=splits)]

    async def experiment(self, written: Written, repetitions: int = 1, splits: Sequence[int] | None = None) -> Experiment:
        fields = {"dataset": written.dataset, "version": written.version, "name": "e", "description": None, "repetitions": repetitions, "meta": "{}"}
        return await self.experiments.create(self.tenant, {**fields, "project_name": uuid.uuid4().hex}, splits, ACTOR)


@pytest.fixture
async def stores(database: str) -> AsyncIterator[Stores]:
    control, clock = ControlStore(database), SystemClock()
    await control.migrate()
    yield Stores(
        uuid.uuid4().hex,
        control,
        DatasetWriter(control.engine, clock),
        DatasetStore(control.engine, clock),
        SplitStore(control.engine, clock),
        ExperimentStore(control.engine, clock),
        RunStore(control.engine),
    )
    await control.close()


def run(example: int, repetition: int = 1, error: str | None = None) -> NewRun:
    return NewRun(example, repetition, '"out"', error, None, 0, 1_500)


def evaluation(name: str, score: float | None, error: str | None = None) -> NewEvaluation:
    return NewEvaluation(name, "CODE", None, score, None, error, "{}", None, 0, 1)


async def test_versions_keep_what_they_held(stores: Stores) -> None:
    first = await stores.write(["a", "b", "c"])
    second = await stores.write(["b", "d"], "update")
    third = await stores.write(["e"], "append")
    assert [await stores.inputs(each) for each in (first, second, third)] == [["a", "b", "c"], ["b", "d"], ["b", "d", "e"]]
    assert (second.created, second.updated, second.deleted) == (1, 0, 2)
    versions = await stores.datasets.versions(first.dataset, first=None, limit=10)
    assert [each.example_count for each in versions] == [3, 2, 3] and versions[0].number == third.version
    again = await stores.write(["b", "d", "e"], "update")
    assert again.version == third.version and (again.created, again.updated, again.deleted) == (0, 0, 0)
    (dataset,) = await stores.datasets.page(stores.tenant, name=None, first=None, limit=10)
    assert dataset.example_count == 3
    log = await stores.control.audit_log(stores.tenant, AuditFilter(kind="dataset"))
    assert log.total == 4 and log.records[0].entry.action == "dataset.uploaded"


async def test_many_examples_keep_their_order(stores: Stores) -> None:
    texts = [f"{number:05}" for number in range(20_000)]
    written = await stores.write(texts)
    assert await stores.inputs(written) == texts
    changed = await stores.write([*texts[:10_000], "new"], "update")
    assert (changed.created, changed.deleted) == (1, 10_000)
    assert len(await stores.inputs(written)) == 20_000 and len(await stores.inputs(changed)) == 10_001


async def test_a_name_is_made_once_by_all_together(database: str, stores: Stores) -> None:
    done = await asyncio.gather(*(stores.write(["a"], name="same") for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, Written) for each in done) == 1 and sum(isinstance(each, Conflict) for each in done) == 4
    appended = await asyncio.gather(*(stores.write([f"x{number}"], "append", name="same") for number in range(5)))
    assert len({each.version for each in appended}) == 5
    newest = max(appended, key=lambda each: each.version)
    assert sorted(await stores.inputs(newest)) == ["a", "x0", "x1", "x2", "x3", "x4"]


async def test_splits_are_assigned_and_left(stores: Stores) -> None:
    train, test = frozenset({"train"}), frozenset({"test", "train"})
    first = await stores.write(["a", "b"], splits=[train, test])
    numbers = {each.name: each.number for each in await stores.splits.of_tenant(stores.tenant)}
    assert await stores.inputs(first, [numbers["test"]]) == ["b"]
    assert await stores.inputs(first, list(numbers.values())) == ["a", "b"]
    second = await stores.write(["a"], "append", splits=[frozenset()])
    assert second.updated == 1 and second.version == first.version
    assert list((await stores.splits.names(first.dataset)).values()) == [["test", "train"]]
    gone = await stores.write(["a"], "update")
    assert gone.deleted == 1 and await stores.splits.names(first.dataset) == {}


async def test_runs_are_replaced_only_when_they_failed(stores: Stores) -> None:
    written = await stores.write(["a", "b"])
    experiment = await stores.experiment(written, repetitions=2)
    assert experiment.example_count == 2 and experiment.missing_runs == 4
    a, b = [each.number for each in await stores.datasets.examples(written.dataset, written.version)]
    failed = await stores.runs.add(experiment.number, run(a, 1, "boom"))
    await stores.runs.evaluate(stores.tenant, failed, evaluation("judge", 0.5))
    assert await stores.runs.add(experiment.number, run(a, 1)) == failed
    assert await stores.runs.evaluations(experiment.number) == {}, "what was said of the failed run went with it"
    with pytest.raises(Conflict, match="already exists with a successful result"):
        await stores.runs.add(experiment.number, run(a, 1))
    with pytest.raises(NotFound):
        await stores.runs.add(experiment.number, run(a + 5))
    await stores.runs.add(experiment.number, run(b, 2, "boom"))
    assert await stores.experiments.incomplete(experiment, first=None, limit=10) == [(a, [2]), (b, [1, 2])]
    assert await stores.experiments.incomplete(experiment, first=b, limit=1) == [(b, [1, 2])]
    counted = await stores.experiments.by_number(stores.tenant, experiment.number)
    assert counted is not None and (counted.successful_runs, counted.failed_runs, counted.missing_runs) == (1, 1, 2)


async def test_the_same_run_sent_by_many_is_stored_once(stores: Stores) -> None:
    written = await stores.write(["a"])
    experiment = await stores.experiment(written)
    (example,) = await stores.datasets.examples(written.dataset, written.version)
    done = await asyncio.gather(*(stores.runs.add(experiment.number, run(example.number)) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, int) for each in done) == 1 and sum(isinstance(each, Conflict) for each in done) == 4


async def test_evaluations_replace_those_of_their_name(stores: Stores) -> None:
    written = await stores.write(["a", "b"])
    experiment = await stores.experiment(written)
    numbers = [await stores.runs.add(experiment.number, run(each.number)) for each in await stores.datasets.examples(written.dataset, written.version)]
    first = await stores.runs.evaluate(stores.tenant, numbers[0], evaluation("x", 0.25))
    assert await stores.runs.evaluate(stores.tenant, numbers[0], evaluation("x", 0.75)) == first
    await stores.runs.evaluate(stores.tenant, numbers[0], evaluation("y", None, "boom"))
    with pytest.raises(NotFound):
        await stores.runs.evaluate("another tenant", numbers[0], evaluation("x", 1.0))
    assert list((await stores.runs.scores(experiment.number, "x")).values()) == [0.75]
    assert await stores.runs.names(experiment.number) == ["x"]
    lacking = await stores.runs.unjudged(experiment.number, {"x", "y"}, first=None, limit=10)
    assert [(each.number, names) for each, names in lacking] == [(numbers[0], ["y"]), (numbers[1], ["x", "y"])]
    assert [each.number for each, _ in await stores.runs.unjudged(experiment.number, {"x"}, first=None, limit=10)] == [numbers[1]]


async def test_an_experiment_keeps_its_examples(stores: Stores) -> None:
    written = await stores.write(["a", "b"], splits=[frozenset({"s"}), frozenset()])
    (split,) = await stores.splits.of_tenant(stores.tenant)
    whole, part = await stores.experiment(written), await stores.experiment(written, splits=[split.number])
    await stores.write([], "update")
    counts = [(await stores.experiments.by_number(stores.tenant, each.number)) for each in (whole, part)]
    assert [each.example_count for each in counts if each] == [2, 1]
    assert [each.number for each in await stores.experiments.of_dataset(written.dataset, first=None, limit=1)] == [part.number]
    assert await stores.experiments.by_number("another tenant", whole.number) is None


async def test_deleting_takes_all_along(stores: Stores) -> None:
    written = await stores.write(["a"], splits=[frozenset({"s"})])
    experiment = await stores.experiment(written)
    (example,) = await stores.datasets.examples(written.dataset, written.version)
    number = await stores.runs.add(experiment.number, run(example.number))
    await stores.runs.evaluate(stores.tenant, number, evaluation("x", 1.0))
    dataset = await stores.datasets.by_number(stores.tenant, written.dataset)
    assert isinstance(dataset, Dataset)
    await stores.datasets.remove(dataset, ACTOR)
    await stores.datasets.remove(dataset, ACTOR)
    assert await stores.experiments.by_number(stores.tenant, experiment.number) is None
    assert await stores.runs.every(experiment.number) == [] and await stores.inputs(written) == []
    assert (await stores.write(["a"])).dataset != written.dataset, "numbers are not used again"
