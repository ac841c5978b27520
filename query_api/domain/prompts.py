"""Prompts: created, versioned, tagged, described and deleted. What a version holds is stored as it was sent and served unchanged."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from infra.runtime.errors import NotFound, ValidationFailed
from query_api.access import Caller
from query_api.control.prompts import NewPrompt, Prompt, PromptStore, Tag, Version
from query_api.domain.json_values import check_json
from query_api.domain.llm_ids import first_in, page_of, row_number
from query_api.parts import Parts
from query_api.surfaces.policy import Page
from schemas.global_id import global_id

IDENTIFIER_FORM: Final = r"^[a-z0-9]([_a-z0-9-]*[a-z0-9])?$"
"""Names of prompts and of tags."""


class Prompts:
    """The prompts of a tenant. Wherever an identifier is taken, it is the GlobalID of a prompt or its name."""

    def __init__(self, parts: Parts) -> None:
        self._store = PromptStore(parts.control.engine, parts.clock)

    async def page(self, tenant: str, *, limit: int, cursor: str | None) -> Page:
        """One page, the newest prompt first. Raises ValidationFailed for a bad cursor."""
        return page_of(await self._store.of_tenant(tenant, first_in(cursor, "Prompt"), limit + 1), limit, "Prompt", prompt_json)

    async def get(self, tenant: str, identifier: str) -> Prompt:
        """Raises NotFound, and ValidationFailed for a text that is neither an id of a prompt nor could be a name."""
        number = row_number(identifier, "Prompt")
        if number is None and not _could_be_a_name(identifier):
            raise ValidationFailed(f"Invalid prompt identifier {identifier!r}: it is neither the id of a prompt nor a name of the form {IDENTIFIER_FORM}")
        found = await (self._store.by_name(tenant, identifier) if number is None else self._store.by_number(tenant, number))
        if found is None:
            raise NotFound("Prompt not found")
        return found

    async def create(self, caller: Caller, name: str, given: Mapping[str, Any], body: Mapping[str, Any]) -> Version:
        """Stores a version: the next one of the prompt with this name or the first one of a new prompt, which gets description, metadata
        and source from `given`; an existing prompt keeps its own. Raises ValidationFailed when the source is no prompt of the tenant."""
        check_json(dict(body), "version")
        metadata = given.get("metadata") or {}
        check_json(metadata, "prompt.metadata")
        source = given.get("source_prompt_id")
        if source is not None:
            source = row_number(source, "Prompt")
            if source is None or await self._store.by_number(caller.tenant, source) is None:
                raise ValidationFailed("prompt.source_prompt_id: this is not the id of a prompt; leave it out for a prompt that was not copied")
        return await self._store.add(caller.tenant, NewPrompt(name, given.get("description"), source, metadata), body, caller.actor)

    async def add(self, caller: Caller, identifier: str, body: Mapping[str, Any], tags: Sequence[tuple[str, str | None]]) -> Version:
        """Stores the next version of an existing prompt and points the tags to it. Raises NotFound."""
        check_json(dict(body), "version")
        return await self._store.add_to(await self.get(caller.tenant, identifier), body, tags, caller.actor)

    async def change(self, caller: Caller, identifier: str, fields: Mapping[str, Any]) -> Prompt:
        """Changes description and metadata, each only where given. Raises NotFound."""
        check_json(fields.get("metadata"), "metadata")
        return await self._store.change(await self.get(caller.tenant, identifier), fields, caller.actor)

    async def delete(self, caller: Caller, identifier: str) -> None:
        """Deletes a prompt with its versions and tags. Raises NotFound."""
        await self._store.remove(await self.get(caller.tenant, identifier), caller.actor)

    async def versions(self, tenant: str, identifier: str, *, limit: int, cursor: str | None) -> Page:
        """One page of a prompt's versions, the newest first. Raises NotFound."""
        first = first_in(cursor, "PromptVersion")
        return page_of(await self._store.versions(await self.get(tenant, identifier), first, limit + 1), limit, "PromptVersion", version_json)

    async def latest(self, tenant: str, identifier: str) -> Version:
        """The newest version of a prompt. Raises NotFound."""
        found = await self._store.versions(await self.get(tenant, identifier), None, 1)
        if not found:
            raise NotFound("Prompt not found")
        return found[0]

    async def tagged(self, tenant: str, identifier: str, tag: str) -> Version:
        """The version that a tag of a prompt points to. Raises NotFound."""
        if not _could_be_a_name(tag):
            raise ValidationFailed(f"Invalid tag name {tag!r}: it has the form {IDENTIFIER_FORM}")
        found = await self._store.tagged(await self.get(tenant, identifier), tag)
        if found is None:
            raise NotFound(f"No version of this prompt has the tag {tag}")
        return found

    async def version(self, tenant: str, version_id: str) -> Version:
        """A version by its id. Raises NotFound, and ValidationFailed for the id of something else."""
        return (await self._version(tenant, version_id))[1]

    async def tag(self, caller: Caller, version_id: str, name: str, description: str | None) -> None:
        """Points a tag of the prompt to this version, wherever it pointed before. Raises NotFound."""
        await self._store.tag(*await self._version(caller.tenant, version_id), name, description, caller.actor)

    async def tags(self, tenant: str, version_id: str, *, limit: int, cursor: str | None) -> Page:
        """One page of the tags of a version, the newest first. Raises NotFound."""
        first = first_in(cursor, "PromptVersionTag")
        _, version = await self._version(tenant, version_id)
        return page_of(await self._store.tags(version, first, limit + 1), limit, "PromptVersionTag", tag_json)

    async def untag(self, caller: Caller, version_id: str, name: str) -> None:
        """Removes a tag of the prompt that the version belongs to. Raises NotFound when the prompt has no such tag."""
        if not _could_be_a_name(name):
            raise ValidationFailed(f"Invalid tag name {name!r}: it has the form {IDENTIFIER_FORM}")
        if not await self._store.untag(*await self._version(caller.tenant, version_id), name, caller.actor):
            raise NotFound(f"This prompt has no tag {name}")

    async def _version(self, tenant: str, version_id: str) -> tuple[Prompt, Version]:
        number = row_number(version_id, "PromptVersion")
        if number is None:
            raise ValidationFailed("Invalid prompt version ID")
        found = await self._store.version(tenant, number)
        if found is None:
            raise NotFound("Prompt version not found")
        return found


def prompt_json(prompt: Prompt) -> dict[str, Any]:
    """A prompt as the surface shows it."""
    source = None if prompt.source is None else global_id("Prompt", prompt.source)
    shown = {"id": global_id("Prompt", prompt.number), "name": prompt.name, "description": prompt.description, "source_prompt_id": source}
    return {**shown, "metadata": prompt.metadata}


def version_json(version: Version) -> dict[str, Any]:
    """A version as the surface shows it: with an id, and an empty description where none was sent."""
    return {"id": global_id("PromptVersion", version.number), **version.body, "description": version.body.get("description") or ""}


def tag_json(tag: Tag) -> dict[str, Any]:
    """A tag as the surface shows it."""
    return {"id": global_id("PromptVersionTag", tag.number), "name": tag.name, "description": tag.description}


def _could_be_a_name(text: str) -> bool:
    return re.fullmatch(IDENTIFIER_FORM.strip("^$"), text) is not None
