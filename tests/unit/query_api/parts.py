"""Parts of the query service without anything behind them: for faults and for what needs no store."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from infra.runtime.errors import Unavailable
from infra.runtime.outbound import Outbound
from infra.runtime.producer import Producer
from infra.runtime.settings import Settings
from query_api.access import Access
from query_api.block_writer import BlockWriter
from query_api.control.outbox import OutboxPublisher
from query_api.control.store import ControlStore
from query_api.control.topic import KafkaControlTopic
from query_api.control.webhook_queue import WebhookQueue
from query_api.control.webhooks import WebhookStore
from query_api.control.while_unchanged import WhileUnchanged
from query_api.domain.health import Probe, Probes
from query_api.domain.pinning import Pinning
from query_api.domain.shown import ShownResults
from query_api.domain.stored import StoredDefinitions
from query_api.domain.webhooks import Webhooks
from query_api.freshness import Freshness
from query_api.live.channel_topics import ChannelTopics
from query_api.live.flow import Flow
from query_api.live.hub import Hub
from query_api.live.latest import LatestWindows
from query_api.parts import Parts
from query_api.readers.broker import Broker
from query_api.readers.exposed_units import ExposedUnits
from query_api.readers.key_usage import KeyUsage
from query_api.readers.ledger import LedgerReader
from query_api.readers.newest_spans import NewestSpans
from query_api.readers.rows import Rows
from query_api.readers.visible_spans import VisibleSpans
from query_api.readers.windows import WindowReader
from schemas.api_keys import hash_secret
from schemas.definition_kinds import Key, encode_definition
from schemas.definitions import ControlRecord, Definitions

READ_KEY = "reader-key-0123456789"
INGEST_KEY = "ingest-key-0123456789"
OTHER_KEY = "other-tenant-0123456789"

Answer = Callable[[str, Mapping[str, Any]], Sequence[Mapping[str, Any]]]


class HandClock:
    """A clock that moves when it is asked for the time."""

    def __init__(self, step_s: float = 0.0) -> None:
        self._now = 1_000.0
        self._step_s = step_s

    def now_us(self) -> int:
        return int(self._now * 1_000_000)

    def monotonic(self) -> float:
        self._now += self._step_s
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


class ScriptedRows:
    """Answers each statement by a function."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def query(self, sql: str, params: Mapping[str, Any] = {}) -> Sequence[Mapping[str, Any]]:
        self.asked.append((sql, params))
        return self.answer(sql, params)

    async def table(self, sql: str, params: Mapping[str, Any] = {}) -> pa.Table:
        return pa.Table.from_pylist([dict(row) for row in await self.query(sql, params)])


class AwayRows:
    """ClickHouse is away."""

    async def query(self, sql: str, params: Mapping[str, Any] = {}) -> Sequence[Mapping[str, Any]]:
        raise Unavailable("ClickHouse cannot be reached; try again", retry_after_s=1)

    async def table(self, sql: str, params: Mapping[str, Any] = {}) -> pa.Table:
        return await self.query(sql, params)


class BrokenRows:
    """A defect below the surface."""

    async def query(self, sql: str, params: Mapping[str, Any] = {}) -> Sequence[Mapping[str, Any]]:
        raise ZeroDivisionError("secret detail")

    async def table(self, sql: str, params: Mapping[str, Any] = {}) -> pa.Table:
        return await self.query(sql, params)


def known_keys() -> Definitions:
    """Definitions with a reading key, an ingest key and one of another tenant."""
    definitions = Definitions()
    for number, (text, tenant, role) in enumerate(((READ_KEY, "default", "read"), (INGEST_KEY, "default", "ingest"), (OTHER_KEY, "other", "read"))):
        key = Key(tenant=tenant, id=f"k{number}", name="k", sha256=hash_secret(text), role=role)  # type: ignore[arg-type]
        definitions.apply(ControlRecord("key", tenant, key.id, 1, False, encode_definition(key), 0))
    return definitions


def make_parts(
    rows: Rows,
    *,
    definitions: Definitions | None = None,
    probes: Probes | None = None,
    settings: Settings | None = None,
    control: ControlStore | None = None,
) -> Parts:
    """Parts over the given rows and, where one is given, a control store; what is not given is never asked."""
    chosen = settings or Settings()
    clock = HandClock()
    known = known_keys() if definitions is None else definitions
    ledger = LedgerReader(rows)
    store = control or ControlStore("sqlite+aiosqlite:///:memory:")

    async def works() -> None:
        return None

    freshness = Freshness(ledger, WindowReader(rows), clock)
    outbox = OutboxPublisher(store, KafkaControlTopic("127.0.0.1:1", "control"))
    return Parts(
        settings=chosen,
        clock=clock,
        definitions=known,
        access=Access(chosen, known, clock),
        rows=rows,
        visible=VisibleSpans(rows),
        newest=NewestSpans(rows, clock),
        broker=Broker("127.0.0.1:1"),
        freshness=freshness,
        writer=BlockWriter(Producer(chosen.kafka), freshness, clock, 1.0),
        hub=Hub(),
        latest=LatestWindows(WindowReader(rows), clock),
        shown=ShownResults(),
        flow=Flow(ledger, clock),
        probes=probes or Probes(Probe("clickhouse", works)),
        control=store,
        projects=WhileUnchanged(store.commits),
        outbox=outbox,
        key_usage=KeyUsage("127.0.0.1:1"),
        webhooks=Webhooks(WebhookStore(store.engine, clock), WebhookQueue(store.engine, clock), Outbound((), 1.0), clock),
        channels=ChannelTopics(rows, freshness, store, clock),
        pinning=Pinning(StoredDefinitions(store, known, clock, outbox.wake), ExposedUnits(rows), clock),
    )
