"""Judging spans as they are stored: code at once, models through tasks for `judge`.

A stored block of spans leaves marks. For a tenant that has rules, the spans of the marked blocks are read back, and what the rules say of
them is published; then the marks are acknowledged. A repeat gives the same annotations, which replace themselves. For a tenant
without rules a mark is acknowledged as it comes. The sink waits for none of this.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import msgspec
import structlog

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from infra.runtime.producer import Producer
from infra.runtime.settings import StreamSettings
from schemas.avro import EvaluationTask, Mark, encode_evaluation_task
from schemas.definitions import Definitions, to_us
from schemas.evaluation import Evaluation, Judged
from schemas.evaluation_rule import EvaluationRule
from schemas.evaluators.code import code_verdict
from schemas.evaluators.judge import Judge
from schemas.evaluators.span import EvaluatedSpan
from schemas.evaluators.verdict import CannotJudge
from schemas.topics import EVALUATION_TASKS, SPANS
from streams.evaluation_results import EvaluationResults
from streams.failpoints import passing
from streams.readers.evaluated_spans import PAGE, Found, Origin, spans_of
from streams.retrying import until_done

_log = structlog.get_logger()

BATCH_MARKS = 200
BATCH_ROWS = 5_000
"""Marks, and rows of their blocks, that are read back by one query."""
SLICE = 50
"""Spans judged before others may have their turn."""
TIMEOUT_S = 60.0
"""Of one query."""


class _Waiting(NamedTuple):
    mark: Mark
    release: Callable[[], object]


@dataclass
class _Said:
    """What the rules say of some spans."""

    evaluations: list[Evaluation] = field(default_factory=list)
    tasks: list[EvaluationTask] = field(default_factory=list)


class Evaluator:
    """Works through marks of blocks of spans, those of one tenant together."""

    kind = "evaluator"

    def __init__(self, clickhouse: ClickHouse, producer: Producer, definitions: Definitions, settings: StreamSettings, clock: Clock) -> None:
        self._clickhouse = clickhouse
        self._producer = producer
        self._definitions = definitions
        self._settings = settings
        self._clock = clock
        self._results = EvaluationResults(producer, settings, clock)
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._epoch = 0

    def add(self, mark: Mark, release: Callable[[], object]) -> None:
        """Take a mark in; `release` is called once what the rules say of its spans is published."""
        if mark.topic == SPANS.name and mark.minutes and self._rules(mark.tenant):
            self._waiting.append(_Waiting(mark, release))
            self._wake.set()
        else:
            release()

    def forget(self) -> None:
        """Partitions moved: leave everything unfinished to whoever owns it now; nothing of it is acknowledged."""
        self._epoch += 1
        self._waiting.clear()

    async def run(self) -> None:
        """Judge for ever. Blocks while ClickHouse or Kafka are away and goes on by itself."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._judge(self._next())

    def _rules(self, tenant: str) -> list[EvaluationRule]:
        return [rule for rule in self._definitions.evaluation_rules(tenant) if rule.enabled]

    def _next(self) -> list[_Waiting]:
        """The oldest mark, and those of its tenant behind it that may go with it."""
        batch = [self._waiting.popleft()]
        rows = batch[0].mark.rows
        while self._waiting and len(batch) < BATCH_MARKS:
            following = self._waiting[0].mark
            rows += following.rows
            if following.tenant != batch[0].mark.tenant or rows > BATCH_ROWS:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _judge(self, batch: Sequence[_Waiting]) -> None:
        epoch, tenant = self._epoch, batch[0].mark.tenant
        origins = sorted({Origin(mark.subject, mark.partition, mark.offset) for mark, _ in batch})
        minutes = sorted({minute for mark, _ in batch for minute in mark.minutes})
        after = ("", "")
        while epoch == self._epoch and (rules := self._rules(tenant)):
            read = partial(spans_of, self._clickhouse, tenant, origins, minutes, after, timeout=TIMEOUT_S)
            found = await until_done(read, self._settings, "spans to judge not read yet", tenant=tenant)
            await self._publish(await self._say(rules, found))
            if len(found) < PAGE:
                break
            after = (found[-1].span.trace_id, found[-1].span.span_id)
        if epoch == self._epoch:
            for _, release in batch:
                release()

    async def _say(self, rules: Sequence[EvaluationRule], found: Sequence[Found]) -> _Said:
        said = _Said()
        for place, (span, received_us) in enumerate(found):
            for rule in rules:
                if rule.created_at is None or to_us(rule.created_at) <= received_us:
                    self._apply(rule, span, said)
            if place % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        return said

    def _apply(self, rule: EvaluationRule, span: EvaluatedSpan, said: _Said) -> None:
        """What one rule says of one span. Never raises: a span that nobody foresaw is a failure of its own."""
        now = self._clock.now_us()
        of = Judged(rule.tenant, rule.id, rule.annotation, rule.unit, span.trace_id, span.span_id, span.project, span.ended_us)
        kind = "LLM" if isinstance(rule.evaluator, Judge) else "CODE"
        try:
            if not rule.applies(span):
                return
            if isinstance(rule.evaluator, Judge):
                said.tasks.append(_task(of, rule.evaluator, span, now))
                return
            prices = self._definitions.price_list(rule.tenant, span.start_ns // 1_000)
            said.evaluations.append(Evaluation(of, now, code_verdict(rule.evaluator, span, prices), kind))
        except CannotJudge as failure:
            said.evaluations.append(Evaluation(of, now, None, kind, failure.reason, failure.detail))
        except Exception as error:
            _log.exception("span cannot be judged", tenant=rule.tenant, rule=rule.id, trace=span.trace_id, span=span.span_id)
            said.evaluations.append(Evaluation(of, now, None, kind, "defect", f"{type(error).__name__}; the log has the rest"))

    async def _publish(self, said: _Said) -> None:
        for start in range(0, len(said.tasks), SLICE):
            await asyncio.gather(*(self._queue(task) for task in said.tasks[start : start + SLICE]))
        passing("queued")
        await self._results.publish(said.evaluations)
        passing("judged")

    async def _queue(self, task: EvaluationTask) -> None:
        send = partial(self._producer.send, EVALUATION_TASKS.name, encode_evaluation_task(task), key=f"{task.tenant}/{task.rule}".encode())
        await until_done(send, self._settings, "task for a judge not queued yet", tenant=task.tenant, rule=task.rule)


def _task(of: Judged, judge: Judge, span: EvaluatedSpan, now_us: int) -> EvaluationTask:
    """Raises CannotJudge when the prompt names what the span has not."""
    prompt, text = judge.prompt_for(span), msgspec.json.encode(judge).decode()
    return EvaluationTask(of.tenant, of.rule, of.annotation, of.unit, of.trace_id, of.span_id, of.project, of.ended_us, prompt, text, now_us)
