"""Projects: listed, found by id or name, created, described and deleted. Spans make the projects they name."""

from collections.abc import Sequence

from infra.runtime.errors import Forbidden, NotFound, Unavailable
from query_api.access import Caller
from query_api.control.projects import Project, ProjectStore
from query_api.domain.llm_ids import first_in, page_of, row_number
from query_api.parts import Parts
from query_api.readers.projects import ProjectReader
from query_api.surfaces.policy import Page
from schemas.global_id import global_id, parse
from schemas.topics import SPAN_EDITS


class Projects:
    """The projects of a tenant."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = ProjectStore(parts.control.engine, parts.clock)
        self._reader = ProjectReader(parts.rows)
        self._default = parts.settings.default_project

    async def page(self, tenant: str, *, limit: int, cursor: str | None, of_experiments: bool) -> Page:
        """One page, the newest project first; projects of experiments only when asked for. Raises ValidationFailed for a bad cursor."""
        first = first_in(cursor, "Project")
        found = [each for each in await self._discover(tenant) if of_experiments or not each.of_experiment]
        found = [each for each in found if first is None or each.number <= first]
        return page_of(found, limit, "Project", project_json)

    async def get(self, tenant: str, identifier: str) -> Project:
        """The project with this GlobalID or name. Raises NotFound, and ValidationFailed for the id of something else."""
        return await self._parts.projects.get((tenant, identifier), lambda: self._found(tenant, identifier))

    async def _found(self, tenant: str, identifier: str) -> Project:
        named = parse(identifier)
        if named is not None and named.type == "Project":
            number = row_number(identifier, "Project")
            found = None if number is None else await self._store.by_number(tenant, number)
            if found is None:
                raise NotFound(f"Project with ID {identifier} not found")
            return found
        found = await self._store.by_name(tenant, identifier)
        if found is None and (identifier == self._default or await self._reader.has_spans(tenant, identifier)):
            await self._store.ensure(tenant, [identifier])
            found = await self._store.by_name(tenant, identifier)
        if found is None:
            raise NotFound(f"Project with name {identifier} not found")
        return found

    async def named(self, tenant: str, name: str) -> Project:
        """The project of this name, made when there is none."""
        await self._store.ensure(tenant, [name])
        found = await self._store.by_name(tenant, name)
        if found is None:
            raise NotFound(f"Project with name {name} was deleted a moment ago")
        return found

    async def create(self, caller: Caller, name: str, description: str | None, *, of_experiment: bool = False) -> Project:
        """Stores a project. Raises Conflict when one of this name exists, also one that only spans made."""
        if not of_experiment:
            await self._discover(caller.tenant)
        return await self._store.create(caller.tenant, name, description, caller.actor, of_experiment=of_experiment)

    async def describe(self, caller: Caller, identifier: str, description: str | None) -> Project:
        """Changes the description; None leaves it. The name of a project never changes. Raises NotFound."""
        project = await self.get(caller.tenant, identifier)
        return project if description is None else await self._store.describe(project, description, caller.actor)

    async def delete(self, caller: Caller, identifier: str) -> None:
        """Deletes a project and every span in it that began before now, for reads at once. Raises Forbidden for the default project."""
        project = await self.get(caller.tenant, identifier)
        if project.name == self._default:
            raise Forbidden("The default project cannot be deleted")
        now_ns = self._parts.clock.now_us() * 1_000
        edit = {"tenant": caller.tenant, "edit": "project", "key": project.name, "project": "", "at": now_ns}
        await self._parts.writer.visible(await self._parts.writer.write(SPAN_EDITS, [edit]))
        await self._store.remove(project, caller.actor)

    async def _discover(self, tenant: str) -> Sequence[Project]:
        """All projects, the newest first, once those that only spans know have an id. With ClickHouse away the known ones."""
        try:
            names = await self._reader.names(tenant)
        except Unavailable:
            names = []
        return await self._store.ensure(tenant, [self._default, *names])


def project_json(project: Project) -> dict[str, str | None]:
    """As the surface shows a project."""
    return {"id": global_id("Project", project.number), "name": project.name, "description": project.description}
