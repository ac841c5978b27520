"""The names a span filter knows: fields of every span. Every other name is an attribute."""

from typing import Final

from schemas.span_filter.tree import Kind

FIELDS: Final[dict[str, Kind]] = {
    "span_id": "text",
    "trace_id": "text",
    "parent_id": "text",
    "name": "text",
    "span_kind": "text",
    "status_code": "text",
    "status_message": "text",
    "latency_ms": "number",
    "start_time": "time",
    "end_time": "time",
    "cumulative_llm_token_count_prompt": "number",
    "cumulative_llm_token_count_completion": "number",
    "cumulative_llm_token_count_total": "number",
}
ALIASES: Final = {
    "context.span_id": "span_id",
    "context.trace_id": "trace_id",
    **{f"cumulative_token_count.{part}": f"cumulative_llm_token_count_{part}" for part in ("prompt", "completion", "total")},
}
CAPITALS: Final = frozenset({"span_kind", "status_code"})
"""Fields whose values are in capitals, so that a literal beside them is read in capitals too."""
NUMBERS: Final = frozenset(f"llm.token_count.{part}" for part in ("prompt", "completion", "total"))
"""Attributes that are known to be numbers: comparing one with a text is an error."""
PARENT: Final = "parent_span"
ACCESSORS: Final[dict[str, str]] = {"annotations": "span", "evals": "span", "trace_annotations": "trace"}
MEMBERS: Final = ("label", "score", "explanation")
CASTS: Final = ("float", "int", "str")
