"""Trying a rule that is not stored on spans that are."""

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from infra.runtime.chat import ChatFailed, ask_model, chat_keys, key_for
from infra.runtime.errors import InvalidArgument
from infra.runtime.outbound import Outbound, networks
from query_api.domain.evaluation_rules import made_rule
from query_api.parts import Parts
from query_api.readers.evaluated_spans import NewestSpans
from schemas.evaluation_rule import EvaluationRule
from schemas.evaluators.code import code_verdict
from schemas.evaluators.judge import Judge
from schemas.evaluators.own_calls import own_traceparent
from schemas.evaluators.span import EvaluatedSpan
from schemas.evaluators.verdict import CannotJudge, Verdict
from schemas.windows import to_iso

MAX_ASKED: Final = 10
"""Spans that a model is asked about."""
MAX_SHOWN: Final = 100
"""Spans whose judgement is shown."""
ASKED_TOGETHER: Final = 4


async def try_rule(parts: Parts, tenant: str, fields: Mapping[str, Any], *, spans: int, ask: bool) -> dict[str, Any]:
    """What the rule would say of the newest `spans` spans of its project. Writes nothing.

    A judge's prompts are shown; with `ask` its model is asked about the first of them, one attempt each. Raises ValidationFailed for a wrong field.
    """
    rule = await made_rule(parts, tenant, {"id": "test", **fields}, None, None)
    found = await NewestSpans(parts.rows).newest(tenant, rule.project, roots=rule.unit == "trace_root", limit=spans)
    applies = [span for span in found if rule.applies(span)]
    shown = applies[: MAX_ASKED if isinstance(rule.evaluator, Judge) and ask else MAX_SHOWN]
    if isinstance(rule.evaluator, Judge):
        results = await _judged(parts, rule, rule.evaluator, shown, ask)
    else:
        results = [_coded(parts, rule, span) for span in shown]
    return {"spans": len(found), "applies": len(applies), "results": [{**_about(span), **result} for span, result in zip(shown, results, strict=True)]}


def _about(span: EvaluatedSpan) -> dict[str, Any]:
    return {"trace_id": span.trace_id, "span_id": span.span_id, "name": span.name, "start_time": to_iso(span.start_ns // 1_000)}


def _coded(parts: Parts, rule: EvaluationRule, span: EvaluatedSpan) -> dict[str, Any]:
    assert not isinstance(rule.evaluator, Judge)
    try:
        return _said(code_verdict(rule.evaluator, span, parts.definitions.price_list(rule.tenant, span.start_ns // 1_000)))
    except CannotJudge as failure:
        return _failed(failure.reason, failure.detail)


async def _judged(parts: Parts, rule: EvaluationRule, judge: Judge, spans: list[EvaluatedSpan], ask: bool) -> list[dict[str, Any]]:
    settings = parts.settings.evaluation
    turns = asyncio.Semaphore(ASKED_TOGETHER)
    async with _outbound(settings.allow_private, judge.timeout_s) as outbound:

        async def one(span: EvaluatedSpan) -> dict[str, Any]:
            try:
                prompt = judge.prompt_for(span)
            except CannotJudge as failure:
                return _failed(failure.reason, failure.detail)
            if not ask:
                return {"prompt": prompt}
            try:
                key = key_for(chat_keys(settings.secrets.get_secret_value()), judge.secret, judge.url, rule.tenant)
                async with turns:
                    answer = await ask_model(outbound, judge.url, key, judge.request(prompt), traceparent=own_traceparent(), timeout_s=judge.timeout_s)
                return {"prompt": prompt, **_said(judge.verdict_of(answer.text))}
            except (CannotJudge, ChatFailed) as failure:
                return {"prompt": prompt, **_failed(failure.reason, failure.detail)}

        try:
            return await asyncio.gather(*(one(span) for span in spans))
        except ValueError as error:
            raise InvalidArgument(str(error)) from error


@asynccontextmanager
async def _outbound(allowed: str, timeout_s: float) -> Any:
    outbound = Outbound(networks(allowed), timeout_s)
    try:
        yield outbound
    finally:
        await outbound.close()


def _said(verdict: Verdict) -> dict[str, Any]:
    return {"label": verdict.label, "score": verdict.score, "explanation": verdict.explanation}


def _failed(reason: str, detail: str) -> dict[str, Any]:
    return {"failure": {"reason": reason, "detail": detail}}
