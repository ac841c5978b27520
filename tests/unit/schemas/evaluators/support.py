"""Spans to judge."""

from dataclasses import replace
from typing import Any

from schemas.any_value import Value, encode
from schemas.evaluators.span import EvaluatedSpan

_SECOND_NS = 1_000_000_000
_PLAIN = EvaluatedSpan(
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7", parent_id="", project="shop", name="chat", span_kind="LLM", status_code="OK",
    status_message="", session_id="s1", user_id="u1", llm_provider="openai", llm_model="gpt-4o", prompt_tokens=1_000, completion_tokens=200,
    cached_tokens=400, reasoning_tokens=50, start_ns=1_790_000_000 * _SECOND_NS, end_ns=1_790_000_002 * _SECOND_NS, raw={},
)  # fmt: skip


def span(attributes: dict[str, Value] | None = None, **fields: Any) -> EvaluatedSpan:
    """A span that took two seconds, with these attributes and fields."""
    return replace(_PLAIN, raw={name: encode(value) for name, value in (attributes or {}).items()}, **fields)


def said(text: str, question: str = "") -> EvaluatedSpan:
    """A span with this output."""
    return span({"output.value": text, "input.value": question})
