"""The annotation configurations of the LLM surface, by number and by name."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.runtime.clock import Clock
from infra.runtime.errors import Conflict, NotFound
from query_api.control.audit import Actor, AuditEntry, add_entries
from query_api.control.engine import changing, reading
from query_api.control.models import AnnotationConfigRow


class AnnotationConfig(NamedTuple):
    """A stored configuration."""

    number: int
    tenant: str
    name: str
    body: Mapping[str, Any]
    """Everything that was sent, the name too."""


_COLUMNS = [AnnotationConfigRow.__table__.c[name] for name in AnnotationConfig._fields]


class AnnotationConfigStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def of_tenant(self, tenant: str, first: int | None, limit: int) -> list[AnnotationConfig]:
        """The newest first, from `first` on."""
        query = select(*_COLUMNS).where(AnnotationConfigRow.tenant == tenant).order_by(AnnotationConfigRow.number.desc()).limit(limit)
        return await self._found(query if first is None else query.where(AnnotationConfigRow.number <= first))

    async def by_number(self, tenant: str, number: int) -> AnnotationConfig | None:
        found = await self._found(select(*_COLUMNS).where(AnnotationConfigRow.tenant == tenant, AnnotationConfigRow.number == number))
        return next(iter(found), None)

    async def by_name(self, tenant: str, name: str) -> AnnotationConfig | None:
        found = await self._found(select(*_COLUMNS).where(AnnotationConfigRow.tenant == tenant, AnnotationConfigRow.name == name))
        return next(iter(found), None)

    async def create(self, tenant: str, body: Mapping[str, Any], actor: Actor) -> AnnotationConfig:
        """Stores a configuration. Raises `Conflict` when there is one of this name."""
        now, name = self._clock.now_us(), str(body["name"])
        values = {"tenant": tenant, "name": name, "body": json.dumps(body), "created_at_us": now, "updated_at_us": now}
        async with changing(self._engine) as connection:
            try:
                number = (await connection.execute(insert(AnnotationConfigRow).values(values).returning(AnnotationConfigRow.number))).scalar_one()
            except IntegrityError as error:
                raise _taken(name) from error
            await add_entries(connection, [AuditEntry(tenant, actor, "annotation_config.created", "annotation_config", name, {}, body)], now)
        return AnnotationConfig(int(number), tenant, name, body)

    async def replace(self, config: AnnotationConfig, body: Mapping[str, Any], actor: Actor) -> AnnotationConfig:
        """Stores another body, under the same number. Raises `Conflict` like `create`, and `NotFound` when it was deleted meanwhile."""
        now, name = self._clock.now_us(), str(body["name"])
        of_number = update(AnnotationConfigRow).where(AnnotationConfigRow.number == config.number)
        async with changing(self._engine) as connection:
            try:
                changed = await connection.execute(of_number.values(name=name, body=json.dumps(body), updated_at_us=now))
            except IntegrityError as error:
                raise _taken(name) from error
            if not changed.rowcount:
                raise NotFound("Annotation configuration not found: it was deleted a moment ago")
            line = AuditEntry(config.tenant, actor, "annotation_config.updated", "annotation_config", config.name, config.body, body)
            await add_entries(connection, [line], now)
        return config._replace(name=name, body=body)

    async def remove(self, config: AnnotationConfig, actor: Actor) -> None:
        """Forgets a configuration; nothing happens when it is gone already."""
        async with changing(self._engine) as connection:
            gone = await connection.execute(delete(AnnotationConfigRow).where(AnnotationConfigRow.number == config.number))
            if gone.rowcount:
                line = AuditEntry(config.tenant, actor, "annotation_config.deleted", "annotation_config", config.name, config.body, {})
                await add_entries(connection, [line], self._clock.now_us())

    async def _found(self, query: Select[tuple[object, ...]]) -> list[AnnotationConfig]:
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings()
            return [AnnotationConfig(**{**row, "body": json.loads(row["body"])}) for row in rows]


def _taken(name: str) -> Conflict:
    return Conflict(f"The name of the annotation configuration is already taken: {name!r}")
