"""The statistical results of the crucible surface, by id. They are added and never change."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Select, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.runtime.clock import Clock
from query_api.control.audit import Actor, AuditEntry, add_entries
from query_api.control.engine import changing, reading
from query_api.control.ml_tables import StatisticalResultRow
from query_api.control.sorted_list import Part, count_of, part_of


class StatisticalResult(NamedTuple):
    """A stored result."""

    number: int
    id: str
    experiment: str
    test_type: str
    body: Mapping[str, Any]
    """Everything else of it, as the surface shows it."""
    created_at_us: int


class StatisticalResultFilter(NamedTuple):
    """Which results; None leaves a field open."""

    experiment: str | None = None
    test_type: str | None = None


_COLUMNS = [StatisticalResultRow.__table__.c[name] for name in StatisticalResult._fields]


class StatisticalResultStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def page(self, tenant: str, wanted: StatisticalResultFilter, part: Part) -> tuple[list[StatisticalResult], int]:
        """A part of those the filter lets through, and how many these are altogether."""
        query = select(*_COLUMNS).where(StatisticalResultRow.tenant == tenant)
        if wanted.experiment is not None:
            query = query.where(StatisticalResultRow.experiment == wanted.experiment)
        if wanted.test_type is not None:
            query = query.where(StatisticalResultRow.test_type == wanted.test_type)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(part_of(query, StatisticalResultRow, part))).mappings()
            return [_result(row) for row in rows], await count_of(connection, query)

    async def get(self, tenant: str, id: str) -> StatisticalResult | None:
        async with reading(self._engine) as connection:
            row = (await connection.execute(_of(tenant, id))).mappings().first()
            return None if row is None else _result(row)

    async def add(self, tenant: str, id: str, experiment: str, test_type: str, body: Mapping[str, Any], actor: Actor) -> StatisticalResult:
        """Stores a result."""
        now = self._clock.now_us()
        values = {"tenant": tenant, "id": id, "experiment": experiment, "test_type": test_type, "body": json.dumps(body), "created_at_us": now}
        told = {"experiment": experiment, "test_type": test_type, "metric": body["metric"], "groups": body["groups"]}
        async with changing(self._engine) as connection:
            await connection.execute(insert(StatisticalResultRow).values(values))
            await add_entries(connection, [AuditEntry(tenant, actor, "statistical_result.created", "statistical_result", id, {}, told)], now)
            return _result((await connection.execute(_of(tenant, id))).mappings().one())


def _of(tenant: str, id: str) -> Select[Any]:
    return select(*_COLUMNS).where(StatisticalResultRow.tenant == tenant, StatisticalResultRow.id == id)


def _result(row: Mapping[Any, Any]) -> StatisticalResult:
    return StatisticalResult(**{**row, "body": json.loads(row["body"])})
