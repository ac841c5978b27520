"""The Faust app and its agents, registered one by one.

Faust brings records and commits offsets; it is not the safety net. Concurrency is 1, so that every partition keeps its order; every
event is acknowledged by hand and in order after its work is done, and nothing escapes an agent: what nobody expected ends the process,
and the supervisor starts it again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import faust
import structlog
from faust.types import TP

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from infra.runtime.producer import Producer
from infra.runtime.settings import Settings
from schemas.avro import decode_mark
from schemas.definitions import Definitions
from schemas.guardrail import is_guarded
from schemas.lineage import MARKS
from schemas.tables.catalog import FED
from schemas.topics import BY_NAME, DEAD_LETTERS, EVALUATION_MARKS, EXPERIMENT_MARKS, RAW, TELEMETRY_MARKS, Topic
from schemas.windows import Grain
from streams.acks import Ack
from streams.cardinality import Cardinality
from streams.cost import Cost
from streams.cost_of_many import CostOfMany
from streams.dead_letter_index import DeadLetterIndex
from streams.dead_letters import DeadLetters
from streams.evaluation import Evaluation
from streams.evaluator import Evaluator
from streams.experiment_windows import ExperimentWindows
from streams.fatal import DEFECT, stop_worker
from streams.hand_acked import HandAcked
from streams.lanes import Lanes
from streams.ledger import Ledger
from streams.ordered_acks import OrderedAcks
from streams.pace import Pace
from streams.publish_windows import WindowWriter
from streams.readers.ledger import recent_outcomes
from streams.refresher import SPANS as ENDING_GRAINS
from streams.refresher import Refresher, Subject, Windows
from streams.retrying import until_done
from streams.sink import Revoked, Sink

_log = structlog.get_logger()

BUFFERED = 4
"""Records of one agent that Faust may hold ahead; a block can have megabytes."""


@dataclass(frozen=True)
class Parts:
    """What the agents work with, opened by the worker before the app starts."""

    settings: Settings
    clock: Clock
    clickhouse: ClickHouse
    producer: Producer
    definitions: Definitions
    generation: str
    """Identity of the Kafka cluster's logs."""


@dataclass(frozen=True)
class _Came:
    """A record as Faust brought it, and what to call once everything it asks for is done."""

    message: Any
    done: Callable[[], None]


Handler = Callable[[_Came], Awaitable[None]]


def kafka_broker_url(bootstrap: str) -> str:
    """The bootstrap servers as Faust writes them."""
    return ";".join(f"kafka://{server.strip()}" for server in bootstrap.split(","))


def create_app(parts: Parts) -> faust.App:
    """The app with all its agents. Starts nothing and touches no event loop."""
    settings = parts.settings
    app = faust.App(
        settings.streams.app_id,
        broker=kafka_broker_url(settings.kafka.bootstrap),
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        Event=HandAcked,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_buffer_maxsize=BUFFERED,
        stream_wait_empty=False,
        stream_publish_on_commit=False,
        broker_session_timeout=settings.kafka.session_timeout_s,
        broker_heartbeat_interval=settings.kafka.session_timeout_s / 3,
        broker_rebalance_timeout=settings.kafka.rebalance_timeout_s,
        broker_max_poll_interval=3_600.0,
        broker_max_poll_records=16,
        broker_commit_interval=1.0,
        consumer_max_fetch_size=4_194_304,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        datadir=str(settings.data_dir / "faust"),
    )
    Agents(app, parts).register()
    return app


class Agents:
    """Registers the agents and keeps what they share."""

    def __init__(self, app: faust.App, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._assigned: set[tuple[str, int]] = set()
        self._sinks: dict[str, Sink] = {}
        self._opening = asyncio.Lock()
        self._acks = OrderedAcks()
        self._lanes: dict[str, Lanes[_Came]] = {}
        self._ledger = Ledger(parts.clickhouse, parts.generation, parts.settings.streams, parts.clock)
        self._letters = DeadLetterIndex(parts.clickhouse, parts.settings.streams, parts.clock)
        self._pace = Pace(parts.clock, parts.settings.streams.keeping_up_s)
        self._windows = ExperimentWindows(
            parts.clickhouse, parts.clock, parts.definitions, parts.settings.streams, self._writer("assignments"), self._writer("significance")
        )
        self._experiments = self._refresher(self._windows, ENDING_GRAINS, self._share)
        self._cost = self._refresher(Cost(parts.clickhouse, self._writer("cost"), parts.definitions, parts.clock), (), self._cost_share)
        cost_of_many = self._refresher(CostOfMany(parts.clickhouse, self._writer("cost"), parts.definitions, parts.clock))
        self._refreshers: dict[str, tuple[Topic, tuple[Refresher, ...]]] = {
            "assignments": (EXPERIMENT_MARKS, (self._experiments,)),
            "significance": (EXPERIMENT_MARKS, (self._experiments,)),
            "cardinality": (TELEMETRY_MARKS, (self._refresher(Cardinality(parts.clickhouse, self._writer("cardinality"), parts.clock)),)),
            "cost": (TELEMETRY_MARKS, (self._cost, cost_of_many)),
            "evaluation": (
                EVALUATION_MARKS,
                (self._refresher(Evaluation(parts.clickhouse, self._writer("evaluation"), parts.definitions, parts.clock), (), self._rule_share),),
            ),
        }
        """By agent, each of which hands a mark to all of its own. Two agents that share a refresher both bring every mark: one that counts twice changes
        nothing, and it is done when both are."""
        self._evaluator = Evaluator(parts.clickhouse, parts.producer, parts.definitions, parts.settings.streams, parts.clock)

    def register(self) -> None:
        """One sink per raw topic, one agent per computation, and the tasks that drive the refreshes."""
        for topic in RAW:
            self._agent(f"{topic.name}_sink", topic, self._side_by_side(f"{topic.name}_sink", topic, self._store))
        self._agent("dead_letter_index", DEAD_LETTERS, self._index)
        if self._parts.settings.streams.computations:
            for name, (topic, refreshers) in self._refreshers.items():
                self._agent(name, topic, self._marker(*refreshers))
            self._agent(self._evaluator.kind, TELEMETRY_MARKS, self._marker(self._evaluator))
            for driven in self._driven():
                self._app.task(_driver(driven))
        self._app.on_partitions_assigned.connect(self._on_assigned)
        self._app.on_partitions_revoked.connect(self._on_revoked)

    def _writer(self, kind: str) -> WindowWriter:
        return WindowWriter(kind, self._parts.clickhouse, self._parts.producer, self._parts.clock)

    def _refresher(self, windows: Windows, grains: tuple[Grain, ...] = (), share: Callable[[Subject], float] | None = None) -> Refresher:
        return Refresher(windows, self._parts.settings.streams, self._parts.clock, grains, share)

    def _driven(self) -> "list[Refresher | Evaluator]":
        """Every refresher once, and the evaluator."""
        return [*dict.fromkeys(refresher for _, refreshers in self._refreshers.values() for refresher in refreshers), self._evaluator]

    def _share(self, subject: Subject) -> float:
        """The share of time for an experiment: more where units are protected, where a refresh is cheap, and as long as nothing else needs the engine,
        including other experiments."""
        settings = self._parts.settings.streams
        eager = settings.eager_duty / max(1, self._experiments.waiting) if self._pace.keeping_up() else 0.0
        guarded = settings.guarded_duty if is_guarded(self._parts.definitions.experiment(subject.tenant, subject.name)) else 0.0
        held = settings.held_duty / max(1, self._experiments.waiting) if self._windows.held_units(subject) else 0.0
        return max(settings.refresh_duty, guarded, held, eager)

    def _rule_share(self, subject: Subject) -> float:
        """The share of time for an evaluation rule: more where somebody waits for an alert, and as long as nothing else needs the engine."""
        settings = self._parts.settings.streams
        rule = self._parts.definitions.evaluation_rule(subject.tenant, subject.name)
        return max(settings.refresh_duty, settings.guarded_duty if rule and rule.alerts else 0.0, settings.eager_duty if self._pace.keeping_up() else 0.0)

    def _cost_share(self, _: Subject) -> float:
        """The share of time for the cost of a service: more as long as nothing else needs the engine, including other services."""
        settings = self._parts.settings.streams
        return max(settings.refresh_duty, settings.cost_duty / max(1, self._cost.waiting) if self._pace.keeping_up() else 0.0)

    def _agent(self, name: str, topic: Topic, handle: Handler) -> None:
        channel = self._app.topic(topic.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

        async def agent(stream: Any) -> None:
            async for event in stream.noack().events():
                message = event.message
                done = self._acks.began((name, message.topic, message.partition), message.offset, event.done)
                await self._contained(name, handle, _Came(message, done))

        self._app.agent(channel, name=name, concurrency=1)(agent)

    async def _contained(self, name: str, handle: Handler, came: _Came) -> None:
        """Nothing may escape an agent: Faust would acknowledge the event and go on."""
        try:
            await handle(came)
        except Revoked:
            _log.info("left to the new owner", topic=came.message.topic, partition=came.message.partition, offset=came.message.offset)
        except Exception as error:
            _log.exception("agent failed", agent=name)
            stop_worker(DEFECT, "agent failed", agent=name, error=repr(error)[:500])

    def _side_by_side(self, name: str, topic: Topic, handle: Handler) -> Handler:
        """The same handler, with a lane for each partition."""

        async def hand_over(came: _Came) -> None:
            lanes = self._lanes.get(name)
            if lanes is None:  # the event loop runs only now
                width = self._parts.settings.streams.insert_width
                # As Faust itself does when a buffer fills: what is fetched already still comes, and no more of that partition is.
                full, free = self._app.consumer.on_buffer_full, self._app.consumer.on_buffer_drop
                lanes = self._lanes[name] = Lanes(
                    lambda each: self._contained(name, handle, each),
                    width,
                    self._app.add_future,
                    full=lambda partition: full(TP(topic.name, partition)),
                    free=lambda partition: free(TP(topic.name, partition)),
                )
            lanes.put(came.message.partition, came)

        return hand_over

    async def _store(self, came: _Came) -> None:
        message = came.message
        sink = await self._sink(message.topic)
        await sink.store(_Record(message.topic, message.partition, message.offset, _headers(message.headers), message.value), came.done)

    async def _index(self, came: _Came) -> None:
        message = came.message
        await self._letters.note(message.partition, message.offset, _headers(message.headers))
        came.done()

    def _marker(self, *driven: Refresher | Evaluator) -> Handler:
        async def take(came: _Came) -> None:
            try:
                mark = decode_mark(came.message.value)
            except ValueError as error:
                _log.error("not a mark, left out", topic=came.message.topic, offset=came.message.offset, error=str(error))
                came.done()
                return
            all_done = Ack(came.done)
            for each in driven:
                all_done.hold()
                each.add(mark, all_done.done)
            all_done.done()

        return take

    async def _sink(self, topic: str) -> Sink:
        """The one sink of a topic: it keeps the high-water marks of all partitions, whose lanes ask for it at the same time."""
        async with self._opening:
            if topic not in self._sinks:
                p = self._parts
                recent = await until_done(partial(recent_outcomes, p.clickhouse, topic, 200), p.settings.streams, "recent outcomes not read yet", topic=topic)
                dead = DeadLetters(topic, p.producer, p.settings.streams, reversed(recent))
                self._sinks[topic] = Sink(
                    BY_NAME[topic], FED[topic], MARKS.get(topic), p.clickhouse, p.producer, self._ledger, dead, p.settings, p.clock, self._pace,
                    self._owned, _FaustReader(self._app),
                )  # fmt: skip
        return self._sinks[topic]

    def _owned(self, topic: str, partition: int) -> bool:
        return (topic, partition) in self._assigned

    async def _on_assigned(self, _app: Any, /, *given: Any, **_: Any) -> None:
        assigned = given[0]
        self._assigned = {(tp.topic, tp.partition) for tp in assigned}
        self._forget()
        _log.info("partitions assigned", partitions=len(assigned))

    async def _on_revoked(self, _app: Any, /, *given: Any, **_: Any) -> None:
        self._assigned -= {(tp.topic, tp.partition) for tp in given[0]}
        # Only here: once partitions are assigned, what waits may be of this assignment already.
        for lanes in self._lanes.values():
            lanes.forget()
        self._acks.forget()
        self._forget()

    def _forget(self) -> None:
        for sink in self._sinks.values():
            sink.forget()
        for driven in self._driven():
            driven.forget()


class _FaustReader:
    """Faust's consumer as the sinks ask it."""

    def __init__(self, app: faust.App) -> None:
        self._app = app

    async def earliest(self, topic: str, partition: int) -> int:
        place = TP(topic, partition)
        return int((await self._app.consumer.earliest_offsets(place))[place])

    async def go_back(self, topic: str, partition: int, offset: int) -> None:
        await self._app.consumer.seek_wait({TP(topic, partition): offset})


@dataclass
class _Record:
    topic: str
    partition: int
    offset: int
    headers: list[tuple[str, bytes]] | None
    value: bytes | None


def _headers(headers: Any) -> list[tuple[str, bytes]]:
    return list(headers.items()) if isinstance(headers, dict) else list(headers or ())


def _driver(refresher: Refresher | Evaluator) -> Callable[[], Awaitable[None]]:
    async def drive() -> None:
        try:
            await refresher.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            _log.exception("refresher failed")
            stop_worker(DEFECT, "refresher failed", kind=refresher.kind, error=repr(error)[:500])

    drive.__name__ = f"drive_{refresher.kind}"
    return drive
