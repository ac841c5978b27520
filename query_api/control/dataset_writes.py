"""Uploads into datasets: one transaction each, so that a dataset holds all of an upload or nothing of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.runtime.clock import Clock
from infra.runtime.errors import Conflict
from query_api.control.audit import Actor, AuditEntry, add_entries
from query_api.control.dataset_models import DatasetRow, DatasetVersionRow, ExampleRevisionRow, ExampleRow
from query_api.control.dataset_plan import Action, NewExample, Placed, Plan, StoredExample, plan
from query_api.control.engine import changing
from query_api.control.splits import assign, membership

_OWN_BITS = 32
"""Low bits of an example's number that count within its dataset."""


class Written(NamedTuple):
    """What an upload did."""

    dataset: int
    version: int
    created: int
    updated: int
    """Examples whose content or splits changed."""
    deleted: int


class DatasetWriter:
    """Writes uploads. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def write(
        self, tenant: str, name: str, description: str | None, action: Action, examples: Sequence[NewExample], actor: Actor, *, set_splits: bool
    ) -> Written:
        """Makes the dataset where there is none, and a version of it when its examples change. `set_splits`: the examples leave every
        split that is not named with them.

        Raises `Conflict` when the dataset to create exists, and what `plan` raises.
        """
        now = self._clock.now_us()
        async with changing(self._engine) as connection:
            number, made = await _dataset(connection, tenant, name, description, action, now)
            stored = await _stored(connection, number) if made else []
            work = plan(stored, examples, action, (number << _OWN_BITS) + made + 1)
            version = await _newest(connection, number) if work.is_empty else None
            if version is None:
                held = sum(each.digest is not None for each in stored) + len(work.created) - len(work.gone)
                version = await _version(connection, number, held, now)
                await _examples(connection, number, version, work, now)
                changed = {"examples_made": made + len(work.made), "updated_at_us": now}
                await connection.execute(update(DatasetRow).where(DatasetRow.number == number).values(**changed))
            moved = await _splits(connection, tenant, number, work, action, set_splits, now)
            updated = len({each.number for each in work.changed} | moved - {each.number for each in work.created} - set(work.gone))
            done = Written(number, version, len(work.created), updated, len(work.gone))
            counts = {"version": version, "created": done.created, "updated": done.updated, "deleted": done.deleted}
            await add_entries(connection, [AuditEntry(tenant, actor, "dataset.uploaded", "dataset", name, {}, counts)], now)
        return done


async def _dataset(connection: AsyncConnection, tenant: str, name: str, description: str | None, action: Action, now: int) -> tuple[int, int]:
    """Number of the dataset, which nobody else can change until the end of the transaction, and how many examples it ever had."""
    known = select(DatasetRow.number, DatasetRow.examples_made).where(DatasetRow.tenant == tenant, DatasetRow.name == name).with_for_update()
    found = (await connection.execute(known)).first()
    if found is None:
        row = {"tenant": tenant, "name": name, "description": description, "meta": "{}", "examples_made": 0, "created_at_us": now, "updated_at_us": now}
        try:
            async with connection.begin_nested():
                return (await connection.execute(insert(DatasetRow).values(**row).returning(DatasetRow.number))).scalar_one(), 0
        except IntegrityError:
            found = (await connection.execute(known)).one()  # another process made it a moment ago
    if action == "create":
        raise Conflict(f'A dataset named "{name}" already exists. Use the action append or update to change it.')
    return found.number, found.examples_made


async def _stored(connection: AsyncConnection, dataset: int) -> list[StoredExample]:
    held = (ExampleRevisionRow.example == ExampleRow.number) & ExampleRevisionRow.until.is_(None)
    query = select(ExampleRow.number, ExampleRow.external_id, ExampleRevisionRow.digest).outerjoin_from(ExampleRow, ExampleRevisionRow, held)
    return [StoredExample(*row) for row in await connection.execute(query.where(ExampleRow.dataset == dataset).order_by(ExampleRow.number))]


async def _newest(connection: AsyncConnection, dataset: int) -> int | None:
    query = select(DatasetVersionRow.number).where(DatasetVersionRow.dataset == dataset).order_by(DatasetVersionRow.number.desc()).limit(1)
    return (await connection.execute(query)).scalar_one_or_none()


async def _version(connection: AsyncConnection, dataset: int, example_count: int, now: int) -> int:
    row: dict[str, Any] = {"dataset": dataset, "description": None, "meta": "{}", "example_count": example_count, "created_at_us": now}
    return (await connection.execute(insert(DatasetVersionRow).values(**row).returning(DatasetVersionRow.number))).scalar_one()


async def _examples(connection: AsyncConnection, dataset: int, version: int, work: Plan, now: int) -> None:
    ended = [each.number for each in work.changed] + work.gone
    if ended:
        one = update(ExampleRevisionRow).where(ExampleRevisionRow.example == bindparam("of_example"), ExampleRevisionRow.until.is_(None))
        await connection.execute(one.values(until=version), [{"of_example": number} for number in ended])
    if work.made:
        await connection.execute(insert(ExampleRow), [_example(dataset, *placed) for placed in work.made])
    begun = [*work.created, *work.changed]
    if begun:
        await connection.execute(insert(ExampleRevisionRow), [_revision(dataset, version, now, *placed) for placed in begun])


def _example(dataset: int, number: int, example: NewExample) -> dict[str, Any]:
    return {"number": number, "dataset": dataset, "external_id": example.external_id, "trace_id": example.trace_id, "span_id": example.span_id}


def _revision(dataset: int, version: int, now: int, number: int, example: NewExample) -> dict[str, Any]:
    content = {"input": example.input, "output": example.output, "meta": example.meta, "digest": example.digest}
    return {"example": number, "version": version, "until": None, "dataset": dataset, "at_us": now, **content}


async def _splits(connection: AsyncConnection, tenant: str, dataset: int, work: Plan, action: Action, set_splits: bool, now: int) -> set[int]:
    """The examples that came into other splits than they were in."""
    touched: list[Placed] = [*work.created, *work.changed, *work.same]
    wanted = {number: example.splits for number, example in touched} if set_splits else {}
    if not (wanted or work.gone):
        return set()
    before = await membership(connection, dataset)
    looked_at = before if set_splits and action != "append" else {number: before[number] for number in (*wanted, *work.gone) if number in before}
    return await assign(connection, tenant, wanted, looked_at, now)
