"""Asking the model of one task, within the limits of its rule."""

import asyncio
import random
from functools import partial
from typing import Final

import msgspec
import structlog

from infra.runtime.chat import ChatAnswer, ChatFailed, ask_model, chat_keys, key_for
from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from infra.runtime.outbound import Outbound
from infra.runtime.settings import Settings
from schemas.avro import EvaluationTask
from schemas.cost import COMPLETION, PROMPT
from schemas.definitions import Definitions, PriceList
from schemas.evaluation import Evaluation, Judged, Spent
from schemas.evaluation_rule import EvaluationUnit
from schemas.evaluators.code import tokens_cost
from schemas.evaluators.judge import Judge
from schemas.evaluators.own_calls import own_traceparent
from schemas.evaluators.verdict import CannotJudge, Verdict
from streams import metrics
from streams.judge_limits import JudgeLimits
from streams.readers import evaluation as reader
from streams.retrying import until_done

_log = structlog.get_logger()

AGAIN_S: Final = 1.0
"""First pause before another attempt; doubles, with 20 % jitter."""
AGAIN_MAX_S: Final = 60.0


class _Asked:
    """What asking took so far, also when it fails."""

    def __init__(self) -> None:
        self.spent = Spent()


class JudgeCalls:
    """Asks models; one per process."""

    def __init__(self, clickhouse: ClickHouse, definitions: Definitions, settings: Settings, clock: Clock, outbound: Outbound) -> None:
        """Raises ValueError when the setting with the keys cannot be read."""
        self._clickhouse = clickhouse
        self._definitions = definitions
        self._settings = settings
        self._clock = clock
        self._outbound = outbound
        self._keys = chat_keys(settings.evaluation.secrets.get_secret_value())
        self._limits: dict[tuple[str, str], JudgeLimits] = {}
        self._together = asyncio.Semaphore(settings.evaluation.calls_together)

    def forget(self) -> None:
        """Rules may have gone to another worker."""
        self._limits.clear()

    async def evaluation(self, task: EvaluationTask) -> Evaluation | None:
        """What became of a task; None when its rule is gone or disabled. Waits as long as the rule's limits ask for, and while ClickHouse is away."""
        rule = self._definitions.evaluation_rule(task.tenant, task.rule)
        if rule is None or not rule.enabled:
            return None
        unit: EvaluationUnit = "trace_root" if task.unit == "trace_root" else "span"
        of = Judged(task.tenant, task.rule, task.annotation, unit, task.trace_id, task.span_id, task.project, task.ended_us)
        asked = _Asked()
        try:
            judge = msgspec.json.decode(task.judge, type=Judge)
            verdict = await self._verdict(task, judge, asked)
        except CannotJudge as failure:
            return Evaluation(of, self._clock.now_us(), None, "LLM", failure.reason, failure.detail, asked.spent)
        except Exception as error:
            _log.exception("judge failed", tenant=task.tenant, rule=task.rule)
            return Evaluation(of, self._clock.now_us(), None, "LLM", "defect", f"{type(error).__name__}; the log has the rest", asked.spent)
        spent = asked.spent
        facts = {"model": judge.model, "tokens": spent.tokens} | ({"cost": spent.cost, "currency": spent.currency} if spent.currency else {})
        return Evaluation(of, self._clock.now_us(), verdict, "LLM", spent=spent, facts=facts)

    async def _verdict(self, task: EvaluationTask, judge: Judge, asked: _Asked) -> Verdict:
        waited_s, longest_s = (self._clock.now_us() - task.queued_at_us) / 1e6, self._settings.evaluation.max_wait_s
        if waited_s > longest_s:
            raise CannotJudge("too_late", f"it waited for {waited_s:.0f} s; MILLSTREAM_EVALUATION_MAX_WAIT_S is {longest_s}")
        prices = self._definitions.price_list(task.tenant, self._clock.now_us())
        if judge.budget.cost_per_day is not None:
            _cost(judge, 1, 1, prices)
        try:
            key = key_for(self._keys, judge.secret, judge.url, task.tenant)
        except ChatFailed as failure:
            raise CannotJudge(failure.reason, failure.detail) from failure
        limits = self._limits_of(task, prices.currency)
        async with limits.turns(judge.concurrency):
            answer = await self._answer(task, judge, key, limits, asked)
            asked.spent = _spent(asked.spent.calls, judge, answer, prices)
            limits.paid(asked.spent.cost)
        return judge.verdict_of(answer.text)

    async def _answer(self, task: EvaluationTask, judge: Judge, key: str | None, limits: JudgeLimits, asked: _Asked) -> ChatAnswer:
        """The answer of the first attempt that has one. Raises CannotJudge after the last."""
        request, pause = judge.request(task.prompt), AGAIN_S
        for attempt in range(1, judge.attempts + 1):
            take = partial(limits.take, judge.budget)
            await until_done(take, self._settings.streams, "what a judge spent today not read yet", tenant=task.tenant, rule=task.rule)
            asked.spent = Spent(asked.spent.calls + 1)
            try:
                async with self._together:
                    answer = await ask_model(self._outbound, judge.url, key, request, traceparent=own_traceparent(), timeout_s=judge.timeout_s)
            except ChatFailed as failure:
                metrics.JUDGE_CALLS.labels(failure.reason).inc()
                if not failure.again or attempt == judge.attempts:
                    raise CannotJudge(failure.reason, f"{failure.detail} (attempt {attempt} of {judge.attempts})") from failure
                await asyncio.sleep(min(max(pause * random.uniform(0.8, 1.2), failure.retry_after_s or 0), AGAIN_MAX_S))
                pause *= 2
            else:
                metrics.JUDGE_CALLS.labels("answered").inc()
                return answer
        raise AssertionError("a judge has at least one attempt")

    def _limits_of(self, task: EvaluationTask, currency: str) -> JudgeLimits:
        place = (task.tenant, task.rule)
        if place not in self._limits:

            async def spent_since(since_us: int) -> reader.SpentToday:
                return await reader.spent(self._clickhouse, task.tenant, task.rule, since_us, currency)

            self._limits[place] = JudgeLimits(self._clock, spent_since)
        return self._limits[place]


def _spent(calls: int, judge: Judge, answer: ChatAnswer, prices: PriceList) -> Spent:
    """What an answer took; without a cost when the model has no price."""
    tokens = answer.prompt_tokens + answer.completion_tokens
    try:
        return Spent(calls, tokens, _cost(judge, answer.prompt_tokens, answer.completion_tokens, prices), prices.currency)
    except CannotJudge:
        return Spent(calls, tokens)


def _cost(judge: Judge, prompt: int, completion: int, prices: PriceList) -> float:
    """Raises CannotJudge without a price."""
    return tokens_cost({PROMPT: prompt, COMPLETION: completion}, judge.provider, judge.model, prices)
