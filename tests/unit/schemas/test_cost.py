"""Prices, exact sums, and windows over which the price list changes."""

from datetime import UTC, datetime
from fractions import Fraction
from random import Random

import pytest

from schemas.cost import FINER, Piece, Usage, amount, figures, pieces, whole_minutes
from schemas.definition_kinds import LlmPrice, PriceList
from schemas.fields import to_us
from schemas.windows import MICROSECONDS, Grain, window_end, window_start

HOUR = 3_600 * MICROSECONDS
NOON = to_us(datetime(2026, 3, 1, 12, tzinfo=UTC))


def prices(version: int = 1, unit: float = 2.5, currency: str = "USD") -> PriceList:
    llm = (LlmPrice("openai", "gpt-4o*", unit, 10.0, 1.25), LlmPrice("openai", "o1", 1.0, 4.0, reasoning=8.0))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return PriceList("t", "std", version, start, currency, llm, per_million_metric_points=0.1, per_active_series_hour=0.001, per_gib_stored=0.5)


def tokens(model: str, unit: str, quantity: int, billed: int | None = None) -> Usage:
    return Usage("user", "u1", "openai", model, unit, quantity, quantity if billed is None else billed)


def test_tokens_are_priced_by_kind() -> None:
    used = [tokens("gpt-4o-2026", "prompt_tokens", 1_000, 600), tokens("gpt-4o-2026", "cached_tokens", 400), tokens("o1", "reasoning_tokens", 10)]
    items = figures([(prices(), used)])["user=u1"]
    assert items["prompt_tokens"] == {
        "quantity": 1_000, "unit_price": 2.5, "per": 1_000_000, "amount": 0.0015, "currency": "USD",
        "price_list": {"name": "std", "version": 1}, "price_lists": [{"name": "std", "version": 1}],
    }  # fmt: skip
    assert items["cached_tokens"]["amount"] == 0.0005
    assert items["reasoning_tokens"]["amount"] == 0.00008


def test_an_unknown_model_has_no_amount_but_a_reason() -> None:
    only = figures([(prices(), [tokens("mystery", "prompt_tokens", 5)])])["user=u1"]["prompt_tokens"]
    assert only["amount"] is None
    assert "'mystery'" in only["reason"]
    mixed = figures([(prices(), [tokens("mystery", "prompt_tokens", 5), tokens("o1", "prompt_tokens", 1_000_000)])])["user=u1"]["prompt_tokens"]
    assert (mixed["amount"], mixed["unpriced"], mixed["quantity"]) == (1.0, 5, 1_000_005)
    assert "'mystery'" in mixed["reason"]


def test_sums_do_not_depend_on_the_order() -> None:
    random = Random(1)
    used = [tokens(random.choice(["gpt-4o", "o1"]), "completion_tokens", random.randrange(10**9)) for _ in range(500)]
    first = figures([(prices(), used)])
    for _ in range(5):
        random.shuffle(used)
        half = random.randrange(500)
        assert figures([(prices(), used[:half]), (prices(), used[half:])]) == first


def test_several_lists_and_currencies() -> None:
    used = [tokens("o1", "prompt_tokens", 1_000_000)]
    two = figures([(prices(1), used), (prices(2), used)])["user=u1"]["prompt_tokens"]
    assert (two["amount"], two["price_list"], len(two["price_lists"])) == (2.0, None, 2)
    mixed = figures([(prices(1), used), (prices(2, currency="EUR"), used)])["user=u1"]["prompt_tokens"]
    assert (mixed["amount"], mixed["amounts"]) == (None, {"USD": 1.0, "EUR": 1.0})


def test_amounts_take_the_price_as_written() -> None:
    assert amount(3, 0.1, 1) == Fraction(3, 10)


@pytest.mark.parametrize("change", [NOON, NOON + 7 * 60 * MICROSECONDS, NOON + 7 * 60 * MICROSECONDS + 1, NOON + 30 * HOUR])
@pytest.mark.parametrize("grain", list(Grain))
def test_pieces_cover_a_window_once_and_break_at_the_change(grain: Grain, change: int) -> None:
    minute = 60 * MICROSECONDS
    start = window_start(NOON, grain)
    found = list(pieces(grain, start, [change, start]))
    assert found[0].from_us == start
    assert found[-1].until_us == window_end(start, grain)
    for before, after in zip(found, found[1:], strict=False):
        assert before.until_us == after.from_us
    counts_from = -(-change // minute) * minute
    for piece in found:
        assert not piece.from_us < counts_from < (piece.until_us or 1 << 62)
        assert window_start(piece.from_us, piece.grain) == piece.from_us


def test_one_list_is_one_piece() -> None:
    assert list(pieces(Grain.ALL, 0, [0])) == [Piece(Grain.ALL, 0, None)]
    assert list(pieces(Grain.DAY, 0, [86_400 * MICROSECONDS])) == [Piece(Grain.DAY, 0, 86_400 * MICROSECONDS)]


def test_hourly_pieces_never_cut_an_hour() -> None:
    found = list(pieces(Grain.DAY, window_start(NOON, Grain.DAY), [NOON + 7 * 60 * MICROSECONDS], Grain.HOUR))
    assert {piece.grain for piece in found} == {Grain.HOUR}
    assert [piece.from_us for piece in found][1] == NOON + HOUR


def test_each_grain_but_the_shortest_has_a_finer_one() -> None:
    assert set(FINER) == set(Grain) - {Grain.MINUTE}


def test_only_minutes_with_windows() -> None:
    assert whole_minutes([3, 1, 3, -5, 1 << 40]) == [60 * MICROSECONDS, 180 * MICROSECONDS]
