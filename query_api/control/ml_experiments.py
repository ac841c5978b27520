"""The experiments of the crucible surface, by id."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.runtime.clock import Clock
from query_api.control.audit import Actor, AuditEntry, add_entries
from query_api.control.engine import changing, reading
from query_api.control.ml_tables import MlExperimentRow
from query_api.control.sorted_list import Part, count_of, part_of


class MlExperiment(NamedTuple):
    """A stored experiment."""

    number: int
    tenant: str
    id: str
    name: str
    description: str
    status: str
    config: Mapping[str, Any]
    tags: Sequence[str]
    started_at_us: int | None
    completed_at_us: int | None
    created_at_us: int
    updated_at_us: int


class MlExperimentFilter(NamedTuple):
    """Which experiments; None leaves a field open."""

    status: str | None = None
    name: str | None = None
    """A part of the name, in capitals or not."""
    created_after_us: int | None = None
    created_before_us: int | None = None


_COLUMNS = [MlExperimentRow.__table__.c[name] for name in MlExperiment._fields]
_JSON = ("config", "tags")


class MlExperimentStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def page(self, tenant: str, wanted: MlExperimentFilter, part: Part) -> tuple[list[MlExperiment], int]:
        """A part of those the filter lets through, and how many these are altogether."""
        query = _filtered(tenant, wanted)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(part_of(query, MlExperimentRow, part))).mappings()
            return [_experiment(row) for row in rows], await count_of(connection, query)

    async def get(self, tenant: str, id: str) -> MlExperiment | None:
        async with reading(self._engine) as connection:
            row = (await connection.execute(_of(tenant, id))).mappings().first()
            return None if row is None else _experiment(row)

    async def of_ids(self, tenant: str, ids: Sequence[str]) -> Mapping[str, MlExperiment]:
        """By id, those of them that exist."""
        query = select(*_COLUMNS).where(MlExperimentRow.tenant == tenant, MlExperimentRow.id.in_(ids))
        async with reading(self._engine) as connection:
            return {row["id"]: _experiment(row) for row in (await connection.execute(query)).mappings()}

    async def create(self, tenant: str, id: str, values: Mapping[str, Any], actor: Actor) -> MlExperiment:
        """Stores an experiment with every field of it that is not a time."""
        now = self._clock.now_us()
        row = {"tenant": tenant, "id": id, **_stored(values), "created_at_us": now, "updated_at_us": now}
        async with changing(self._engine) as connection:
            await connection.execute(insert(MlExperimentRow).values(row))
            await add_entries(connection, [AuditEntry(tenant, actor, "ml_experiment.created", "ml_experiment", id, {}, values)], now)
            return _experiment((await connection.execute(_of(tenant, id))).mappings().one())

    async def change(self, before: MlExperiment, values: Mapping[str, Any], actor: Actor, action: str = "ml_experiment.updated") -> MlExperiment | None:
        """Changes these fields, unless the status is no longer what it was or the experiment is gone: then None."""
        now = self._clock.now_us()
        as_it_was = update(MlExperimentRow).where(
            MlExperimentRow.tenant == before.tenant, MlExperimentRow.id == before.id, MlExperimentRow.status == before.status
        )
        async with changing(self._engine) as connection:
            changed = await connection.execute(as_it_was.values(**_stored(values), updated_at_us=now))
            if not changed.rowcount:
                return None
            old = {name: getattr(before, name) for name in values}
            await add_entries(connection, [AuditEntry(before.tenant, actor, action, "ml_experiment", before.id, old, values)], now)
            return _experiment((await connection.execute(_of(before.tenant, before.id))).mappings().one())

    async def remove(self, tenant: str, id: str, actor: Actor) -> bool:
        """Forgets an experiment; says whether there was one."""
        one = (MlExperimentRow.tenant == tenant, MlExperimentRow.id == id)
        async with changing(self._engine) as connection:
            name = (await connection.execute(delete(MlExperimentRow).where(*one).returning(MlExperimentRow.name))).scalar()
            if name is None:
                return False
            line = AuditEntry(tenant, actor, "ml_experiment.deleted", "ml_experiment", id, {"name": name}, {})
            await add_entries(connection, [line], self._clock.now_us())
            return True

    async def counts(self, tenant: str, since_us: int) -> tuple[int, int]:
        """How many run or are paused, and how many were completed since then."""
        active = select(MlExperimentRow.number).where(MlExperimentRow.tenant == tenant, MlExperimentRow.status.in_(("running", "paused")))
        completed = select(MlExperimentRow.number).where(
            MlExperimentRow.tenant == tenant, MlExperimentRow.status == "completed", MlExperimentRow.completed_at_us >= since_us
        )
        async with reading(self._engine) as connection:
            return await count_of(connection, active), await count_of(connection, completed)


def _of(tenant: str, id: str) -> Select[Any]:
    return select(*_COLUMNS).where(MlExperimentRow.tenant == tenant, MlExperimentRow.id == id)


def _filtered(tenant: str, wanted: MlExperimentFilter) -> Select[Any]:
    query = select(*_COLUMNS).where(MlExperimentRow.tenant == tenant)
    if wanted.status is not None:
        query = query.where(MlExperimentRow.status == wanted.status)
    if wanted.name is not None:
        query = query.where(MlExperimentRow.name.icontains(wanted.name, autoescape=True))
    if wanted.created_after_us is not None:
        query = query.where(MlExperimentRow.created_at_us > wanted.created_after_us)
    if wanted.created_before_us is not None:
        query = query.where(MlExperimentRow.created_at_us < wanted.created_before_us)
    return query


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if name in _JSON else value for name, value in values.items()}


def _experiment(row: Mapping[Any, Any]) -> MlExperiment:
    return MlExperiment(**{**row, **{name: json.loads(row[name]) for name in _JSON}})
