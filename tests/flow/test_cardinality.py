"""Cardinality on the real engine: rows in, windows out."""

from collections.abc import Iterator
from random import Random

import pytest

from infra.runtime.clickhouse import ClickHouse
from streams.cardinality import Cardinality
from streams.refresher import Batch, Subject
from tests.flow.telemetry_rows import SERVICE, T0, TENANT, Telemetry, telemetry
from tests.support import EmbeddedParts

pytestmark = pytest.mark.asyncio
SUBJECT = Subject(TENANT, SERVICE)
ITEM = "metrics:requests"


@pytest.fixture(scope="module")
def parts() -> Iterator[EmbeddedParts]:
    with EmbeddedParts(kafka=False) as running:
        yield running


def agent(place: Telemetry) -> Cardinality:
    return Cardinality(place.clickhouse, place.writer("cardinality"), place.clock)


def pods(first: int, last: int, **more: str) -> list[dict[str, str]]:
    return [{"pod": f"pod-{number}", "zone": f"z{number % 3}", **more} for number in range(first, last)]


async def test_counts_are_exact_with_duplicates_and_late_data(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        cardinality = agent(place)
        await place.points(T0, pods(0, 30), count=3)
        await place.points(T0 + 61, pods(20, 50))
        await cardinality.refresh(SUBJECT, Batch(minutes={T0, T0 + 61}, positions={"metric_points:0": 1}))
        await place.points(T0, pods(0, 30), count=3)  # the same again, in another block
        await place.points(T0, pods(30, 35))  # late
        await cardinality.refresh(SUBJECT, Batch(minutes={T0}, positions={"metric_points:0": 3}))
        found = await place.windows("cardinality")
        shape = {place_of[1:3]: (p["points"], p["active_series"], {e["label"]: e["values"] for e in p["labels"]}) for place_of, (_, p) in found.items()}
        early = (95, 35, {"pod": 35, "zone": 3, "@resource": 1})
        late = (30, 30, {"pod": 30, "zone": 3, "@resource": 1})
        whole = (125, 50, {"pod": 50, "zone": 3, "@resource": 1})
        assert shape == {
            ("1m", T0): early, ("5m", T0): early, ("1h", T0): early, ("1d", T0): whole, ("all", 0): whole,
            ("1m", T0 + 61): late, ("5m", T0 + 60): late, ("1h", T0 + 60): late,
        }  # fmt: skip
        rows = await place.clickhouse.query("SELECT subject, positions FROM watermarks FINAL")
        assert rows == [{"subject": SERVICE, "positions": {"metric_points:0": 3}}]


async def test_a_recompute_and_a_repetition_change_nothing(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        minutes = set(range(T0, T0 + 130, 7))
        for minute in minutes:
            await place.points(minute, pods(minute - T0, minute - T0 + 20))
            await place.spans(minute, [{"span_id": f"{minute}", "name": f"op{minute % 4}", "attributes": {"k": str(minute)}}])
        # In a random order, one by one: the last answer must not depend on it.
        cardinality = agent(place)
        order = sorted(minutes)
        Random(3).shuffle(order)
        for minute in order:
            await cardinality.refresh(SUBJECT, Batch(minutes={minute}))
        before = await place.windows("cardinality")
        assert before[(SERVICE, "all", 0, "spans:")][1]["points"] == len(minutes)
        published = place.updates.revisions
        await cardinality.refresh(SUBJECT, Batch(minutes=minutes, redefined=True))
        await agent(place).refresh(SUBJECT, Batch(minutes=minutes, redefined=True))
        assert await place.windows("cardinality") == before
        assert place.updates.revisions == published


async def test_states_of_shards_add_up_to_the_state_of_the_whole(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        for size in (3_000, 200_000):
            hashes = f"SELECT number AS n, sipHash64(number % {size}) AS h FROM numbers({2 * size})"
            shards = " UNION ALL ".join(f"SELECT uniqCombined64State(h) AS state FROM ({hashes}) WHERE n % 3 = {shard}" for shard in range(3))
            rows = await place.clickhouse.query(
                f"SELECT (SELECT uniqCombined64(h) FROM ({hashes})) AS whole, (SELECT uniqCombined64Merge(state) FROM ({shards})) AS merged"
            )
            assert rows[0]["whole"] == rows[0]["merged"]
            assert abs(rows[0]["whole"] - size) <= (0 if size < 4_096 else size / 100)


async def test_minutes_merge_to_what_one_count_of_all_rows_gives(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        for minute in range(T0, T0 + 3):
            await place.points(minute, [{"id": str(number)} for number in range((minute - T0) * 2_000, (minute - T0) * 2_000 + 4_000)])
        await agent(place).refresh(SUBJECT, Batch(minutes={T0, T0 + 1, T0 + 2}))
        direct = await _whole(place.clickhouse)
        found = await place.windows("cardinality")
        assert {found[(SERVICE, grain, start, ITEM)][1]["active_series"] for grain, start in (("5m", T0), ("1h", T0), ("1d", T0), ("all", 0))} == {direct}


async def test_steady_growth_is_seen_in_every_window_and_its_label_named(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        cardinality = agent(place)
        for step in range(9):
            await place.points(T0 + step, pods(0, 200 + 20 * step))
            await cardinality.refresh(SUBJECT, Batch(minutes={T0 + step}))
        found = await place.windows("cardinality")
        for step in range(3, 9):
            figures = found[(SERVICE, "1m", T0 + step, ITEM)][1]
            assert (figures["growth"]["kind"], figures["growth"]["per_window"]) == ("steady", 20)
            assert figures["causes"][0]["label"] == "pod"
            assert figures["growth"]["fresh"] == 20


async def test_late_data_revises_the_growth_of_the_windows_after_it(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        cardinality = agent(place)
        await place.points(T0, pods(0, 10))
        await place.points(T0 + 2, pods(0, 100))
        await cardinality.refresh(SUBJECT, Batch(minutes={T0, T0 + 2}))
        revision, figures = (await place.windows("cardinality"))[(SERVICE, "1m", T0 + 2, ITEM)]
        assert (figures["growth"]["kind"], figures["growth"]["previous"]) == ("jump", 10)
        await place.points(T0, pods(10, 100))
        await cardinality.refresh(SUBJECT, Batch(minutes={T0}))
        later, figures = (await place.windows("cardinality"))[(SERVICE, "1m", T0 + 2, ITEM)]
        assert (figures["growth"]["kind"], figures["growth"]["previous"]) == ("level", 100)
        assert later > revision


async def test_a_span_sent_again_with_other_attributes_takes_the_old_ones_back(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        cardinality = agent(place)
        await place.spans(T0, [{"span_id": "a", "attributes": {"old": "1"}}])
        await cardinality.refresh(SUBJECT, Batch(minutes={T0}))
        await place.spans(T0, [{"span_id": "a", "attributes": {"new": "1"}}])
        await cardinality.refresh(SUBJECT, Batch(minutes={T0}))
        for (_, grain, _, _), (_, figures) in (await place.windows("cardinality")).items():
            assert {entry["label"] for entry in figures["labels"]} == {"new", "@resource", "@operation"}, grain


async def test_quarantined_rows_and_other_services_do_not_count(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        await place.spans(T0, [{"span_id": "a"}, {"span_id": "b", "quarantined": 1}])
        await place.spans(T0, [{"span_id": "c"}], service="other")
        await agent(place).refresh(SUBJECT, Batch(minutes={T0}))
        assert {figures["points"] for _, figures in (await place.windows("cardinality")).values()} == {1}


async def _whole(clickhouse: ClickHouse) -> int:
    rows = await clickhouse.query("SELECT uniqCombined64(series) AS n FROM metric_points")
    return int(rows[0]["n"])
