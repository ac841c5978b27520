"""Splits of datasets, and which examples belong to them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.runtime.clock import Clock
from infra.runtime.errors import Conflict, NotFound
from query_api.control.dataset_models import ExampleRow, SplitExampleRow, SplitRow
from query_api.control.engine import changing, reading
from query_api.control.upsert import inserting

PLAIN_COLOR = "#808080"
"""Of a split that an upload named."""
_BATCH = 500
"""Values in one IN list; both databases take more, but not without limit."""


class Split(NamedTuple):
    """A split."""

    number: int
    tenant: str
    name: str
    description: str | None
    color: str
    meta: str
    created_at_us: int
    updated_at_us: int


_COLUMNS = [SplitRow.__table__.c[name] for name in Split._fields]
Membership = dict[int, set[int]]
"""The splits of each example that has any."""


class SplitStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def of_tenant(self, tenant: str) -> Sequence[Split]:
        """All of them, in the order in which they were made."""
        return await self._found(select(*_COLUMNS).where(SplitRow.tenant == tenant).order_by(SplitRow.number))

    async def count(self, split: int, dataset: int) -> int:
        """How many examples a dataset has in a split."""
        query = select(func.count()).select_from(SplitExampleRow).join(ExampleRow, ExampleRow.number == SplitExampleRow.example)
        async with reading(self._engine) as connection:
            return int((await connection.execute(query.where(SplitExampleRow.split == split, ExampleRow.dataset == dataset))).scalar_one())

    async def create(self, tenant: str, dataset: int, examples: Collection[int], values: Mapping[str, Any]) -> Split:
        """Stores a split with these examples of a dataset. Raises `Conflict` when there is one of this name and `NotFound` for a foreign example."""
        now = self._clock.now_us()
        row = {"tenant": tenant, **values, "created_at_us": now, "updated_at_us": now}
        async with changing(self._engine) as connection:
            await _own(connection, dataset, examples)
            try:
                number = (await connection.execute(insert(SplitRow).values(**row).returning(SplitRow.number))).scalar_one()
            except IntegrityError as error:
                raise _taken(values["name"]) from error
            await _add(connection, ((example, number) for example in examples))
        return Split(number=number, **row)

    async def change(self, split: Split, dataset: int, values: Mapping[str, Any], add: Collection[int], remove: Collection[int]) -> Split:
        """Changes fields and members; an example both added and removed is out. Raises `Conflict` and `NotFound` like `create`."""
        after = split._replace(**values, updated_at_us=self._clock.now_us())
        async with changing(self._engine) as connection:
            await _own(connection, dataset, {*add, *remove})
            try:
                await connection.execute(update(SplitRow).where(SplitRow.number == split.number).values(**values, updated_at_us=after.updated_at_us))
            except IntegrityError as error:
                raise _taken(after.name) from error
            await _add(connection, ((example, split.number) for example in add))
            await _remove(connection, [(example, split.number) for example in remove])
        return after

    async def remove(self, split: Split) -> None:
        """Forgets a split; its examples stay."""
        async with changing(self._engine) as connection:
            await connection.execute(delete(SplitRow).where(SplitRow.number == split.number))

    async def names(self, dataset: int) -> Mapping[int, Sequence[str]]:
        """The names of the splits of each example of a dataset that has any, sorted."""
        query = select(SplitExampleRow.example, SplitRow.name).join(SplitRow, SplitRow.number == SplitExampleRow.split)
        query = query.join(ExampleRow, ExampleRow.number == SplitExampleRow.example).where(ExampleRow.dataset == dataset).order_by(SplitRow.name)
        found: dict[int, list[str]] = {}
        async with reading(self._engine) as connection:
            for example, name in await connection.execute(query):
                found.setdefault(example, []).append(name)
        return found

    async def _found(self, query: Select[tuple[object, ...]]) -> Sequence[Split]:
        async with reading(self._engine) as connection:
            return [Split(**row) for row in (await connection.execute(query)).mappings()]


async def assign(connection: AsyncConnection, tenant: str, wanted: Mapping[int, frozenset[str]], before: Membership, now_us: int) -> set[int]:
    """Brings examples into exactly these splits, which are made where missing; returns the examples for which that is a change.
    `before` holds what the examples to look at belong to now; one in it that is not wanted leaves its splits."""
    numbers = await _numbers(connection, tenant, {name for names in wanted.values() for name in names}, now_us)
    after = {example: {numbers[name] for name in names} for example, names in wanted.items() if names}
    add = [(example, split) for example, splits in after.items() for split in splits - before.get(example, set())]
    leave = [(example, split) for example, splits in before.items() for split in splits - after.get(example, set())]
    await _add(connection, add)
    await _remove(connection, leave)
    return {example for example, _ in (*add, *leave)}


async def membership(connection: AsyncConnection, dataset: int) -> Membership:
    """What the examples of a dataset belong to."""
    query = select(SplitExampleRow.example, SplitExampleRow.split).join(ExampleRow, ExampleRow.number == SplitExampleRow.example)
    found: Membership = {}
    for example, split in await connection.execute(query.where(ExampleRow.dataset == dataset)):
        found.setdefault(example, set()).add(split)
    return found


async def _numbers(connection: AsyncConnection, tenant: str, names: Collection[str], now_us: int) -> Mapping[str, int]:
    if not names:
        return {}
    same = {"tenant": tenant, "description": None, "color": PLAIN_COLOR, "meta": "{}", "created_at_us": now_us, "updated_at_us": now_us}
    missing = inserting(connection, SplitRow).on_conflict_do_nothing(index_elements=["tenant", "name"])
    await connection.execute(missing, [{**same, "name": name} for name in sorted(names)])
    found = await connection.execute(select(SplitRow.name, SplitRow.number).where(SplitRow.tenant == tenant))
    return {row.name: row.number for row in found}


async def _add(connection: AsyncConnection, pairs: Iterable[tuple[int, int]]) -> None:
    rows = [{"example": example, "split": split} for example, split in pairs]
    if rows:
        await connection.execute(inserting(connection, SplitExampleRow).on_conflict_do_nothing(index_elements=["example", "split"]), rows)


async def _remove(connection: AsyncConnection, pairs: Sequence[tuple[int, int]]) -> None:
    if pairs:
        one = delete(SplitExampleRow).where(SplitExampleRow.example == bindparam("of_example"), SplitExampleRow.split == bindparam("of_split"))
        await connection.execute(one, [{"of_example": example, "of_split": split} for example, split in pairs])


async def _own(connection: AsyncConnection, dataset: int, examples: Collection[int]) -> None:
    wanted = sorted(set(examples))
    own: set[int] = set()
    for start in range(0, len(wanted), _BATCH):
        query = select(ExampleRow.number).where(ExampleRow.dataset == dataset, ExampleRow.number.in_(wanted[start : start + _BATCH]))
        own |= set((await connection.execute(query)).scalars())
    if len(own) < len(wanted):
        raise NotFound(f"{len(wanted) - len(own)} of the examples are not in this dataset")


def _taken(name: str) -> Conflict:
    return Conflict(f"A dataset split named {name!r} already exists")
