"""The query service over a control store of its own: what is written is followed at once, as if the control topic took no time."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from query_api.control.store import ControlStore, Draft
from query_api.parts import Parts
from query_api.readers.rows import Rows
from query_api.surfaces.catalogue import SURFACES
from query_api.surfaces.mount import whole_app
from schemas.api_keys import hash_secret
from schemas.definition_kinds import Definition, Key, Role, Scope, Tenant, Tier, encode_definition, kind_of
from schemas.definitions import Definitions
from tests.unit.query_api.parts import AwayRows, make_parts

BASE = "http://query/experimentation/api/v1"


class TickingClock:
    """Every look at it is a millisecond later than the one before."""

    def __init__(self) -> None:
        self._now_us = 1_000_000_000

    def now_us(self) -> int:
        self._now_us += 1_000
        return self._now_us

    def monotonic(self) -> float:
        return self.now_us() / 1_000_000


class Service:
    """Ask it with `ask`; every request sees what the requests before it changed."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.app: FastAPI = whole_app(parts, SURFACES)

    async def ask(self, method: str, path: str, key: str | None = "admin", body: Any = None, **more: Any) -> httpx.Response:
        """One request to the experimentation surface with the key of that name."""
        headers: Mapping[str, str] = {"Authorization": f"Bearer {key}"} if key else {}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE) as http:
            answer = (
                await http.request(method, path, headers=headers, json=body, **more)
                if body is not None
                else await http.request(method, path, headers=headers, **more)
            )
        await self.follow()
        return answer

    async def follow(self) -> None:
        """Bring what was written into the definitions in force."""
        waiting = await self.parts.control.unpublished(1_000)
        for each in waiting:
            self.parts.definitions.apply(each.record)
        await self.parts.control.mark_published(each.seq for each in waiting)

    async def define(self, *definitions: Definition) -> None:
        """Store definitions past the API."""
        drafts = [Draft(kind_of(each), each.tenant, each.id, encode_definition(each)) for each in definitions]
        await self.parts.control.write(drafts)
        await self.follow()


def key(text: str, role: Role, tenant: str = "default", scopes: tuple[Scope, ...] = (), user: str = "", tier: Tier = "unlimited") -> Key:
    """A key with this text, which is its id and name too."""
    return Key(tenant=tenant, id=text, name=text, sha256=hash_secret(text), role=role, scopes=scopes, user=user, tier=tier)


async def start(folder: Path, rows: Rows | None = None) -> Service:
    """A service with two tenants and, unless given, no ClickHouse; the key `admin` administers the default one, `other` the other one, and each role has a key of its name."""
    store = ControlStore(f"sqlite+aiosqlite:///{folder}/control.sqlite3")
    await store.migrate()
    service = Service(replace(make_parts(rows or AwayRows(), definitions=Definitions(), control=store), clock=TickingClock()))
    roles: tuple[Role, ...] = ("admin", "analyst", "developer", "viewer", "member", "ingest", "read")
    await service.define(Tenant("default", "default"), Tenant("other", "other"), key("other", "admin", "other"), *(key(role, role) for role in roles))
    return service
