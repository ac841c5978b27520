"""The models of the crucible surface, by id."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.runtime.clock import Clock
from query_api.control.audit import Actor, AuditEntry, add_entries
from query_api.control.engine import changing, reading
from query_api.control.ml_tables import MlModelRow
from query_api.control.sorted_list import Part, count_of, part_of


class MlModel(NamedTuple):
    """A stored model."""

    number: int
    tenant: str
    id: str
    name: str
    provider: str
    type: str
    config: Mapping[str, Any]
    status: str
    created_at_us: int
    updated_at_us: int


class MlModelFilter(NamedTuple):
    """Which models; None leaves a field open."""

    status: str | None = None
    name: str | None = None
    """A part of the name, in capitals or not."""
    provider: str | None = None
    type: str | None = None


_COLUMNS = [MlModelRow.__table__.c[name] for name in MlModel._fields]


class MlModelStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def page(self, tenant: str, wanted: MlModelFilter, part: Part) -> tuple[list[MlModel], int]:
        """A part of those the filter lets through, and how many these are altogether."""
        query = _filtered(tenant, wanted)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(part_of(query, MlModelRow, part))).mappings()
            return [_model(row) for row in rows], await count_of(connection, query)

    async def get(self, tenant: str, id: str) -> MlModel | None:
        async with reading(self._engine) as connection:
            row = (await connection.execute(_of(tenant, id))).mappings().first()
            return None if row is None else _model(row)

    async def create(self, tenant: str, id: str, values: Mapping[str, Any], actor: Actor) -> MlModel:
        """Stores a model with every field of it that is not a time."""
        now = self._clock.now_us()
        row = {"tenant": tenant, "id": id, **_stored(values), "created_at_us": now, "updated_at_us": now}
        async with changing(self._engine) as connection:
            await connection.execute(insert(MlModelRow).values(row))
            await add_entries(connection, [AuditEntry(tenant, actor, "ml_model.created", "ml_model", id, {}, values)], now)
            return _model((await connection.execute(_of(tenant, id))).mappings().one())

    async def change(self, tenant: str, id: str, values: Mapping[str, Any], actor: Actor) -> MlModel | None:
        """Changes the fields given; None when there is no such model. Nothing is written or logged where they are so already."""
        now = self._clock.now_us()
        async with changing(self._engine) as connection:
            # Locked: of two changes at once the log of the later one says what the earlier one left.
            row = (await connection.execute(_of(tenant, id).with_for_update())).mappings().first()
            if row is None:
                return None
            before = _model(row)
            # As stored, where 1, 1.0 and true differ.
            stored = {name: value for name, value in _stored(values).items() if row[name] != value}
            if not stored:
                return before
            await connection.execute(update(MlModelRow).where(MlModelRow.number == before.number).values(**stored, updated_at_us=now))
            changed = {name: values[name] for name in stored}
            old = {name: getattr(before, name) for name in stored}
            await add_entries(connection, [AuditEntry(tenant, actor, "ml_model.updated", "ml_model", id, old, changed)], now)
            return before._replace(**changed, updated_at_us=now)

    async def remove(self, tenant: str, id: str, actor: Actor) -> bool:
        """Forgets a model; says whether there was one."""
        one = (MlModelRow.tenant == tenant, MlModelRow.id == id)
        async with changing(self._engine) as connection:
            name = (await connection.execute(delete(MlModelRow).where(*one).returning(MlModelRow.name))).scalar()
            if name is None:
                return False
            await add_entries(connection, [AuditEntry(tenant, actor, "ml_model.deleted", "ml_model", id, {"name": name}, {})], self._clock.now_us())
            return True


def _of(tenant: str, id: str) -> Select[Any]:
    return select(*_COLUMNS).where(MlModelRow.tenant == tenant, MlModelRow.id == id)


def _filtered(tenant: str, wanted: MlModelFilter) -> Select[Any]:
    query = select(*_COLUMNS).where(MlModelRow.tenant == tenant)
    exact = {MlModelRow.status: wanted.status, MlModelRow.provider: wanted.provider, MlModelRow.type: wanted.type}
    query = query.where(*(column == value for column, value in exact.items() if value is not None))
    return query if wanted.name is None else query.where(MlModelRow.name.icontains(wanted.name, autoescape=True))


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if name == "config" else value for name, value in values.items()}


def _model(row: Mapping[Any, Any]) -> MlModel:
    return MlModel(**{**row, "config": json.loads(row["config"])})
