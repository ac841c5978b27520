"""The query service: one application with every surface, and what runs beside it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from infra.runtime.clock import SystemClock
from infra.runtime.collector import settle
from infra.runtime.follower import CompactedFollower
from infra.runtime.outbound import Outbound, networks
from infra.runtime.producer import Producer
from infra.runtime.settings import Settings
from query_api.access import Access
from query_api.block_writer import BlockWriter
from query_api.control.dispatcher import WebhookDispatcher
from query_api.control.leadership import Leadership
from query_api.control.outbox import OutboxPublisher
from query_api.control.projects import ProjectStore
from query_api.control.store import ControlStore
from query_api.control.topic import KafkaControlTopic
from query_api.control.webhook_queue import WebhookQueue
from query_api.control.webhook_sender import WebhookSender
from query_api.control.webhooks import WebhookStore
from query_api.control.while_unchanged import WhileUnchanged
from query_api.domain.breaker import Breaker
from query_api.domain.endings import Endings
from query_api.domain.evaluation_alerts import EvaluationAlerts
from query_api.domain.health import NotReady, Probe, Probes
from query_api.domain.keys import ensure_bootstrap
from query_api.domain.pinning import Pinning
from query_api.domain.shown import ShownResults
from query_api.domain.stored import StoredDefinitions
from query_api.domain.webhooks import Webhooks
from query_api.freshness import Freshness
from query_api.live.channel_topics import ChannelTopics
from query_api.live.flow import Flow
from query_api.live.hub import Hub
from query_api.live.latest import LatestWindows
from query_api.live.updates import Together, UpdatesReader
from query_api.parts import Parts
from query_api.readers.broker import Broker
from query_api.readers.exposed_units import ExposedUnits
from query_api.readers.key_usage import KeyUsage
from query_api.readers.ledger import LedgerReader
from query_api.readers.newest_spans import NewestSpans
from query_api.readers.rows import ClickHouseRows
from query_api.readers.visible_spans import VisibleSpans
from query_api.readers.windows import WindowReader
from query_api.surfaces.catalogue import SURFACES
from query_api.surfaces.mount import whole_app
from schemas.avro import applied_to
from schemas.definitions import Definitions
from schemas.topics import CONTROL, UPDATES

_log = structlog.get_logger()

DEFINITIONS_DEADLINE_S = 5.0
"""How long a start waits for the definitions; without Kafka it goes on without them."""
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 10.0


def create_app(settings: Settings) -> FastAPI:
    """The application; connects to nothing before its lifespan begins.

    It starts and answers with any of its parts away: keys and definitions come from the control topic and stay in memory, the
    control store is only needed to change them, and a read fails alone with 503. `health/ready` says what is missing.
    """
    clock = SystemClock()
    definitions = Definitions()
    rows = ClickHouseRows(settings.clickhouse)
    ledger = LedgerReader(rows)
    broker = Broker(settings.kafka.bootstrap)
    store = ControlStore(settings.control_url)
    outbox = OutboxPublisher(store, KafkaControlTopic(settings.kafka.bootstrap, CONTROL.name), settings.control.outbox_poll_s)
    hub = Hub()
    latest = LatestWindows(WindowReader(rows), clock)
    flow = Flow(ledger, clock)
    follower = CompactedFollower(settings.kafka.bootstrap, CONTROL.name, applied_to(definitions))
    key_usage = KeyUsage(settings.kafka.bootstrap)
    freshness = Freshness(ledger, WindowReader(rows), clock)
    producer = Producer(settings.kafka)
    updates = UpdatesReader(settings.kafka.bootstrap, Together(hub, latest), clock)
    migrated = asyncio.Event()
    outbound = Outbound(networks(settings.webhooks.allow_private), settings.webhooks.timeout_s)
    queue = WebhookQueue(store.engine, clock)
    dispatcher = WebhookDispatcher(
        queue,
        WebhookSender(outbound, clock),
        Leadership(store.engine, "webhooks"),
        clock,
        poll_s=settings.webhooks.poll_s,
        keep_days=settings.webhooks.keep_days,
        commits=store.commits,
    )

    async def clickhouse_works() -> None:
        await rows.query("SELECT 1 AS one FROM ledger LIMIT 1")

    async def kafka_works() -> None:
        if not await broker.ends([UPDATES.name]):
            raise NotReady("the topics do not exist; `millstream topics apply` creates them")

    async def definitions_known() -> None:
        if not follower.is_caught_up:
            raise NotReady(follower.problem or "the control topic is still being read")

    async def workers_there() -> None:
        if not await broker.members(settings.streams.app_id):
            raise NotReady("no worker is running; `millstream worker` starts one")

    async def store_works() -> None:
        await store.waiting()

    parts = Parts(
        settings=settings,
        clock=clock,
        definitions=definitions,
        access=Access(settings, definitions, clock, lambda: follower.is_caught_up),
        rows=rows,
        visible=VisibleSpans(rows),
        newest=NewestSpans(rows, clock),
        broker=broker,
        freshness=freshness,
        writer=BlockWriter(producer, freshness, clock, settings.query.wait_timeout_s),
        hub=hub,
        latest=latest,
        shown=ShownResults(),
        flow=flow,
        probes=Probes(
            Probe("clickhouse", clickhouse_works),
            Probe("kafka", kafka_works),
            Probe("definitions", definitions_known),
            Probe("workers", workers_there),
            Probe("control_store", store_works, required=False),
        ),
        control=store,
        projects=WhileUnchanged(store.commits),
        outbox=outbox,
        key_usage=key_usage,
        webhooks=Webhooks(WebhookStore(store.engine, clock), queue, outbound, clock),
        channels=ChannelTopics(rows, freshness, store, clock),
        pinning=Pinning(StoredDefinitions(store, definitions, clock, outbox.wake), ExposedUnits(rows), clock),
    )
    breaker = Breaker(parts.stored, definitions, WindowReader(rows), queue, Leadership(store.engine, "breaker"))
    endings = Endings(parts.stored, definitions, Leadership(store.engine, "endings"))
    judged = UpdatesReader(settings.kafka.bootstrap, breaker, clock)
    alerts = EvaluationAlerts(definitions, WindowReader(rows), queue, Leadership(store.engine, "evaluation"))
    watched = UpdatesReader(settings.kafka.bootstrap, alerts, clock)

    async def judge() -> None:
        await migrated.wait()
        await breaker.run(judged.run, follower.caught_up)

    async def end() -> None:
        await migrated.wait()
        await endings.run(follower.caught_up)

    async def watch() -> None:
        await migrated.wait()
        await alerts.run(watched.run, follower.caught_up)

    async def tell() -> None:
        await migrated.wait()
        await dispatcher.run()

    async def feed() -> None:
        await migrated.wait()
        await parts.channels.run()

    async def publish_definitions() -> None:
        await store.migrate()
        migrated.set()
        await ensure_bootstrap(store, settings, clock)
        await ProjectStore(store.engine, clock).ensure(settings.default_tenant, [settings.default_project])
        await outbox.run()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await follower.start()
        await key_usage.start()
        await producer.start()
        # So that who is told that the service is there finds the keys and definitions there too.
        await follower.caught_up(DEFINITIONS_DEADLINE_S)
        settle()
        loops = {
            "definitions": publish_definitions,
            "updates": updates.run,
            "flow": flow.run,
            "breaker": judge,
            "evaluation_alerts": watch,
            "endings": end,
            "webhooks": tell,
            "pinning": parts.pinning.run,
            "channels": feed,
        }
        tasks = [asyncio.create_task(_forever(name, loop), name=name) for name, loop in loops.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await follower.stop()
            await key_usage.stop()
            await producer.stop()
            await broker.close()
            await rows.close()
            await outbound.close()
            await store.close()

    return whole_app(parts, SURFACES, lifespan)


async def _forever(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Runs `work` again whenever it fails, after 0.5 s, doubling, at most 10 s: the service outlives each of its loops."""
    pause = RETRY_FIRST_S
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001
            _log.warning("loop failed and starts again", loop=name, problem=f"{type(error).__name__}: {error}", retry_s=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, RETRY_MAX_S)
