"""Rate limits: what is counted, when a window ends, and what the headers say. Rows exp.rate_limit.*."""

import asyncio

import pytest

from infra.runtime.errors import RateLimited, TooLarge
from ingest.quota import Quota
from schemas.surfaces import CRUCIBLE, DAY_S, EXPERIMENTATION, OTLP, Rate
from tests.clock import HandClock

(REQUESTS,) = EXPERIMENTATION.budgets
STANDARD, ENTERPRISE = REQUESTS.rates["standard"], REQUESTS.rates["enterprise"]
EVENTS = (Rate(100, 60, "events"),)
MIDNIGHT = 1_790_035_200
"""2026-09-22, seconds since the epoch."""


def after_midnight(seconds: float) -> int:
    """Microseconds since the epoch."""
    return MIDNIGHT * 1_000_000 + round(seconds * 1e6)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(after_midnight(3_600.25))


@pytest.fixture
def quota(clock: HandClock) -> Quota:
    return Quota(clock)


async def take(quota: Quota, rates: tuple[Rate, ...] = STANDARD, caller: str = "t/k", weight: int = 1) -> dict[str, str]:
    """The headers of one request. Raises RateLimited and TooLarge."""
    headers: dict[str, str] = {}
    await quota.take("experimentation", caller, rates, headers, weight)
    return headers


async def refused(quota: Quota, rates: tuple[Rate, ...] = STANDARD, weight: int = 1) -> tuple[RateLimited, dict[str, str]]:
    headers: dict[str, str] = {}
    with pytest.raises(RateLimited) as failed:
        await quota.take("experimentation", "t/k", rates, headers, weight)
    return failed.value, headers


def test_the_tiers_are_those_of_the_documents() -> None:
    """exp.rate_limit.standard, exp.rate_limit.enterprise"""
    assert [(rate.limit, rate.seconds) for rate in STANDARD + ENTERPRISE] == [(10, 1), (10_000, DAY_S), (100, 1), (1_000_000, DAY_S)]
    assert EXPERIMENTATION.limited_tiers == CRUCIBLE.limited_tiers == {"standard", "enterprise"} and not OTLP.limited_tiers


@pytest.mark.parametrize(
    ("request_line", "limit", "of"),
    [
        ("GET /api/v1/experiments", 1_000, "reads"),
        ("HEAD /api/v1/experiments", 1_000, "reads"),
        ("GET /api/v1/experiments/exp_1/export", 1_000, "reads"),
        ("GET /api/v1/telemetry/events", 1_000, "reads"),
        ("POST /api/v1/experiments", 100, "writes"),
        ("PATCH /api/v1/experiments/exp_1", 100, "writes"),
        ("DELETE /api/v1/experiments/exp_1", 100, "writes"),
        ("POST /api/v1/export", 100, "writes"),
        ("POST /api/v1/experiments/exp_1/exports", 100, "writes"),
        ("POST /api/v1/experiments/exp_1/export", 10, "exports"),
        ("POST /api/v1/telemetry/export", 10, "exports"),
        ("POST /api/v1/export/comparison", 10, "exports"),
        ("POST /api/v1/telemetry/events", 10_000, "events"),
    ],
)
def test_what_a_request_of_the_crucible_surface_counts_as(request_line: str, limit: int, of: str) -> None:
    """crucible.rate_limit.read, crucible.rate_limit.write, crucible.rate_limit.export, crucible.rate_limit.telemetry_ingest"""
    budget = CRUCIBLE.budget(*request_line.split(" "))
    assert budget and budget.rates == {"standard": (Rate(limit, 60, of),), "enterprise": (Rate(10 * limit, 60, of),)}
    assert budget.by_events is (of == "events")


@pytest.mark.parametrize(("rates", "limit"), [(STANDARD, 10), (ENTERPRISE, 100)], ids=["standard", "enterprise"])
async def test_a_second_holds_so_many_and_not_one_more(quota: Quota, clock: HandClock, rates: tuple[Rate, ...], limit: int) -> None:
    """exp.rate_limit.standard, exp.rate_limit.enterprise, exp.rate_limit.exceeded and the three exp.rate_limit.header.*"""
    seen = [await take(quota, rates) for _ in range(limit)]
    assert [int(headers["X-RateLimit-Remaining"]) for headers in seen] == list(range(limit - 1, -1, -1))
    reset = str(MIDNIGHT + 3_601)
    assert {(headers["X-RateLimit-Limit"], headers["X-RateLimit-Reset"]) for headers in seen} == {(str(limit), reset)}
    error, headers = await refused(quota, rates)
    assert headers == {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
    assert error.retry_after_s == 1 and error.details == {"limit": limit, "window_seconds": 1, "reset": int(reset)}
    clock.us = after_midnight(3_600.999_999)
    await refused(quota, rates)
    clock.us = after_midnight(3_601.0)
    assert (await take(quota, rates))["X-RateLimit-Remaining"] == str(limit - 1)


async def test_a_day_ends_at_midnight_utc(quota: Quota, clock: HandClock) -> None:
    rates = (Rate(10, 1), Rate(25, DAY_S))
    clock.us = after_midnight(DAY_S - 10)
    for _ in range(25):
        clock.forward(0.25)
        headers = await take(quota, rates)
    assert headers == {"X-RateLimit-Limit": "25", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(MIDNIGHT + DAY_S)}
    error, _ = await refused(quota, rates)
    assert error.retry_after_s == 4 and error.details["window_seconds"] == DAY_S and "day" in error.message
    clock.us = after_midnight(DAY_S - 0.000_001)
    assert (await refused(quota, rates))[0].retry_after_s == 1
    clock.us = after_midnight(DAY_S)
    assert (await take(quota, rates))["X-RateLimit-Limit"] == "10"


async def test_the_headers_speak_of_the_window_with_fewest_left(quota: Quota, clock: HandClock) -> None:
    rates = (Rate(3, 1), Rate(5, DAY_S))
    limits = []
    for _ in range(5):
        limits.append((await take(quota, rates))["X-RateLimit-Limit"])
        clock.forward(0.5)
    assert limits == ["3", "3", "3", "3", "5"]


async def test_what_a_second_refuses_does_not_use_up_the_day(quota: Quota, clock: HandClock) -> None:
    rates = (Rate(2, 1), Rate(4, DAY_S))
    for _ in range(2):
        await take(quota, rates)
    for _ in range(50):
        await refused(quota, rates)
    clock.forward(1)
    assert [(await take(quota, rates))["X-RateLimit-Remaining"] for _ in range(2)] == ["1", "0"]


async def test_keys_are_counted_apart(quota: Quota) -> None:
    await asyncio.gather(*(take(quota) for _ in range(10)))
    await refused(quota)
    assert (await take(quota, caller="t/other"))["X-RateLimit-Remaining"] == "9"
    assert (await take(quota, caller="other/k"))["X-RateLimit-Remaining"] == "9"


async def test_requests_side_by_side_are_each_counted_once(quota: Quota) -> None:
    results = await asyncio.gather(*(take(quota) for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(result, RateLimited) for result in results) == 30


async def test_events_are_counted_whole_or_not_at_all(quota: Quota, clock: HandClock) -> None:
    """crucible.rate_limit.telemetry_ingest: what is refused leaves the window to smaller batches"""
    assert (await take(quota, EVENTS, weight=60))["X-RateLimit-Remaining"] == "40"
    error, headers = await refused(quota, EVENTS, weight=41)
    assert headers["X-RateLimit-Remaining"] == "40" and "40 are left and the batch has 41" in error.message and 1 <= (error.retry_after_s or 0) <= 60
    assert (await take(quota, EVENTS, weight=0))["X-RateLimit-Remaining"] == "40", "to ask costs nothing"
    assert (await take(quota, EVENTS, weight=40))["X-RateLimit-Remaining"] == "0"
    assert (await take(quota, EVENTS, weight=0))["X-RateLimit-Remaining"] == "0", "what brings nothing is not beyond the rate"
    await refused(quota, EVENTS)
    clock.forward(60)
    assert (await take(quota, EVENTS, weight=100))["X-RateLimit-Remaining"] == "0"


async def test_more_than_a_whole_window_is_too_large_and_not_only_early(quota: Quota) -> None:
    headers: dict[str, str] = {}
    with pytest.raises(TooLarge, match="may send 100 events per minute; the batch has 101"):
        await quota.take("crucible", "t/k", EVENTS, headers, 101)
    assert headers["X-RateLimit-Remaining"] == "100" and (await take(quota, EVENTS, weight=100))["X-RateLimit-Remaining"] == "0"


async def test_what_is_counted_as_something_else_is_another_account(quota: Quota) -> None:
    """crucible.rate_limit.read, crucible.rate_limit.write: the rates of two kinds may be the same"""
    reads, writes = (Rate(2, 60, "reads"),), (Rate(2, 60, "writes"),)
    for rates in (reads, writes):
        assert [(await take(quota, rates))["X-RateLimit-Remaining"] for _ in range(2)] == ["1", "0"]
    assert "2 reads per minute" in (await refused(quota, reads))[0].message
