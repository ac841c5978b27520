"""Cost on the real engine: rows in, priced windows out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

import msgspec
import pytest

from infra.runtime.clickhouse import ClickHouseError
from schemas.definition_kinds import ControlRecord, LlmPrice, PriceList
from schemas.definitions import Definitions
from streams.cost import Cost
from streams.cost_of_many import CostOfMany
from streams.readers import cost as reader
from streams.readers import usage_counts
from streams.refresher import Batch, Subject
from tests.flow.telemetry_rows import SERVICE, T0, TENANT, Telemetry, telemetry
from tests.support import EmbeddedParts

pytestmark = pytest.mark.asyncio
SUBJECT = Subject(TENANT, SERVICE)
_GRAINS = {"1m": T0, "5m": T0, "1h": T0, "1d": T0, "all": 0}


@pytest.fixture(scope="module")
def parts() -> Iterator[EmbeddedParts]:
    with EmbeddedParts(kafka=False) as running:
        yield running


def defined(*lists: tuple[int, int, float]) -> Definitions:
    """Definitions with price lists of (version, first minute, price of a million prompt tokens of model m)."""
    definitions = Definitions()
    for version, minute, price in lists:
        apply(definitions, version, minute, price)
    return definitions


def apply(definitions: Definitions, version: int, minute: int, price: float) -> None:
    llm = (LlmPrice("*", "m*", price, 10.0, price / 2),)
    start = datetime.fromtimestamp(minute * 60, UTC)
    prices = PriceList(TENANT, "std", version, start, "USD", llm, per_million_metric_points=0.1, per_active_series_hour=0.01, per_gib_stored=0.5)
    assert definitions.apply(ControlRecord("price_list", TENANT, prices.id, 1, False, msgspec.json.encode(prices).decode(), 0))


class Agent:
    """All dimensions, which the worker drives side by side, one after the other."""

    def __init__(self, place: Telemetry, definitions: Definitions) -> None:
        self._both = [kind(place.clickhouse, place.writer("cost"), definitions, place.clock) for kind in (Cost, CostOfMany)]

    async def refresh(self, subject: Subject, batch: Batch) -> None:
        """Raises what one of them raised, after both had their turn."""
        results = [await asyncio.gather(each.refresh(subject, batch), return_exceptions=True) for each in self._both]
        for (result,) in results:
            if result is not None:
                raise result

    async def reprice(self, tenant: str, from_us: int, until_us: int | None) -> None:
        for each in self._both:
            await each.reprice(tenant, from_us, until_us)


def agent(place: Telemetry, definitions: Definitions) -> Agent:
    return Agent(place, definitions)


def call(number: int, **more: Any) -> dict[str, Any]:
    basis = {
        "span_id": f"s{number}",
        "trace_id": f"tr{number % 7}",
        "llm_provider": "openai",
        "llm_model": "m1",
        "user_id": f"u{number % 3}",
        "session_id": "se",
        "prompt_version": f"v{number % 2 + 1}",
    }
    return basis | {"prompt_tokens": 1_000, "cached_tokens": 400, "completion_tokens": 200, "reasoning_tokens": 50} | more


async def test_tokens_by_every_dimension(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        await place.spans(T0, [call(number) for number in range(21)])
        await place.spans(T0, [call(number) for number in range(10)])  # again, in another block
        await place.spans(T0, [{"span_id": "plain"}])
        await agent(place, defined((1, T0 - 10, 2.0))).refresh(SUBJECT, Batch(minutes={T0}, positions={"spans:0": 4}))
        found = await place.windows("cost")
        for subject, calls in {
            "provider=openai": 21,
            "model=m1": 21,
            "project=p": 21,
            "user=u1": 7,
            "session=se": 21,
            "prompt_version=v2": 10,
            f"service={SERVICE}": 21,
        }.items():
            items = {item: figures for (name, grain, _, item), (_, figures) in found.items() if (name, grain) == (subject, "all")}
            assert {unit: items[unit]["quantity"] for unit in items if unit.endswith("tokens")} == {
                "prompt_tokens": 1_000 * calls, "cached_tokens": 400 * calls, "completion_tokens": 200 * calls, "reasoning_tokens": 50 * calls,
            }  # fmt: skip
            assert items["prompt_tokens"]["amount"] == 600 * calls * 2 / 1_000_000
            assert items["cached_tokens"]["amount"] == 400 * calls / 1_000_000
            assert items["completion_tokens"]["amount"] == 150 * calls * 10 / 1_000_000
        assert found[(f"service={SERVICE}", "1m", T0, "spans")][1]["quantity"] == 22
        assert found[(f"service={SERVICE}", "1d", T0, "bytes_stored")][1]["quantity"] == 22 * 200
        assert not [name for name, *_ in found if name.startswith("trace=")], "windows of a trace are computed when they are read"
        assert {grain for name, grain, *_ in found if name == "session=se"} == {"all"}, "and the others of a session too"
        assert {grain for name, grain, *_ in found if name == "user=u1"} == {"1m", "5m", "1h", "1d", "all"}
        rows = await place.clickhouse.query("SELECT kind, subject, positions FROM watermarks FINAL ORDER BY kind")
        assert rows == [{"kind": kind, "subject": SERVICE, "positions": {"spans:0": 4}} for kind in ("cost", "cost/windows")]


async def test_series_are_distinct_within_an_hour_and_add_up_over_hours(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        minutes = {T0, T0 + 1, T0 + 59, T0 + 60}
        for minute in minutes:
            await place.points(minute, [{"pod": str(number)} for number in range(10)], count=2)
        await agent(place, defined((1, 0, 1.0))).refresh(SUBJECT, Batch(minutes=minutes))
        found = {key[1:]: figures for key, (_, figures) in (await place.windows("cost")).items()}
        assert found[("5m", T0, "active_series")]["quantity"] == 10
        assert found[("1h", T0, "series_hours")]["quantity"] == 10
        assert found[("1d", T0, "series_hours")]["quantity"] == 20
        assert found[("all", 0, "series_hours")]["amount"] == 0.2
        assert found[("all", 0, "metric_points")]["quantity"] == 80


async def test_windows_span_services(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        cost = agent(place, defined((1, 0, 1.0)))
        await place.spans(T0, [call(1)])
        await place.spans(T0, [call(2)], service="other")
        await cost.refresh(SUBJECT, Batch(minutes={T0}))
        await cost.refresh(Subject(TENANT, "other"), Batch(minutes={T0}))
        found = await place.windows("cost")
        assert found[("provider=openai", "1h", T0, "prompt_tokens")][1]["quantity"] == 2_000
        assert found[("service=other", "1h", T0, "prompt_tokens")][1]["quantity"] == 1_000


async def test_late_data_repetition_and_recompute(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        minutes = [T0 + 11 * step for step in range(15)]
        for index, minute in enumerate(minutes):
            await place.spans(minute, [call(index)])
        Random(5).shuffle(minutes)
        cost = agent(place, defined((1, 0, 1.0), (2, T0 + 63, 3.0)))
        for minute in minutes:
            await cost.refresh(SUBJECT, Batch(minutes={minute}))
        before = await place.windows("cost")
        published = place.updates.revisions
        again = agent(place, defined((1, 0, 1.0), (2, T0 + 63, 3.0)))
        await cost.refresh(SUBJECT, Batch(minutes=set(minutes), redefined=True))
        await again.refresh(SUBJECT, Batch(minutes=set(minutes), redefined=True))
        await again.reprice(TENANT, 0, None)
        assert await place.windows("cost") == before
        assert place.updates.revisions == published
        await place.spans(minutes[0], [call(99)])
        await again.refresh(SUBJECT, Batch(minutes={minutes[0]}))
        after = await place.windows("cost")
        assert after[("model=m1", "all", 0, "prompt_tokens")][1]["quantity"] == 16_000
        assert after[("model=m1", "all", 0, "prompt_tokens")][0] > before[("model=m1", "all", 0, "prompt_tokens")][0]


async def test_a_new_version_reprices_what_it_governs(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        minutes = [T0, T0 + 61, T0 + 63, T0 + 64, T0 + 130, T0 + 1440]
        for index, minute in enumerate(minutes):
            await place.spans(minute, [call(index, cached_tokens=0)])
        definitions = defined((1, 0, 1.0))
        cost = agent(place, definitions)
        await cost.refresh(SUBJECT, Batch(minutes=set(minutes)))
        await cost.refresh(SUBJECT, Batch(redefined=True))
        before = await place.windows("cost")
        apply(definitions, 2, T0 + 63, 3.0)
        # Repricing reads what is kept: the rows themselves are gone.
        await place.clickhouse.command("TRUNCATE TABLE spans")
        await cost.refresh(SUBJECT, Batch(redefined=True))
        after = await place.windows("cost")

        def amounts(grain: str) -> dict[int, float]:
            return {start: f["amount"] for (name, g, start, item), (_, f) in after.items() if (name, g, item) == ("model=m1", grain, "prompt_tokens")}

        old, new = 0.001, 0.003
        assert amounts("1m") == {T0: old, T0 + 61: old, T0 + 63: new, T0 + 64: new, T0 + 130: new, T0 + 1440: new}
        assert amounts("5m") == {T0: old, T0 + 60: 0.007, T0 + 130: new, T0 + 1440: new}
        assert amounts("1h") == {T0: old, T0 + 60: 0.007, T0 + 120: new, T0 + 1440: new}
        assert amounts("1d") == {T0: 0.011, T0 + 1440: new}
        assert amounts("all") == {0: 0.014}
        untouched = ("model=m1", "1m", T0, "prompt_tokens")
        assert after[untouched] == before[untouched]
        lists = after[("model=m1", "all", 0, "prompt_tokens")][1]
        assert (lists["price_list"], [entry["version"] for entry in lists["price_lists"]]) == (None, [1, 2])


async def test_unknown_models_have_a_reason(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        await place.spans(T0, [call(1, llm_model="zzz")])
        await agent(place, defined((1, 0, 1.0))).refresh(SUBJECT, Batch(minutes={T0}))
        figures = (await place.windows("cost"))[("model=zzz", "all", 0, "prompt_tokens")][1]
        assert (figures["quantity"], figures["amount"]) == (1_000, None)
        assert "'zzz'" in figures["reason"]


async def test_a_span_sent_again_for_another_user_moves_its_cost(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        cost = agent(place, defined((1, 0, 1.0)))
        await place.spans(T0, [call(1, user_id="before")])
        await cost.refresh(SUBJECT, Batch(minutes={T0}))
        await place.spans(T0, [call(1, user_id="after")])
        await cost.refresh(SUBJECT, Batch(minutes={T0}))
        assert {name for name, *_ in await place.windows("cost") if name.startswith("user=")} == {"user=after"}


@pytest.mark.parametrize("seed", range(3))
async def test_refreshes_of_what_came_end_where_a_count_of_everything_does(parts: EmbeddedParts, seed: int) -> None:
    random = Random(seed)

    def anything() -> dict[str, Any]:
        user, session = f"u{random.randrange(6)}", f"s{random.randrange(9)}"
        more = {"llm_model": f"m{random.randrange(3)}", "end_time": f"{T0 * 60 + random.randrange(50)}.000000000", "quarantined": int(random.random() < 0.1)}
        return call(random.randrange(60), trace_id="tr", user_id=user, session_id=session, prompt_tokens=random.randrange(3_000), **more)

    async with telemetry(parts) as place:
        definitions = defined((1, 0, 1.0))
        cost = agent(place, definitions)
        for _ in range(15):
            minutes = set()
            for _ in range(random.randrange(1, 4)):
                minute = T0 + random.randrange(3)
                await place.spans(minute, [anything() for _ in range(random.randrange(1, 5))])
                minutes.add(minute)
            if random.random() < 0.3:
                await place.clickhouse.command("OPTIMIZE TABLE spans FINAL")
            if random.random() < 0.8:
                await cost.refresh(SUBJECT, Batch(minutes=minutes))
        await cost.refresh(SUBJECT, Batch(minutes=set(range(T0, T0 + 3))))
        written, windows = await _newest_computation(place), await place.windows("cost")
        await agent(place, definitions).refresh(SUBJECT, Batch(minutes=set(range(T0, T0 + 3))))
        counted = await place.clickhouse.query(
            "SELECT * EXCEPT series FROM cost_usage WHERE grain = '1m' AND computed > {written:UInt64}", {"written": written}
        )
        assert not counted, "whoever counts everything finds what was counted bit by bit"
        assert await place.windows("cost") == windows


async def test_many_subjects_and_names_that_need_quoting(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        users = [f"ü '{number}\\" * 3 for number in range(1_500)]
        await place.spans(T0, [call(number, user_id=user, trace_id=f"t{number}") for number, user in enumerate(users)])
        definitions = defined((1, 0, 1.0))
        await agent(place, definitions).refresh(SUBJECT, Batch(minutes={T0}))
        before = await place.windows("cost")
        assert {f"user={user}" for user in users} <= {name for name, *_ in before}
        await agent(place, definitions).refresh(SUBJECT, Batch(minutes={T0}))
        assert await place.windows("cost") == before


async def test_a_refresh_touches_only_what_changed_since_the_last_one(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        cost = agent(place, defined((1, 0, 1.0)))
        await place.spans(T0, [call(number, user_id=f"u{number}") for number in range(5)])
        await cost.refresh(SUBJECT, Batch(minutes={T0}))
        written = await _newest_computation(place)
        await cost.refresh(SUBJECT, Batch(minutes={T0}))
        assert await _newest_computation(place) == written, "nothing came, nothing is written"
        await place.spans(T0, [call(9, user_id="u9", session_id="other"), call(1, user_id="u1", prompt_tokens=5_000)])
        await place.spans(T0 + 1, [call(11, user_id="u9")])
        await cost.refresh(SUBJECT, Batch(minutes={T0, T0 + 1}))
        rows = await place.clickhouse.query(
            "SELECT DISTINCT concat(dimension, '=', value) AS subject FROM cost_usage WHERE computed > {written:UInt64}", {"written": written}
        )
        shared = {"provider=openai", "model=m1", "project=p", f"service={SERVICE}", "prompt_version=v2"}
        assert {row["subject"] for row in rows} == {"user=u9", "user=u1", "session=other", "session=se", *shared}
        found = await place.windows("cost")
        assert found[("user=u1", "all", 0, "prompt_tokens")][1]["quantity"] == 5_000
        assert found[("model=m1", "1h", T0, "prompt_tokens")][1]["quantity"] == 11_000


@pytest.mark.parametrize("successor", [False, True], ids=["the same worker", "another worker"])
@pytest.mark.parametrize("broken", ["add_up", "usage"])
async def test_what_a_refresh_that_failed_had_counted_reaches_all_windows(
    parts: EmbeddedParts, monkeypatch: pytest.MonkeyPatch, broken: str, successor: bool
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ClickHouseError(0, "away", retryable=True)

    async with telemetry(parts) as place:
        definitions = defined((1, 0, 1.0))
        cost = agent(place, definitions)
        await place.spans(T0, [call(1)])
        await cost.refresh(SUBJECT, Batch(minutes={T0}))
        await place.spans(T0, [call(2, user_id="u1")])
        with monkeypatch.context() as patched:
            patched.setattr(reader, broken, fail)
            with pytest.raises(ClickHouseError):
                await cost.refresh(SUBJECT, Batch(minutes={T0}))
        await (agent(place, definitions) if successor else cost).refresh(SUBJECT, Batch(minutes={T0}))
        found = await place.windows("cost")
        for subject in ("model=m1", "user=u1"):
            assert {grain: found[(subject, grain, start, "prompt_tokens")][1]["quantity"] for grain, start in _GRAINS.items()} == dict.fromkeys(_GRAINS, 2_000)


@pytest.mark.parametrize(("statement", "subject"), [("count_few", "model=m1"), ("count_many", "user=u1")])
async def test_a_statement_that_runs_after_it_was_given_up_takes_nothing_away(
    parts: EmbeddedParts, monkeypatch: pytest.MonkeyPatch, statement: str, subject: str
) -> None:
    late: list[Callable[[], Awaitable[None]]] = []
    count = getattr(usage_counts, statement)

    async def no_answer(*args: Any, **more: Any) -> None:
        late.append(partial(count, *args, **more))
        raise ClickHouseError(0, "no answer", retryable=True)

    async with telemetry(parts) as place:
        cost = agent(place, defined((1, 0, 1.0)))
        await place.spans(T0, [call(1)])
        await cost.refresh(SUBJECT, Batch(minutes={T0}))
        await place.spans(T0, [call(3, user_id="another", llm_model="m2")])
        with monkeypatch.context() as patched:
            patched.setattr(usage_counts, statement, no_answer)
            with pytest.raises(ClickHouseError):
                await cost.refresh(SUBJECT, Batch(minutes={T0}))
        await cost.refresh(SUBJECT, Batch(minutes={T0}))
        await place.spans(T0, [call(2, user_id="u1")])
        await late[0]()
        await cost.refresh(SUBJECT, Batch(minutes={T0}))
        found = await place.windows("cost")
        assert {grain: found[(subject, grain, start, "prompt_tokens")][1]["quantity"] for grain, start in _GRAINS.items()} == dict.fromkeys(_GRAINS, 2_000)


async def test_a_late_span_of_a_minute_long_ago_touches_nothing_of_the_others(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        cost = agent(place, defined((1, 0, 1.0)))
        await place.spans(T0, [call(1, user_id="long ago")])
        await cost.refresh(SUBJECT, Batch(minutes={T0}))
        await place.spans(T0 + 10, [call(2, user_id="now")])
        await cost.refresh(SUBJECT, Batch(minutes={T0 + 10}))
        written = await _newest_computation(place)
        await place.spans(T0, [call(3, user_id="late")])
        await cost.refresh(SUBJECT, Batch(minutes={T0, T0 + 10}))
        rows = await place.clickhouse.query(
            "SELECT DISTINCT value FROM cost_usage WHERE dimension = 'user' AND computed > {written:UInt64}", {"written": written}
        )
        assert [row["value"] for row in rows] == ["late"]


async def test_usage_outlives_its_rows(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        definitions = defined((1, 0, 1.0))
        await place.spans(T0, [call(1)])
        await agent(place, definitions).refresh(SUBJECT, Batch(minutes={T0}))
        before = await place.windows("cost")
        await place.clickhouse.command("TRUNCATE TABLE spans")
        await agent(place, definitions).refresh(SUBJECT, Batch(minutes={T0}))
        assert await place.windows("cost") == before, "the rows of the minute have expired"
        await place.spans(T0, [call(2, user_id="u9")])
        await agent(place, definitions).refresh(SUBJECT, Batch(minutes={T0}))
        assert "user=u9" in {name for name, *_ in await place.windows("cost")}


async def test_a_price_list_is_followed_also_when_spans_come_with_it(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        definitions = defined((1, 0, 1.0))
        cost = agent(place, definitions)
        await place.spans(T0, [call(1)])
        await cost.refresh(SUBJECT, Batch(minutes={T0}, redefined=True))
        apply(definitions, 2, 0, 3.0)
        await place.spans(T0 + 5, [call(2)])
        await cost.refresh(SUBJECT, Batch(minutes={T0 + 5}, redefined=True))
        found = await place.windows("cost")
        assert [found[("model=m1", grain, T0, "prompt_tokens")][1]["amount"] for grain in ("1m", "5m", "1h")] == [0.0018, 0.0018, 0.0036]


async def _newest_computation(place: Telemetry) -> int:
    (row,) = await place.clickhouse.query("SELECT max(computed) AS newest FROM cost_usage")
    return int(row["newest"])
