"""What usage costs under the price lists in force. Pure; nothing blocks.

Amounts are added as exact fractions and rounded once, to the nearest double, so they do not depend on the order of the
rows. A price list governs the minutes that start while it is in force. Amounts are linear in usage, so a coarse window
that one list governs is priced from its own totals; one in which the list changes is priced from its `pieces`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from schemas.definition_kinds import PriceList
from schemas.windows import MICROSECONDS, MINUTE_US, Grain, window_end, window_start

PROVIDER, MODEL, PROJECT, USER, SESSION, SERVICE = "provider", "model", "project", "user", "session", "service"
PROMPT_VERSION: Final = "prompt_version"
FEW: Final = (PROVIDER, MODEL, PROJECT, PROMPT_VERSION, SERVICE)
"""Dimensions with few values, which everybody looks at."""
MANY: Final = (USER, SESSION)
"""Dimensions with nearly as many values as there are calls. Their windows have a pace, and a watermark, of their own."""

PROMPT, COMPLETION, CACHED, REASONING = "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"
METRIC_POINTS, SPANS, LOG_RECORDS, BYTES = "metric_points", "spans", "log_records", "bytes_stored"
ACTIVE_SERIES: Final = "active_series"
"""Distinct series of a window shorter than an hour."""
SERIES_HOURS: Final = "series_hours"
"""Distinct series of each hour, added over the hours; in windows of an hour and longer."""

MILLION: Final = 1_000_000
GIB: Final = 1 << 30
FINER: Final = {Grain.FIVE_MINUTES: Grain.MINUTE, Grain.HOUR: Grain.FIVE_MINUTES, Grain.DAY: Grain.HOUR, Grain.ALL: Grain.DAY}
"""The grain whose windows add up to one of the given grain."""
COARSER: Final = {finer: coarser for coarser, finer in FINER.items()}
MAX_REASONS: Final = 5


@dataclass(frozen=True)
class Usage:
    """An amount of something used, by whom or what."""

    dimension: str
    value: str
    provider: str
    model: str
    """Provider and model are empty where the unit has none."""
    unit: str
    quantity: int
    billed: int
    """What the price of the unit applies to: prompt tokens without the cached ones, completion tokens without reasoning."""


@dataclass(frozen=True)
class Piece:
    """Windows of one grain in [from_us, until_us) that one price list governs; `until_us` None means without end."""

    grain: Grain
    from_us: int
    until_us: int | None


@dataclass
class _Sum:
    """One line of a window while it is added up."""

    quantity: int = 0
    billed: dict[tuple[str, float, int], int] = field(default_factory=dict)
    """By currency, price and the number of units it is for."""
    lists: dict[tuple[str, int], None] = field(default_factory=dict)
    unpriced: int = 0
    reasons: set[str] = field(default_factory=set)


class Pricing:
    """One price list, ready to look prices up in."""

    def __init__(self, prices: PriceList) -> None:
        self.prices = prices
        self._models: dict[tuple[str, str, str], tuple[float, int] | str] = {}

    def price(self, usage: Usage) -> tuple[float, int] | str:
        """Price and the number of units it is for, or why there is none."""
        prices = self.prices
        match usage.unit:
            case "metric_points":
                return prices.per_million_metric_points, MILLION
            case "series_hours":
                return prices.per_active_series_hour, 1
            case "bytes_stored":
                return prices.per_gib_stored, GIB
            case "active_series":
                return "series are priced by the hour; see series_hours in windows of 1h and longer"
            case "spans" | "log_records":
                return "counted only: price lists have no price for it"
        place = (usage.provider, usage.model, usage.unit)
        known = self._models.get(place)
        if known is None:
            known = self._models[place] = self._of_model(*place)
        return known

    def _of_model(self, provider: str, model: str, unit: str) -> tuple[float, int] | str:
        found = self.prices.llm_price(provider, model)
        if found is None:
            return f"price list {self.prices.id} has no price for model {model!r} of provider {provider!r}"
        cached = found.input if found.cached is None else found.cached
        reasoning = found.output if found.reasoning is None else found.reasoning
        by_unit = {PROMPT: found.input, COMPLETION: found.output, CACHED: cached, REASONING: reasoning}
        return (by_unit[unit], MILLION) if unit in by_unit else f"unknown unit {unit!r}"


@lru_cache(maxsize=256)
def pricing(prices: PriceList) -> Pricing:
    """The list's `Pricing`, shared."""
    return Pricing(prices)


def pieces(grain: Grain, start_us: int, changes_us: Sequence[int], shortest: Grain = Grain.MINUTE) -> Iterator[Piece]:
    """The window in pieces that one price list governs each, in order, as few as its grains allow.

    `changes_us` are the instants at which lists come into force. A change within a window of the grain `shortest`
    counts from the next one on.
    """
    length = shortest.seconds * MICROSECONDS
    yield from _pieces(grain, start_us, sorted({-(-change // length) * length for change in changes_us}))


def _pieces(grain: Grain, start_us: int, changes: Sequence[int]) -> Iterator[Piece]:
    end = window_end(start_us, grain)
    inside = [change for change in changes if change > start_us and (end is None or change < end)]
    if not inside:
        yield Piece(grain, start_us, end)
        return
    finer, at = FINER[grain], start_us
    for change in inside:
        holds = window_start(change, finer)
        if holds < at:
            continue
        if holds > at:
            yield Piece(finer, at, holds)
        at = holds
        if holds != change:
            yield from _pieces(finer, holds, inside)
            at = holds + finer.seconds * MICROSECONDS
    if end is None or at < end:
        yield Piece(finer, at, end)


def figures(governed: Iterable[tuple[PriceList, Iterable[Usage]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The payloads of one window by subject and unit, from usage with the list that governs it."""
    sums: dict[tuple[str, str, str], _Sum] = {}
    for prices, usages in governed:
        table, named = pricing(prices), (prices.name, prices.version)
        for usage in usages:
            key = (usage.dimension, usage.value, usage.unit)
            line = sums.get(key)
            if line is None:
                line = sums[key] = _Sum()
            line.quantity += usage.quantity
            line.lists[named] = None
            price = table.price(usage)
            if isinstance(price, str):
                line.unpriced += usage.billed
                line.reasons.add(price)
            else:
                place = (prices.currency, *price)
                line.billed[place] = line.billed.get(place, 0) + usage.billed
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for (dimension, value, unit), line in sorted(sums.items()):
        result.setdefault(f"{dimension}={value}", {})[unit] = _payload(line)
    return result


def amount(billed: int, price: float, per: int) -> Fraction:
    """What so many units cost, exactly, the price taken as the decimal number that was written."""
    return _exact(price, per) * billed


@lru_cache(maxsize=4_096)
def _exact(price: float, per: int) -> Fraction:
    return Fraction(repr(price)) / per


def _payload(line: _Sum) -> dict[str, Any]:
    amounts: dict[str, Fraction] = {}
    for (currency, price_of, per), billed in line.billed.items():
        amounts[currency] = amounts.get(currency, Fraction()) + amount(billed, price_of, per)
    used = {(price_of, per) for _, price_of, per in line.billed}
    price = next(iter(used)) if len(used) == 1 else None
    one = next(iter(amounts.items())) if len(amounts) == 1 else None
    lists = [{"name": name, "version": version} for name, version in sorted(line.lists)]
    payload: dict[str, Any] = {
        "quantity": line.quantity,
        "unit_price": price[0] if price else None,
        "per": price[1] if price else None,
        "amount": float(one[1]) if one else None,
        "currency": one[0] if one else None,
        "price_list": lists[0] if len(lists) == 1 else None,
        "price_lists": lists,
    }
    reasons = sorted(line.reasons)
    if len(amounts) > 1:
        payload["amounts"] = {currency: float(exact) for currency, exact in sorted(amounts.items())}
        reasons.append("the price lists are in different currencies; see amounts")
    if line.unpriced and amounts:
        payload["unpriced"] = line.unpriced
    if reasons:
        payload["reason"] = "; ".join(reasons[:MAX_REASONS])
    return payload


def whole_minutes(minutes: Iterable[int]) -> list[int]:
    """Starts in microseconds of the minutes that windows are kept for, ascending: those from 1970 to 2105."""
    return [minute * MINUTE_US for minute in sorted(set(minutes)) if 0 <= minute < (1 << 32) // 60]
