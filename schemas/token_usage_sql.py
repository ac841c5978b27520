"""What the spans of LLM calls used, as SQL: for the agent that adds it up and for the reader that adds up one trace.

Prompt tokens include those read from the cache and completion tokens the reasoning, in both conventions. A span that says otherwise (more
cached than prompt) counts them apart, so all of its prompt is billed.
"""

from typing import Final

from schemas.cost import CACHED, COMPLETION, PROMPT, REASONING

MAX_TOKENS: Final = 1_000_000_000_000
"""More tokens than this in one span are a client's mistake and count as this many; sums cannot overflow."""

USED_TOKENS: Final = "quarantined = 0 AND prompt_tokens + completion_tokens + cached_tokens + reasoning_tokens > 0"
"""The spans that count."""

TOKENS: Final = f"""least(prompt_tokens, {MAX_TOKENS}) AS prompt, least(completion_tokens, {MAX_TOKENS}) AS completion,
        least(cached_tokens, {MAX_TOKENS}) AS cached, least(reasoning_tokens, {MAX_TOKENS}) AS reasoning,
        arrayFilter(u -> u.2 > 0, [
            ('{PROMPT}', toUInt64(prompt), toUInt64(if(cached <= prompt, prompt - cached, prompt))), ('{CACHED}', toUInt64(cached), toUInt64(cached)),
            ('{COMPLETION}', toUInt64(completion), toUInt64(if(reasoning <= completion, completion - reasoning, completion))),
            ('{REASONING}', toUInt64(reasoning), toUInt64(reasoning))
        ]) AS units"""
"""Columns of a span: `units`, what it used of each unit as (unit, quantity, billed), and what that is made of."""
