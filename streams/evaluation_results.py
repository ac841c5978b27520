"""Publishing evaluations: an annotation for each that was judged, and the row that counts it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from infra.runtime.clock import Clock, uuid7
from infra.runtime.producer import Producer
from infra.runtime.settings import StreamSettings
from schemas.blocks import Block, Touched
from schemas.evaluation import Evaluation
from schemas.row_block import row_block
from schemas.topics import ANNOTATIONS, EVALUATIONS, Topic
from schemas.windows import minute_of
from streams import metrics
from streams.retrying import until_done

MAX_ROWS = 2_000
"""Rows of one block."""


class EvaluationResults:
    """Publishes blocks. Annotations go first: an evaluation that is counted has its annotation."""

    def __init__(self, producer: Producer, settings: StreamSettings, clock: Clock) -> None:
        self._producer = producer
        self._settings = settings
        self._clock = clock
        self._waiting: list[tuple[Evaluation, asyncio.Future[None]]] = []
        self._publishing: asyncio.Task[None] | None = None

    async def publish(self, evaluations: Sequence[Evaluation]) -> None:
        """Returns once Kafka has acknowledged all. Goes on trying while it is away; repeating replaces what was published."""
        for start in range(0, len(evaluations), MAX_ROWS):
            part = evaluations[start : start + MAX_ROWS]
            annotations = [row for each in part if (row := each.annotation_row()) is not None]
            if annotations:
                await self._send(self._block(ANNOTATIONS, annotations))
            await self._send(replace(self._block(EVALUATIONS, [each.row() for each in part]), touched=_touched(part)))
            for each in part:
                metrics.EVALUATIONS.labels(each.kind, each.reason or "judged").inc()

    async def submit(self, evaluation: Evaluation) -> None:
        """`publish` of one, together with others that come while a block is under way."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((evaluation, done))
        if self._publishing is None or self._publishing.done():
            self._publishing = asyncio.create_task(self._publish_waiting())
        await done

    async def _publish_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await self.publish([evaluation for evaluation, _ in batch])
            for _, done in batch:
                if not done.done():
                    done.set_result(None)

    def _block(self, topic: Topic, rows: Sequence[dict[str, Any]]) -> Block:
        now = self._clock.now_us()
        return row_block(topic, rows, str(uuid7(now)), now)

    async def _send(self, block: Block) -> None:
        send = partial(self._producer.send, block.topic.name, block.body, headers=block.headers())
        await until_done(send, self._settings, "evaluations not published yet", rows=block.rows)


def _touched(evaluations: Sequence[Evaluation]) -> tuple[Touched, ...]:
    minutes: dict[tuple[str, str], set[int]] = {}
    for each in evaluations:
        minutes.setdefault((each.of.tenant, each.of.rule), set()).add(minute_of(each.of.ended_us))
    return tuple(Touched(tenant, rule, tuple(sorted(found)), None, True) for (tenant, rule), found in sorted(minutes.items()))
