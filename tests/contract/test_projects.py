"""One suite for projects on every database of the control store."""

import asyncio

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import Conflict, ValidationFailed
from query_api.control.audit import Actor, AuditFilter
from query_api.control.projects import ProjectStore
from query_api.control.store import ControlStore

ACTOR = Actor("k1")


@pytest.fixture
def projects(store: ControlStore) -> ProjectStore:
    return ProjectStore(store.engine, SystemClock())


async def test_names_are_given_once_per_tenant(projects: ProjectStore, store: ControlStore) -> None:
    made = await projects.create("names", "agent", "first", ACTOR)
    with pytest.raises(Conflict, match="agent"):
        await projects.create("names", "agent", None, ACTOR)
    other = await projects.create("elsewhere", "agent", None, ACTOR)
    assert await projects.by_name("names", "agent") == made == await projects.by_number("names", made.number)
    assert await projects.by_number("names", other.number) is None
    described = await projects.describe(made, "second", ACTOR)
    await projects.remove(described, ACTOR)
    await projects.remove(described, ACTOR)
    assert await projects.by_name("names", "agent") is None
    log = await store.audit_log("names", AuditFilter(kind="project"))
    assert [record.entry.action for record in log.records] == ["project.deleted", "project.updated", "project.created"]


async def test_numbers_are_never_given_again(projects: ProjectStore) -> None:
    first = await projects.create("numbers", "a", None, ACTOR)
    await projects.remove(first, ACTOR)
    assert (await projects.create("numbers", "a", None, ACTOR)).number > first.number


async def test_a_name_that_cannot_be_stored_is_the_callers_fault(projects: ProjectStore) -> None:
    """PostgreSQL has no NUL in texts; to SQLite it is a character like any other."""
    try:
        found = await projects.by_name("odd", "a\x00b")
        made = await projects.create("odd", "a\x00b", None, ACTOR)
    except ValidationFailed as error:
        assert "NUL" in error.message
    else:
        assert found is None and await projects.by_name("odd", "a\x00b") == made


async def test_finding_the_same_projects_side_by_side_makes_each_once(projects: ProjectStore) -> None:
    names = [f"p{number}" for number in range(20)]
    await asyncio.gather(*(projects.ensure("many", names[start:]) for start in range(5)))
    found = await projects.of_tenant("many")
    assert sorted(each.name for each in found) == sorted(names)
    assert [each.number for each in found] == sorted((each.number for each in found), reverse=True)
