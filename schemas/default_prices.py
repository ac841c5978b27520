"""The price list that holds where a tenant has defined none.

These are example prices: public list prices of well-known models as generally known when this was written, in US
dollars per million tokens, and round figures of the order hosted observability is sold at for the rest. Nothing
keeps them up to date. Whoever needs exact money applies a price list of their own.
"""

from datetime import UTC, datetime
from typing import Final

from schemas.definition_kinds import LlmPrice, PriceList

DEFAULT_PRICE_LIST: Final = PriceList(
    tenant="default",
    name="default",
    version=1,
    effective_from=datetime(1970, 1, 1, tzinfo=UTC),
    currency="USD",
    llm=(
        LlmPrice("openai", "gpt-4o*", 2.50, 10.00, 1.25),
        LlmPrice("openai", "gpt-4o-mini*", 0.15, 0.60, 0.075),
        LlmPrice("openai", "gpt-4.1*", 2.00, 8.00, 0.50),
        LlmPrice("openai", "gpt-4.1-mini*", 0.40, 1.60, 0.10),
        LlmPrice("openai", "gpt-4.1-nano*", 0.10, 0.40, 0.025),
        LlmPrice("openai", "gpt-5*", 1.25, 10.00, 0.125),
        LlmPrice("openai", "gpt-5-mini*", 0.25, 2.00, 0.025),
        LlmPrice("openai", "o3*", 2.00, 8.00, 0.50),
        LlmPrice("openai", "o4-mini*", 1.10, 4.40, 0.275),
        LlmPrice("openai", "text-embedding-3-small", 0.02, 0.0),
        LlmPrice("openai", "text-embedding-3-large", 0.13, 0.0),
        LlmPrice("anthropic", "claude-opus-4*", 15.00, 75.00, 1.50),
        LlmPrice("anthropic", "claude-opus-4-5*", 5.00, 25.00, 0.50),
        LlmPrice("anthropic", "claude-sonnet-4*", 3.00, 15.00, 0.30),
        LlmPrice("anthropic", "claude-3-5-sonnet*", 3.00, 15.00, 0.30),
        LlmPrice("anthropic", "claude-3-5-haiku*", 0.80, 4.00, 0.08),
        LlmPrice("anthropic", "claude-haiku-4-5*", 1.00, 5.00, 0.10),
        LlmPrice("*", "gemini-2.5-pro*", 1.25, 10.00, 0.31),
        LlmPrice("*", "gemini-2.5-flash*", 0.30, 2.50, 0.075),
    ),
    per_million_metric_points=0.10,
    per_active_series_hour=0.00001,
    per_gib_stored=0.50,
)
