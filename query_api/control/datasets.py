"""Datasets, their versions and what the examples held in each."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import RowMapping, Select, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.runtime.clock import Clock
from query_api.control.audit import Actor, AuditEntry, add_entries
from query_api.control.dataset_models import DatasetRow, DatasetVersionRow, ExampleRevisionRow, ExampleRow, SplitExampleRow
from query_api.control.engine import changing, reading


class Dataset(NamedTuple):
    """A dataset."""

    number: int
    tenant: str
    name: str
    description: str | None
    meta: str
    """JSON object."""
    created_at_us: int
    updated_at_us: int
    example_count: int
    """Of the newest version."""


class Version(NamedTuple):
    """A version of a dataset."""

    number: int
    dataset: int
    description: str | None
    meta: str
    example_count: int
    created_at_us: int


class Example(NamedTuple):
    """What an example holds in a version. The texts are JSON objects."""

    number: int
    external_id: str | None
    trace_id: str | None
    """Of the span it was made from."""
    span_id: str | None
    input: str
    output: str
    meta: str
    at_us: int
    """When it came to hold this."""
    version: int
    """The version that first held this."""


_COUNT = select(DatasetVersionRow.example_count).where(DatasetVersionRow.dataset == DatasetRow.number).order_by(DatasetVersionRow.number.desc()).limit(1)
_DATASET = [DatasetRow.__table__.c[name] for name in Dataset._fields[:-1]] + [_COUNT.scalar_subquery().label("example_count")]
_VERSION = [DatasetVersionRow.__table__.c[name] for name in Version._fields]
_EXAMPLE = [ExampleRow.__table__.c[name] for name in Example._fields[:4]] + [ExampleRevisionRow.__table__.c[name] for name in Example._fields[4:]]


class DatasetStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def page(self, tenant: str, *, name: str | None, first: int | None, limit: int) -> Sequence[Dataset]:
        """The newest first, from the one numbered `first` on; of one name when given."""
        query = select(*_DATASET).where(DatasetRow.tenant == tenant)
        if name is not None:
            query = query.where(DatasetRow.name == name)
        if first is not None:
            query = query.where(DatasetRow.number <= first)
        return [Dataset(**row) for row in await self._rows(query.order_by(DatasetRow.number.desc()).limit(limit))]

    async def by_number(self, tenant: str, number: int) -> Dataset | None:
        found = await self._rows(select(*_DATASET).where(DatasetRow.tenant == tenant, DatasetRow.number == number))
        return Dataset(**found[0]) if found else None

    async def remove(self, dataset: Dataset, actor: Actor) -> None:
        """Forgets a dataset with its versions, examples and experiments; nothing happens when it is gone already."""
        async with changing(self._engine) as connection:
            gone = await connection.execute(delete(DatasetRow).where(DatasetRow.number == dataset.number))
            if gone.rowcount:
                before = {"description": dataset.description, "examples": dataset.example_count}
                line = AuditEntry(dataset.tenant, actor, "dataset.deleted", "dataset", dataset.name, before, {})
                await add_entries(connection, [line], self._clock.now_us())

    async def versions(self, dataset: int, *, first: int | None, limit: int) -> Sequence[Version]:
        """The newest first, from the one numbered `first` on."""
        query = select(*_VERSION).where(DatasetVersionRow.dataset == dataset)
        if first is not None:
            query = query.where(DatasetVersionRow.number <= first)
        return [Version(**row) for row in await self._rows(query.order_by(DatasetVersionRow.number.desc()).limit(limit))]

    async def version(self, dataset: int, number: int) -> Version | None:
        found = await self._rows(select(*_VERSION).where(DatasetVersionRow.dataset == dataset, DatasetVersionRow.number == number))
        return Version(**found[0]) if found else None

    async def examples(self, dataset: int, version: int, *, splits: Collection[int] | None = None, numbers: Collection[int] | None = None) -> Sequence[Example]:
        """What a version holds, in the order in which the examples came; only those of splits or of numbers (few) when given."""
        query = held_in(select(*_EXAMPLE), dataset, version, splits)
        if numbers is not None:
            query = query.where(ExampleRow.number.in_(numbers))
        async with reading(self._engine) as connection:
            return [Example(*row) for row in await connection.execute(query.order_by(ExampleRow.number))]

    async def revisions(self, dataset: int, version: int) -> Mapping[int, int]:
        """The examples that a version holds, each with the version that first held what it holds."""
        query = held_in(select(ExampleRevisionRow.example, ExampleRevisionRow.version), dataset, version)
        async with reading(self._engine) as connection:
            return {row.example: row.version for row in await connection.execute(query)}

    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        async with reading(self._engine) as connection:
            return list((await connection.execute(query)).mappings())


def held_in(query: Any, dataset: int, version: int, splits: Collection[int] | None = None) -> Any:
    """The query narrowed to the examples that a version holds, and to those of splits."""
    revision = ExampleRevisionRow
    query = query.join_from(revision, ExampleRow, ExampleRow.number == revision.example)
    query = query.where(revision.dataset == dataset, revision.version <= version, or_(revision.until.is_(None), revision.until > version))
    if splits is not None:
        query = query.where(ExampleRow.number.in_(select(SplitExampleRow.example).where(SplitExampleRow.split.in_(splits))))
    return query
