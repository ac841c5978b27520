"""Judging a span with an evaluator that is code."""

from fractions import Fraction

from schemas.cost import CACHED, COMPLETION, PROMPT, REASONING, Usage, amount, pricing
from schemas.definition_kinds import PriceList
from schemas.evaluators.catalogue import CodeEvaluator
from schemas.evaluators.limits import CostLimit
from schemas.evaluators.span import EvaluatedSpan
from schemas.evaluators.verdict import CannotJudge, Verdict


def code_verdict(evaluator: CodeEvaluator, span: EvaluatedSpan, prices: PriceList) -> Verdict:
    """The judgement; `prices` are those in force when the span began. Raises CannotJudge."""
    if isinstance(evaluator, CostLimit):
        return evaluator.verdict_of(span_cost(span, prices), prices.currency)
    return evaluator.verdict(span)


def span_cost(span: EvaluatedSpan, prices: PriceList) -> float:
    """What a span's tokens cost, counted as the windows of cost count them. Raises CannotJudge without tokens or a price."""
    prompt, completion = span.prompt_tokens, span.completion_tokens
    if not prompt + completion + span.cached_tokens + span.reasoning_tokens:
        raise CannotJudge("missing", "the span counts no tokens")
    billed = {
        PROMPT: prompt - span.cached_tokens if span.cached_tokens <= prompt else prompt,
        CACHED: span.cached_tokens,
        COMPLETION: completion - span.reasoning_tokens if span.reasoning_tokens <= completion else completion,
        REASONING: span.reasoning_tokens,
    }
    return tokens_cost(billed, span.llm_provider, span.llm_model, prices)


def tokens_cost(billed: dict[str, int], provider: str, model: str, prices: PriceList) -> float:
    """What tokens by unit of account cost. Raises CannotJudge when the list has no price for the model."""
    table, total = pricing(prices), Fraction()
    for unit, count in billed.items():
        price = table.price(Usage("", "", provider, model, unit, count, count))
        if isinstance(price, str):
            raise CannotJudge("unpriced", price)
        total += amount(count, *price)
    return float(total)
