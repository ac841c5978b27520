"""What the spans of LLM calls used, as SQL: for the agent that adds it up and for the reader that adds up one trace or session.

Prompt tokens include those read from the cache and completion tokens the reasoning, in both conventions. A span that says otherwise (more
cached than prompt) counts them apart, so all of its prompt is billed.
"""

from typing import Final

from schemas.cost import CACHED, COMPLETION, PROMPT, REASONING

MAX_TOKENS: Final = 1_000_000_000_000
"""More tokens than this in one span are a client's mistake and count as this many; sums cannot overflow."""

USED_TOKENS: Final = "quarantined = 0 AND prompt_tokens + completion_tokens + cached_tokens + reasoning_tokens > 0"
"""The spans that count."""


def _counted(tokens: str) -> str:
    return f"least({tokens}, {MAX_TOKENS})"


def _without(tokens: str, part: str) -> str:
    whole, within = _counted(tokens), _counted(part)
    return f"toUInt64({whole} - if({within} <= {whole}, {within}, 0))"


TOKEN_SUMS: Final = f"""sum({_counted("prompt_tokens")}) AS prompt, sum({_without("prompt_tokens", "cached_tokens")}) AS billed_prompt,
        sum({_counted("cached_tokens")}) AS cached,
        sum({_counted("completion_tokens")}) AS completion, sum({_without("completion_tokens", "reasoning_tokens")}) AS billed_completion,
        sum({_counted("reasoning_tokens")}) AS reasoning"""
"""What a group of spans used, as columns of sums."""

UNITS: Final = f"""arrayFilter(u -> u.2 > 0, [('{PROMPT}', prompt, billed_prompt), ('{CACHED}', cached, cached),
        ('{COMPLETION}', completion, billed_completion), ('{REASONING}', reasoning, reasoning)])"""
"""The sums that are not zero as an array of (unit, quantity, billed)."""
