"""The projects of the LLM surface, by number and by name."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.runtime.clock import Clock
from infra.runtime.errors import Conflict
from query_api.control.audit import Actor, AuditEntry, add_entries
from query_api.control.engine import changing, reading
from query_api.control.models import ProjectRow


class Project(NamedTuple):
    """A project."""

    number: int
    tenant: str
    name: str
    description: str | None
    of_experiment: bool
    """Whether it holds the traces of an experiment, and so is hidden from lists unless asked for."""


_COLUMNS = [ProjectRow.__table__.c[name] for name in Project._fields]


class ProjectStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def create(self, tenant: str, name: str, description: str | None, actor: Actor, *, of_experiment: bool = False) -> Project:
        """Stores a project. Raises `Conflict` when there is one of this name."""
        now = self._clock.now_us()
        values: dict[str, Any] = {"tenant": tenant, "name": name, "description": description, "of_experiment": of_experiment}
        async with changing(self._engine) as connection:
            try:
                added = await connection.execute(insert(ProjectRow).values(**values, created_at_us=now, updated_at_us=now).returning(ProjectRow.number))
            except IntegrityError as error:
                raise Conflict(f"A project with the name {name!r} exists already.") from error
            await add_entries(connection, [AuditEntry(tenant, actor, "project.created", "project", name, {}, {"description": description})], now)
            return Project(int(added.scalar_one()), **values)

    async def ensure(self, tenant: str, names: Sequence[str]) -> Sequence[Project]:
        """Gives those of the names a project that have none, in this order: projects that spans made. All of the tenant's then, the newest first."""
        found = await self.of_tenant(tenant)
        if set(names) <= {project.name for project in found}:
            return found
        now = self._clock.now_us()
        async with changing(self._engine) as connection:
            known = set((await connection.execute(select(ProjectRow.name).where(ProjectRow.tenant == tenant))).scalars())
            for name in names:
                if name not in known:
                    row = {"tenant": tenant, "name": name, "description": None, "of_experiment": False, "created_at_us": now, "updated_at_us": now}
                    try:
                        async with connection.begin_nested():
                            await connection.execute(insert(ProjectRow).values(**row))
                    except IntegrityError:
                        continue  # another process found the same spans
        return await self.of_tenant(tenant)

    async def of_tenant(self, tenant: str) -> Sequence[Project]:
        """All of them, the newest first."""
        return await self._found(select(*_COLUMNS).where(ProjectRow.tenant == tenant).order_by(ProjectRow.number.desc()))

    async def by_number(self, tenant: str, number: int) -> Project | None:
        found = await self._found(select(*_COLUMNS).where(ProjectRow.tenant == tenant, ProjectRow.number == number))
        return found[0] if found else None

    async def by_name(self, tenant: str, name: str) -> Project | None:
        found = await self._found(select(*_COLUMNS).where(ProjectRow.tenant == tenant, ProjectRow.name == name))
        return found[0] if found else None

    async def describe(self, project: Project, description: str | None, actor: Actor) -> Project:
        """Changes the description."""
        now, after = self._clock.now_us(), project._replace(description=description)
        async with changing(self._engine) as connection:
            await connection.execute(update(ProjectRow).where(ProjectRow.number == project.number).values(description=description, updated_at_us=now))
            old, new = {"description": project.description}, {"description": description}
            await add_entries(connection, [AuditEntry(project.tenant, actor, "project.updated", "project", project.name, old, new)], now)
        return after

    async def remove(self, project: Project, actor: Actor) -> None:
        """Forgets a project; nothing happens when it is gone already."""
        async with changing(self._engine) as connection:
            gone = await connection.execute(delete(ProjectRow).where(ProjectRow.number == project.number))
            if gone.rowcount:
                line = AuditEntry(project.tenant, actor, "project.deleted", "project", project.name, {"description": project.description}, {})
                await add_entries(connection, [line], self._clock.now_us())

    async def _found(self, query: Select[tuple[object, ...]]) -> Sequence[Project]:
        async with reading(self._engine) as connection:
            return [Project(**row) for row in (await connection.execute(query)).mappings()]
