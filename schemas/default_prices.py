"""The price list that holds where a tenant has defined none.

Prices of models are those their vendors listed on the day `AS_OF`, in US dollars per million tokens, for text, at the standard tier and
without surcharges for long contexts; each vendor's page stands in `VENDORS`. They were read by way of the table that LiteLLM 1.109.1
ships, which names the same pages; those of `_RETIRED` are the last that were listed. A model that is not here has no price rather than
that of its neighbour. Providers do not matter, since many spans name none. The prices of telemetry are round figures of the order hosted observability is sold at. Nothing keeps any of it up
to date: whoever needs exact money applies a price list of their own.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Final

from schemas.definition_kinds import LlmPrice, PriceList

AS_OF: Final = date(2026, 11, 21)
_Prices = dict[str, tuple[float, ...]]
_OPENAI: _Prices = {
    "gpt-4o": (2.50, 10.00, 1.25),
    "gpt-4o-mini": (0.15, 0.60, 0.075),
    "gpt-4.1": (2.00, 8.00, 0.50),
    "gpt-4.1-mini": (0.40, 1.60, 0.10),
    "gpt-4.1-nano": (0.10, 0.40, 0.025),
    "gpt-5": (1.25, 10.00, 0.125),
    "gpt-5-mini": (0.25, 2.00, 0.025),
    "gpt-5-nano": (0.05, 0.40, 0.005),
    "gpt-5-pro": (15.00, 120.00),
    "gpt-5.1": (1.25, 10.00, 0.125),
    "gpt-5.2": (1.75, 14.00, 0.175),
    "gpt-5.2-pro": (21.00, 168.00),
    "gpt-5.4": (2.50, 15.00, 0.25),
    "gpt-5.4-mini": (0.75, 4.50, 0.075),
    "gpt-5.4-nano": (0.20, 1.25, 0.02),
    "gpt-5.4-pro": (30.00, 180.00),
    "gpt-5.5": (5.00, 30.00, 0.50),
    "gpt-5.5-pro": (30.00, 180.00),
    "o1": (15.00, 60.00, 7.50),
    "o3": (2.00, 8.00, 0.50),
    "o3-mini": (1.10, 4.40, 0.55),
    "o4-mini": (1.10, 4.40, 0.275),
    "text-embedding-3-small": (0.02, 0.0),
    "text-embedding-3-large": (0.13, 0.0),
    "text-embedding-ada-002": (0.10, 0.0),
}
_ANTHROPIC: _Prices = {
    "claude-opus-4-5": (5.00, 25.00, 0.50),
    "claude-opus-4-6": (5.00, 25.00, 0.50),
    "claude-opus-4-7": (5.00, 25.00, 0.50),
    "claude-opus-4-8": (5.00, 25.00, 0.50),
    "claude-opus-5": (5.00, 25.00, 0.50),
    "claude-opus-5-5": (4.00, 20.00, 0.20),
    "claude-sonnet-4-5": (3.00, 15.00, 0.30),
    "claude-sonnet-4-6": (3.00, 15.00, 0.30),
    "claude-sonnet-5": (2.00, 10.00, 0.20),
    "claude-sonnet-5-5": (2.00, 10.00, 0.10),
    "claude-haiku-4-5": (1.00, 5.00, 0.10),
    "claude-fable-5": (10.00, 50.00, 1.00),
    "claude-fable-5-1": (10.00, 50.00, 0.25),
}
_GOOGLE: _Prices = {
    "gemini-2.5-pro": (1.25, 10.00, 0.125),
    "gemini-2.5-flash": (0.30, 2.50, 0.03),
    "gemini-2.5-flash-lite": (0.10, 0.40, 0.01),
    "gemini-3-flash-preview": (0.50, 3.00, 0.05),
    "gemini-3.1-pro-preview": (2.00, 12.00, 0.20),
    "gemini-3.1-flash-lite": (0.25, 1.50, 0.025),
    "gemini-3.5-flash": (1.50, 9.00, 0.15),
    "gemini-3.5-flash-lite": (0.30, 2.50, 0.03),
    "gemini-3.6-flash": (0.75, 3.75, 0.075),
    "gemini-3.7-flash": (0.75, 3.75, 0.075),
    "gemini-3.8-flash": (0.75, 3.75, 0.075),
}
_RETIRED: _Prices = {
    "claude-opus-4": (15.00, 75.00, 1.50),
    "claude-opus-4-1": (15.00, 75.00, 1.50),
    "claude-sonnet-4": (3.00, 15.00, 0.30),
    "claude-3-7-sonnet": (3.00, 15.00, 0.30),
    "claude-3-5-sonnet": (3.00, 15.00, 0.30),
    "claude-3-5-haiku": (0.80, 4.00, 0.08),
}


VENDORS: Final[Mapping[str, tuple[str, _Prices]]] = {
    "OpenAI": ("https://developers.openai.com/api/docs/pricing", _OPENAI),
    "Anthropic": ("https://platform.claude.com/docs/en/about-claude/pricing", _ANTHROPIC | _RETIRED),
    "Google": ("https://ai.google.dev/gemini-api/docs/pricing", _GOOGLE),
}
"""Price page and prices (input, output, input read from the cache) of each vendor's models."""


def _listed() -> Iterator[LlmPrice]:
    """A model goes by its name and by that of each snapshot: the name with a date or `latest` behind it."""
    for _, models in VENDORS.values():
        for model, prices in models.items():
            for name in (model, f"{model}[-@]20*", f"{model}-latest"):
                yield LlmPrice("*", name, *prices)


DEFAULT_PRICE_LIST: Final = PriceList(
    tenant="default",
    name=f"default-{AS_OF}",
    version=1,
    effective_from=datetime(1970, 1, 1, tzinfo=UTC),
    currency="USD",
    llm=tuple(_listed()),
    per_million_metric_points=0.10,
    per_active_series_hour=0.00001,
    per_gib_stored=0.50,
)
