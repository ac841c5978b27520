"""`latency`, `tokens` and `cost`: whether a span kept within a limit."""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.evaluators.span import EvaluatedSpan
from schemas.evaluators.verdict import FAIL, PASS, CannotJudge, Verdict

Limit = Annotated[float, Meta(ge=0)]
Tokens = Annotated[int, Meta(ge=0)]


class Latency(msgspec.Struct, frozen=True, tag="latency", tag_field="type"):
    """Label `within` or `over`; score 1 or 0."""

    max_ms: Limit

    def verdict(self, span: EvaluatedSpan) -> Verdict:
        """Raises CannotJudge for a span that ends before it starts."""
        if span.latency_ms < 0:
            raise CannotJudge("invalid", "the span ends before it starts")
        return _within(span.latency_ms, self.max_ms, f"took {span.latency_ms:g} ms, the limit is {self.max_ms:g} ms")


class TokenLimit(msgspec.Struct, frozen=True, tag="tokens", tag_field="type"):
    """Label `within` or `over`; score 1 or 0. Over as soon as one of the limits is passed."""

    max_total: Tokens | None = None
    max_prompt: Tokens | None = None
    max_completion: Tokens | None = None

    def __post_init__(self) -> None:
        if self.max_total is None and self.max_prompt is None and self.max_completion is None:
            raise ValueError("max_total: give at least one of `max_total`, `max_prompt` and `max_completion`")

    def verdict(self, span: EvaluatedSpan) -> Verdict:
        """Raises CannotJudge for a span that counted no tokens."""
        used = {"total": span.prompt_tokens + span.completion_tokens, "prompt": span.prompt_tokens, "completion": span.completion_tokens}
        if not used["total"]:
            raise CannotJudge("missing", "the span counts no tokens")
        limits = {"total": self.max_total, "prompt": self.max_prompt, "completion": self.max_completion}
        over = [f"{used[name]} {name} tokens, the limit is {limit}" for name, limit in limits.items() if limit is not None and used[name] > limit]
        facts = {f"{name}_tokens": count for name, count in used.items()}
        return Verdict("over", FAIL, "; ".join(over), facts) if over else Verdict("within", PASS, f"{used['total']} tokens", facts)


class CostLimit(msgspec.Struct, frozen=True, tag="cost", tag_field="type"):
    """Label `within` or `over`; score 1 or 0. The cost is that of the span's tokens under the tenant's price list in force when it began."""

    max_amount: Limit
    """In the currency of the price list."""

    def verdict_of(self, amount: float, currency: str) -> Verdict:
        """The judgement of a cost."""
        verdict = _within(amount, self.max_amount, f"cost {amount:g} {currency}, the limit is {self.max_amount:g} {currency}")
        return Verdict(verdict.label, verdict.score, verdict.explanation, {"amount": amount, "currency": currency})


def _within(value: float, limit: float, explanation: str) -> Verdict:
    return Verdict("within", PASS, explanation, {"value": value}) if value <= limit else Verdict("over", FAIL, explanation, {"value": value})
