"""One suite for prompts on every database of the control store."""

import asyncio
from typing import Any

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import NotFound
from query_api.control.audit import Actor, AuditFilter
from query_api.control.prompts import NewPrompt, PromptStore, Version
from query_api.control.store import ControlStore

ACTOR = Actor("k1")
BODY: dict[str, Any] = {"template": {"text": "héllo \u0000 {{x}}"}, "whole": 1, "broken": 1.5, "none": None}


@pytest.fixture
def prompts(store: ControlStore) -> PromptStore:
    return PromptStore(store.engine, SystemClock())


async def added(prompts: PromptStore, tenant: str, name: str = "poem", body: dict[str, Any] = BODY) -> Version:
    return await prompts.add(tenant, NewPrompt(name, None, None, {"n": 1}), body, ACTOR)


async def test_versions_come_back_as_they_went_in(prompts: PromptStore) -> None:
    first = await added(prompts, "kept")
    second = await added(prompts, "kept", body={})
    other = await added(prompts, "elsewhere")
    prompt = await prompts.by_name("kept", "poem")
    assert prompt is not None and prompt.metadata == {"n": 1} and prompt == await prompts.by_number("kept", prompt.number)
    assert first.body == BODY and await prompts.versions(prompt, None, 10) == [second, first]
    assert await prompts.version("kept", first.number) == (prompt, first)
    assert await prompts.version("kept", other.number) is None and await prompts.by_number("elsewhere", prompt.number) is None


async def test_prompts_made_side_by_side_get_every_version(prompts: PromptStore) -> None:
    made = await asyncio.gather(*(added(prompts, "many") for _ in range(10)))
    (prompt,) = await prompts.of_tenant("many", None, 10)
    assert [each.number for each in await prompts.versions(prompt, None, 20)] == sorted((each.number for each in made), reverse=True)


async def test_a_tag_points_to_one_version_also_side_by_side(prompts: PromptStore) -> None:
    versions = [await added(prompts, "tags") for _ in range(4)]
    (prompt,) = await prompts.of_tenant("tags", None, 10)
    await asyncio.gather(*(prompts.tag(prompt, version, "production", None, ACTOR) for version in versions))
    having = [version for version in versions if await prompts.tags(version, None, 10)]
    assert [await prompts.tagged(prompt, "production")] == having
    assert await prompts.untag(prompt, versions[0], "production", ACTOR) and not await prompts.untag(prompt, versions[0], "production", ACTOR)


async def test_what_was_deleted_meanwhile_is_not_found(prompts: PromptStore, store: ControlStore) -> None:
    version = await added(prompts, "gone")
    (prompt,) = await prompts.of_tenant("gone", None, 10)
    await prompts.tag(prompt, version, "production", None, ACTOR)
    await prompts.remove(prompt, ACTOR)
    await prompts.remove(prompt, ACTOR)
    with pytest.raises(NotFound, match="deleted a moment ago"):
        await prompts.add_to(prompt, BODY, [], ACTOR)
    with pytest.raises(NotFound, match="deleted a moment ago"):
        await prompts.tag(prompt, version, "production", None, ACTOR)
    with pytest.raises(NotFound):
        await prompts.change(prompt, {"description": "d"}, ACTOR)
    again = await added(prompts, "gone")
    assert again.number > version.number and await prompts.tags(again, None, 10) == []
    log = await store.audit_log("gone", AuditFilter(kind="prompt"))
    told = ["prompt.version_created", "prompt.created", "prompt.deleted", "prompt.tagged", "prompt.version_created", "prompt.created"]
    assert [record.entry.action for record in log.records] == told
