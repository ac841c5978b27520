"""The prompts of the LLM surface: each has versions, and tags that point to one version each."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.runtime.clock import Clock
from infra.runtime.errors import NotFound
from query_api.control.audit import Actor, AuditEntry, add_entries
from query_api.control.engine import changing, reading
from query_api.control.models import PromptRow, PromptTagRow, PromptVersionRow


class NewPrompt(NamedTuple):
    """What a prompt has beside its versions."""

    name: str
    description: str | None
    source: int | None
    """Number of the prompt it was copied from."""
    metadata: Mapping[str, Any]


class Prompt(NamedTuple):
    """A stored prompt."""

    number: int
    tenant: str
    name: str
    description: str | None
    source: int | None
    metadata: Mapping[str, Any]


class Version(NamedTuple):
    """A version of a prompt; it never changes."""

    number: int
    prompt: int
    """Number of the prompt."""
    body: Mapping[str, Any]
    """As it was sent."""


class Tag(NamedTuple):
    """A name for one version of a prompt."""

    number: int
    name: str
    description: str | None


_PROMPT = [PromptRow.__table__.c[name] for name in Prompt._fields]
_VERSION = [PromptVersionRow.__table__.c[name] for name in Version._fields]
_TAG = [PromptTagRow.__table__.c[name] for name in Tag._fields]


class PromptStore:
    """Every method is one transaction. Lists are newest first, from `first` on. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def of_tenant(self, tenant: str, first: int | None, limit: int) -> list[Prompt]:
        query = select(*_PROMPT).where(PromptRow.tenant == tenant).order_by(PromptRow.number.desc()).limit(limit)
        return await self._prompts(query if first is None else query.where(PromptRow.number <= first))

    async def by_number(self, tenant: str, number: int) -> Prompt | None:
        return next(iter(await self._prompts(select(*_PROMPT).where(PromptRow.tenant == tenant, PromptRow.number == number))), None)

    async def by_name(self, tenant: str, name: str) -> Prompt | None:
        return next(iter(await self._prompts(select(*_PROMPT).where(PromptRow.tenant == tenant, PromptRow.name == name))), None)

    async def add(self, tenant: str, prompt: NewPrompt, body: Mapping[str, Any], actor: Actor) -> Version:
        """Stores the next version of the prompt with this name, and the prompt itself when there is none; an existing one stays as it is."""
        now = self._clock.now_us()
        async with changing(self._engine) as connection:
            of_name = select(PromptRow.number).where(PromptRow.tenant == tenant, PromptRow.name == prompt.name)
            number = (await connection.execute(of_name)).scalar()
            if number is None:
                values = {"tenant": tenant, **prompt._asdict(), "metadata": _text(prompt.metadata), "created_at_us": now, "updated_at_us": now}
                try:
                    async with connection.begin_nested():
                        number = (await connection.execute(insert(PromptRow).values(values).returning(PromptRow.number))).scalar_one()
                    fresh = {"description": prompt.description, "metadata": prompt.metadata}
                    await add_entries(connection, [AuditEntry(tenant, actor, "prompt.created", "prompt", prompt.name, {}, fresh)], now)
                except IntegrityError:  # another process made it meanwhile
                    number = (await connection.execute(of_name)).scalar_one()
            return await self._added(connection, tenant, int(number), prompt.name, body, actor, now)

    async def add_to(self, prompt: Prompt, body: Mapping[str, Any], tags: Sequence[tuple[str, str | None]], actor: Actor) -> Version:
        """Stores the next version of a prompt, with tags. Raises `NotFound` when the prompt was deleted meanwhile."""
        now = self._clock.now_us()
        async with changing(self._engine) as connection:
            version = await self._added(connection, prompt.tenant, prompt.number, prompt.name, body, actor, now)
            for name, description in tags:
                await _put_tag(connection, version, name, description)
                await add_entries(connection, [_tagging(prompt, version, actor, "prompt.tagged", name)], now)
            return version

    async def versions(self, prompt: Prompt, first: int | None, limit: int) -> list[Version]:
        query = select(*_VERSION).where(PromptVersionRow.prompt == prompt.number).order_by(PromptVersionRow.number.desc()).limit(limit)
        return await self._versions(query if first is None else query.where(PromptVersionRow.number <= first))

    async def tagged(self, prompt: Prompt, tag: str) -> Version | None:
        """The version a tag of the prompt points to."""
        query = select(*_VERSION).join(PromptTagRow, PromptTagRow.version == PromptVersionRow.number)
        return next(iter(await self._versions(query.where(PromptTagRow.prompt == prompt.number, PromptTagRow.name == tag))), None)

    async def version(self, tenant: str, number: int) -> tuple[Prompt, Version] | None:
        """A version and its prompt."""
        found = await self._versions(select(*_VERSION).where(PromptVersionRow.number == number))
        prompt = await self.by_number(tenant, found[0].prompt) if found else None
        return None if prompt is None else (prompt, found[0])

    async def tag(self, prompt: Prompt, version: Version, name: str, description: str | None, actor: Actor) -> None:
        """Points a tag of the prompt to a version, wherever it pointed before. Raises `NotFound` when the version was deleted meanwhile."""
        async with changing(self._engine) as connection:
            await _put_tag(connection, version, name, description)
            await add_entries(connection, [_tagging(prompt, version, actor, "prompt.tagged", name)], self._clock.now_us())

    async def tags(self, version: Version, first: int | None, limit: int) -> list[Tag]:
        query = select(*_TAG).where(PromptTagRow.version == version.number).order_by(PromptTagRow.number.desc()).limit(limit)
        async with reading(self._engine) as connection:
            rows = await connection.execute(query if first is None else query.where(PromptTagRow.number <= first))
            return [Tag(**row) for row in rows.mappings()]

    async def untag(self, prompt: Prompt, version: Version, name: str, actor: Actor) -> bool:
        """Removes a tag of the prompt; says whether there was one."""
        async with changing(self._engine) as connection:
            gone = await connection.execute(delete(PromptTagRow).where(PromptTagRow.prompt == prompt.number, PromptTagRow.name == name))
            if gone.rowcount:
                await add_entries(connection, [_tagging(prompt, version, actor, "prompt.untagged", name)], self._clock.now_us())
            return bool(gone.rowcount)

    async def change(self, prompt: Prompt, fields: Mapping[str, Any], actor: Actor) -> Prompt:
        """Changes `description`, `metadata` or both. Raises `NotFound` when the prompt was deleted meanwhile."""
        now, after = self._clock.now_us(), prompt._replace(**fields)
        values = {"description": after.description, "metadata": _text(after.metadata), "updated_at_us": now}
        async with changing(self._engine) as connection:
            changed = await connection.execute(update(PromptRow).where(PromptRow.number == prompt.number).values(values))
            if not changed.rowcount:
                raise NotFound("Prompt not found")
            old = {name: getattr(prompt, name) for name in fields}
            await add_entries(connection, [AuditEntry(prompt.tenant, actor, "prompt.updated", "prompt", prompt.name, old, fields)], now)
        return after

    async def remove(self, prompt: Prompt, actor: Actor) -> None:
        """Forgets a prompt with its versions and tags; nothing happens when it is gone already."""
        async with changing(self._engine) as connection:
            gone = await connection.execute(delete(PromptRow).where(PromptRow.number == prompt.number))
            if gone.rowcount:
                old = {"description": prompt.description, "metadata": prompt.metadata}
                await add_entries(connection, [AuditEntry(prompt.tenant, actor, "prompt.deleted", "prompt", prompt.name, old, {})], self._clock.now_us())

    @staticmethod
    async def _added(connection: AsyncConnection, tenant: str, prompt: int, name: str, body: Mapping[str, Any], actor: Actor, now: int) -> Version:
        try:
            statement = insert(PromptVersionRow).values(prompt=prompt, body=_text(body), created_at_us=now)
            number = int((await connection.execute(statement.returning(PromptVersionRow.number))).scalar_one())
        except IntegrityError as error:
            raise NotFound("Prompt not found: it was deleted a moment ago") from error
        await add_entries(connection, [AuditEntry(tenant, actor, "prompt.version_created", "prompt", name, {}, {"version": number})], now)
        return Version(number, prompt, body)

    async def _prompts(self, query: Select[tuple[object, ...]]) -> list[Prompt]:
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings()
            return [Prompt(**{**row, "metadata": json.loads(row["metadata"])}) for row in rows]

    async def _versions(self, query: Select[tuple[object, ...]]) -> list[Version]:
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings()
            return [Version(row["number"], row["prompt"], json.loads(row["body"])) for row in rows]


async def _put_tag(connection: AsyncConnection, version: Version, name: str, description: str | None) -> None:
    values = {"version": version.number, "description": description}
    of_name = (PromptTagRow.prompt == version.prompt, PromptTagRow.name == name)
    try:
        if (await connection.execute(update(PromptTagRow).where(*of_name).values(values))).rowcount:
            return
        try:
            async with connection.begin_nested():
                await connection.execute(insert(PromptTagRow).values(prompt=version.prompt, name=name, **values))
        except IntegrityError:  # another process gave the prompt this tag meanwhile
            if not (await connection.execute(update(PromptTagRow).where(*of_name).values(values))).rowcount:
                raise
    except IntegrityError as error:
        raise NotFound("Prompt version not found: it was deleted a moment ago") from error


def _tagging(prompt: Prompt, version: Version, actor: Actor, action: str, name: str) -> AuditEntry:
    told = {"tag": name, "version": version.number}
    before, after = ({}, told) if action == "prompt.tagged" else (told, {})
    return AuditEntry(prompt.tenant, actor, action, "prompt", prompt.name, before, after)


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
