"""The price list that is shipped."""

import pytest

from schemas.default_prices import AS_OF, DEFAULT_PRICE_LIST, VENDORS


def test_it_is_dated_and_has_sources() -> None:
    assert DEFAULT_PRICE_LIST.name.endswith(str(AS_OF))
    assert all(source.startswith("https://") and models for source, models in VENDORS.values())


@pytest.mark.parametrize(
    ("model", "price"),
    [("gpt-4o-mini", 0.15), ("gpt-4o-mini-2024-07-18", 0.15), ("claude-sonnet-4-5@20250929", 3.0), ("claude-3-5-haiku-latest", 0.8), ("gemini-2.5-flash", 0.3)],
)
@pytest.mark.parametrize("provider", ["", "azure", "openai"])
def test_a_model_has_its_price_whoever_serves_it(provider: str, model: str, price: float) -> None:
    found = DEFAULT_PRICE_LIST.llm_price(provider, model)
    assert found is not None and found.input == price


@pytest.mark.parametrize("model", ["gpt-4o-audio-preview", "gpt-5.9", "claude-opus-4-9", ""])
def test_a_model_that_is_not_listed_has_no_price(model: str) -> None:
    assert DEFAULT_PRICE_LIST.llm_price("openai", model) is None
