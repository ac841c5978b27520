"""Asking models: works through the tasks that `evaluator` queued, within the limits of their rules.

It reads its topic in a consumer group of its own, beside Faust: a model takes seconds, and while it thinks nothing else may wait. Kafka holds
what is not begun yet. A task is committed once its evaluation is acknowledged; after a crash it comes again, and one that is evaluated
already is not asked again.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from infra.runtime.outbound import Outbound, networks
from infra.runtime.producer import Producer
from infra.runtime.settings import Settings
from schemas.avro import EvaluationTask, decode_evaluation_task
from schemas.definitions import Definitions
from schemas.topics import EVALUATION_TASKS
from streams.commit_order import CommitOrder
from streams.evaluation_results import EvaluationResults
from streams.failpoints import passing
from streams.judge_calls import JudgeCalls
from streams.readers import evaluation as reader
from streams.retrying import until_done

_log = structlog.get_logger()

HELD: Final = 256
"""Tasks a worker has taken and not finished."""
FETCHED: Final = 100
LOOK_S: Final = 0.5
RECONNECT_S: Final = 2.0


class JudgeConsumer:
    """Takes tasks from their topic, and commits them when they are done."""

    def __init__(self, clickhouse: ClickHouse, producer: Producer, definitions: Definitions, settings: Settings, clock: Clock) -> None:
        """Raises ValueError when a setting of evaluation cannot be read."""
        evaluation = settings.evaluation
        self._clickhouse = clickhouse
        self._settings = settings
        self._outbound = Outbound(networks(evaluation.allow_private), 60.0)
        self._calls = JudgeCalls(clickhouse, definitions, settings, clock, self._outbound)
        self._results = EvaluationResults(producer, settings.streams, clock)
        self._order: dict[TopicPartition, CommitOrder] = {}
        self._tasks: dict[asyncio.Task[None], TopicPartition] = {}
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled. Waits for Kafka as long as it takes."""
        try:
            while True:
                try:
                    await self._consume()
                except KafkaError as error:
                    _log.warning("judges wait for Kafka", error=str(error)[:300])
                self.drop(list(self._order))
                await asyncio.sleep(RECONNECT_S)
        finally:
            self.drop(list(self._order))
            await self._outbound.close()

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Partitions went to another worker: what was begun of them is left to it."""
        gone = set(partitions)
        for place in gone:
            self._order.pop(place, None)
        for task, place in list(self._tasks.items()):
            if place in gone:
                task.cancel()
                del self._tasks[task]
        self._calls.forget()

    async def _consume(self) -> None:
        kafka = self._settings.kafka
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap.split(","),
            group_id=f"{self._settings.streams.app_id}-judge",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(kafka.session_timeout_s * 1000),
            heartbeat_interval_ms=int(kafka.session_timeout_s * 300),
            rebalance_timeout_ms=int(kafka.rebalance_timeout_s * 1000),
            max_poll_interval_ms=3_600_000,
        )
        consumer.subscribe([EVALUATION_TASKS.name], listener=_Moves(self))
        try:
            await consumer.start()
            committed: dict[TopicPartition, int] = {}
            while True:
                await self._take(consumer)
                positions = {place: order.position for place, order in self._order.items()}
                moved = {place: at for place, at in positions.items() if at is not None and committed.get(place) != at and place in consumer.assignment()}
                if moved:
                    await consumer.commit(moved)
                    committed |= moved
        finally:
            await consumer.stop()

    async def _take(self, consumer: Any) -> None:
        """Begin what there is room for, or wait a moment until something ends."""
        self._ended.clear()
        room = HELD - len(self._tasks)
        if room <= 0:
            await asyncio.wait([asyncio.create_task(self._ended.wait())], timeout=LOOK_S)
            return
        fetched = await consumer.getmany(timeout_ms=int(LOOK_S * 1000), max_records=min(room, FETCHED))
        found = {place: [(record.offset, _decoded(record.value)) for record in records] for place, records in fetched.items()}
        wanted = [task for records in found.values() for _, task in records if task is not None]
        done = await self._done(wanted) if wanted else set()
        for place, records in found.items():
            if place not in consumer.assignment():
                continue
            order = self._order.setdefault(place, CommitOrder())
            for offset, task in records:
                order.began(offset)
                if task is None or (task.tenant, task.rule, task.trace_id, task.span_id, task.ended_us) in done:
                    order.ended(offset)
                else:
                    self._begin(place, order, offset, task)

    async def _done(self, tasks: Sequence[EvaluationTask]) -> set[reader.Done]:
        return await until_done(partial(reader.already_judged, self._clickhouse, tasks), self._settings.streams, "tasks of judges not compared yet")

    def _begin(self, place: TopicPartition, order: CommitOrder, offset: int, task: EvaluationTask) -> None:
        async def work() -> None:
            evaluation = await self._calls.evaluation(task)
            if evaluation is not None:
                await self._results.submit(evaluation)
                passing("answered")
            order.ended(offset)

        running = asyncio.create_task(work())
        self._tasks[running] = place
        running.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._ended.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task of a judge failed; it comes again with the next worker", error=repr(error)[:500])


class _Moves(ConsumerRebalanceListener):  # type: ignore[misc]
    """Lets go of partitions that are taken away."""

    def __init__(self, owner: JudgeConsumer) -> None:
        self._owner = owner

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._owner.drop(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing: what was committed is where it goes on."""


def _decoded(value: bytes | None) -> EvaluationTask | None:
    try:
        return decode_evaluation_task(value or b"")
    except ValueError as error:
        _log.error("not a task for a judge, left out", error=str(error))
        return None
