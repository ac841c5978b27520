"""Definitions change what windows mean: their owners are told to compute them again."""

import asyncio
import functools
from collections.abc import Awaitable, Callable

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from infra.runtime.producer import Producer
from infra.runtime.settings import StreamSettings
from schemas.avro import Mark, encode_mark
from schemas.definitions import Change
from schemas.topics import EXPERIMENT_MARKS, TELEMETRY_MARKS
from streams.readers import windows as reader
from streams.retrying import until_done


class Redefinitions:
    """Turns changes of definitions into marks. Every worker does it; the marks coalesce with their owner."""

    def __init__(self, clickhouse: ClickHouse, producer: Producer, settings: StreamSettings, clock: Clock) -> None:
        self._settings = settings
        self._clickhouse = clickhouse
        self._producer = producer
        self._clock = clock
        self._changes: asyncio.Queue[Change] = asyncio.Queue()

    def changed(self, change: Change) -> None:
        """Take a change in; returns at once."""
        self._changes.put_nowait(change)

    async def run(self) -> None:
        """Mark every known subject once, for what changed while no worker ran; then follow changes for ever."""
        for kind in ("significance", "cost"):
            await self._until_done(functools.partial(self._mark_kind, kind, ""))
        while True:
            change = await self._changes.get()
            await self._until_done(functools.partial(self._pass_on, change))

    async def _pass_on(self, change: Change) -> None:
        if change.kind == "experiment":
            await self._mark("significance", change.tenant, change.id)
        elif change.kind == "metric":
            await self._mark_kind("significance", change.tenant)
        elif change.kind == "price_list":
            await self._mark_kind("cost", change.tenant)

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        await until_done(step, self._settings, "definition change not passed on yet")

    async def _mark_kind(self, kind: str, tenant: str) -> None:
        for found_tenant, subject in await reader.subjects(self._clickhouse, kind):
            if tenant in ("", found_tenant):
                await self._mark(kind, found_tenant, subject)

    async def _mark(self, kind: str, tenant: str, subject: str) -> None:
        topic, key = (EXPERIMENT_MARKS, f"{tenant}/{subject}") if kind == "significance" else (TELEMETRY_MARKS, tenant)
        mark = Mark(tenant, subject, "", 0, -1, "", (), produced_at_us=self._clock.now_us(), reason="definition")
        await self._producer.send(topic.name, encode_mark(mark), key=key.encode())
