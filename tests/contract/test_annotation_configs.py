"""One suite for annotation configurations on every database of the control store."""

import asyncio
from typing import Any

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import Conflict, NotFound
from query_api.control.annotation_configs import AnnotationConfigStore
from query_api.control.audit import Actor, AuditFilter
from query_api.control.store import ControlStore

ACTOR = Actor("k1")


def body(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "FREEFORM", "description": "héllo \u0000", **fields}


@pytest.fixture
def configs(store: ControlStore) -> AnnotationConfigStore:
    return AnnotationConfigStore(store.engine, SystemClock())


async def test_names_are_given_once_per_tenant(configs: AnnotationConfigStore, store: ControlStore) -> None:
    made = await configs.create("names", body("tone"), ACTOR)
    second = await configs.create("names", body("length"), ACTOR)
    other = await configs.create("elsewhere", body("tone"), ACTOR)
    with pytest.raises(Conflict, match="tone"):
        await configs.create("names", body("tone"), ACTOR)
    with pytest.raises(Conflict, match="tone"):
        await configs.replace(second, body("tone"), ACTOR)
    assert await configs.by_name("names", "tone") == made == await configs.by_number("names", made.number)
    assert made.body == body("tone") and await configs.by_number("names", other.number) is None
    assert await configs.of_tenant("names", None, 10) == [second, made] and await configs.of_tenant("names", made.number, 10) == [made]

    renamed = await configs.replace(made, body("manner", type="CONTINUOUS"), ACTOR)
    assert renamed.number == made.number and await configs.by_name("names", "manner") == renamed
    await configs.remove(renamed, ACTOR)
    await configs.remove(renamed, ACTOR)
    with pytest.raises(NotFound):
        await configs.replace(renamed, body("late"), ACTOR)
    log = await store.audit_log("names", AuditFilter(kind="annotation_config"))
    assert [record.entry.action.partition(".")[2] for record in log.records] == ["deleted", "updated", "created", "created"]


async def test_of_one_name_side_by_side_one_is_made(configs: AnnotationConfigStore) -> None:
    made = await asyncio.gather(*(configs.create("race", body("tone"), ACTOR) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, Conflict) for each in made) == 7 and len(await configs.of_tenant("race", None, 10)) == 1
