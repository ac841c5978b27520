"""`latency`, `tokens` and `cost`."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.definition_kinds import LlmPrice, PriceList
from schemas.evaluators.code import code_verdict, span_cost
from schemas.evaluators.limits import CostLimit, Latency, TokenLimit
from schemas.evaluators.verdict import CannotJudge
from tests.unit.schemas.evaluators.support import span

PRICES = PriceList("default", "own", 1, datetime(2026, 1, 1, tzinfo=UTC), "EUR", (LlmPrice("openai", "gpt-4*", 2.0, 10.0, 1.0),))


@pytest.mark.parametrize(("max_ms", "label", "score"), [(2_000.0, "within", 1.0), (1_999.9, "over", 0.0)])
def test_latency(max_ms: float, label: str, score: float) -> None:
    verdict = Latency(max_ms).verdict(span())
    assert (verdict.label, verdict.score, verdict.facts) == (label, score, {"value": 2_000.0})


def test_a_span_that_ends_before_it_starts_has_no_latency() -> None:
    with pytest.raises(CannotJudge, match="ends before it starts"):
        Latency(1.0).verdict(span(end_ns=0))


@pytest.mark.parametrize(
    ("limits", "label"),
    [
        ({"max_total": 1_200}, "within"),
        ({"max_total": 1_199}, "over"),
        ({"max_prompt": 1_000, "max_completion": 200}, "within"),
        ({"max_prompt": 1_000, "max_completion": 199}, "over"),
        ({"max_prompt": 0}, "over"),
    ],
)
def test_tokens(limits: dict[str, int], label: str) -> None:
    assert TokenLimit(**limits).verdict(span()).label == label


def test_tokens_needs_a_limit_and_a_count() -> None:
    with pytest.raises(ValueError, match="give at least one"):
        TokenLimit()
    with pytest.raises(CannotJudge, match="counts no tokens"):
        TokenLimit(max_total=1).verdict(span(prompt_tokens=0, completion_tokens=0))


def test_the_cost_is_that_of_the_cost_windows() -> None:
    # 600 prompt tokens at 2, 400 cached at 1, 150 completion and 50 reasoning tokens at 10 a million.
    assert span_cost(span(), PRICES) == pytest.approx((600 * 2 + 400 * 1 + 200 * 10) / 1e6, rel=1e-12)
    # More cached than prompt tokens: they were counted apart.
    assert span_cost(span(cached_tokens=2_000), PRICES) == pytest.approx((1_000 * 2 + 2_000 * 1 + 200 * 10) / 1e6, rel=1e-12)


@pytest.mark.parametrize(("limit", "score"), [(0.0036, 1.0), (0.0035, 0.0)])
def test_cost(limit: float, score: float) -> None:
    verdict = code_verdict(CostLimit(limit), span(), PRICES)
    assert verdict.score == score and verdict.facts == {"amount": 0.0036, "currency": "EUR"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"llm_model": "claude"}, "unpriced"), (dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"), 0), "missing")],
)
def test_a_cost_that_is_not_known(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(CannotJudge) as caught:
        code_verdict(CostLimit(1.0), span(**fields), PRICES)
    assert caught.value.reason == reason
