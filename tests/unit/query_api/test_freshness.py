"""Reads that wait: what they wait for, and what they say when it does not come."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from infra.runtime.errors import NotVisibleYet
from query_api.domain.windows import watermarks
from query_api.freshness import Freshness, Wait
from query_api.readers.ledger import LedgerReader
from query_api.readers.windows import WindowFilter, WindowReader
from tests.unit.query_api.parts import HandClock, ScriptedRows


class World:
    """What the tables say; tests change it between looks."""

    def __init__(self) -> None:
        self.marks: dict[str, int] = {}
        self.generation = "g1"
        self.touches: dict[str, int] = {}
        self.covered: dict[str, int] = {}
        self.covered_later: dict[str, int] = {}
        """By the second watermark of a kind."""
        self.looks = 0
        self.after_looks: dict[int, Mapping[str, int]] = {}

    def __call__(self, sql: str, params: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if "FROM watermarks" in sql:
            covered = self.covered_later if params["kind"].endswith("/windows") else self.covered
            return [{"subject": subject, "high": high} for subject, high in covered.items()]
        if "ARRAY JOIN" in sql:
            return [{"subject": s, "last": last} for s, last in self.touches.items() if params.get("subject") in (None, s)]
        self.looks += 1
        self.marks.update(self.after_looks.get(self.looks, {}))
        return [
            {"topic": place.partition(":")[0], "partition": int(place.partition(":")[2]), "high": high, "log": self.generation, "newest_us": 1}
            for place, high in self.marks.items()
        ]


def freshness(world: World, step_s: float = 0.0) -> tuple[Freshness, ScriptedRows]:
    rows = ScriptedRows(world)
    return Freshness(LedgerReader(rows), WindowReader(rows), HandClock(step_s)), rows


async def test_a_raw_read_waits_until_the_ledger_covers_it() -> None:
    world = World()
    world.marks = {"spans:0": 4}
    world.after_looks = {3: {"spans:0": 9}}
    watermark = await freshness(world)[0].raw(Wait({"spans:0": 7}, 60))
    assert watermark == {"spans:0": 9}
    assert world.looks == 3


async def test_at_the_deadline_the_watermark_is_told() -> None:
    world = World()
    world.marks = {"spans:0": 4}
    with pytest.raises(NotVisibleYet) as caught:
        await freshness(world, step_s=0.5)[0].raw(Wait({"spans:0": 7, "spans:1": 0}, 1))
    assert caught.value.details["watermark"] == "spans:0:4"
    assert caught.value.details["wanted"] == "spans:0:7,spans:1:0"


async def test_nothing_wanted_answers_at_once() -> None:
    world = World()
    world.marks = {"spans:0": 4}
    assert await freshness(world)[0].raw(Wait()) == {"spans:0": 4}
    assert world.looks == 1


async def test_windows_wait_for_the_last_block_that_touched_the_subject() -> None:
    world = World()
    world.marks = {"events:0": 50}
    world.touches = {"exp": 30, "busy": 49}
    world.covered = {"exp": 30, "busy": 2}
    subject, _ = freshness(world)
    assert await subject.window(Wait({"events:0": 50}, 5), ("significance",), "default", "exp", {"events"}) == {"events:0": 50}


async def test_without_a_subject_every_touched_one_counts() -> None:
    world = World()
    world.marks = {"events:0": 50}
    world.touches = {"exp": 30, "busy": 49}
    world.covered = {"exp": 30, "busy": 2}
    with pytest.raises(NotVisibleYet) as caught:
        await freshness(world, step_s=1)[0].window(Wait({"events:0": 50}, 2), ("significance",), "default", None, {"events"})
    assert caught.value.details["windows_behind"] == "events:0:49"


async def test_the_watermark_of_a_whole_tenant_counts_for_each_of_its_subjects() -> None:
    world = World()
    world.marks = {"spans:0": 50}
    world.touches = {"shop": 30, "cart": 49}
    world.covered = {"*": 49}
    assert await freshness(world)[0].window(Wait({"spans:0": 50}, 5), ("cost",), "default", None, {"spans"}) == {"spans:0": 50}


@pytest.mark.parametrize("behind", ["covered", "covered_later"])
async def test_a_read_of_windows_with_two_watermarks_waits_for_both(behind: str) -> None:
    world = World()
    world.marks, world.touches = {"spans:0": 50}, {"shop": 30}
    world.covered, world.covered_later = {"shop": 30}, {"shop": 30}
    getattr(world, behind)["shop"] = 29
    subject, _ = freshness(world, step_s=1)
    with pytest.raises(NotVisibleYet):
        await subject.window(Wait({"spans:0": 50}, 2), ("cost", "cost/windows"), "default", None, {"spans"})
    getattr(world, behind)["shop"] = 30
    assert await subject.window(Wait({"spans:0": 50}, 2), ("cost", "cost/windows"), "default", None, {"spans"}) == {"spans:0": 50}


@pytest.mark.parametrize(
    ("kind", "wanted", "followed"),
    [
        ("cost", WindowFilter("project=p"), {"cost"}),
        ("cost", WindowFilter("user=u=1"), {"cost/windows"}),
        ("cost", WindowFilter("session=s", "all"), {"cost/windows"}),
        ("cost", WindowFilter(), {"cost", "cost/windows"}),
        ("significance", WindowFilter("exp", "all"), {"significance"}),
        ("significance", WindowFilter("exp"), {"significance/windows"}),
        ("cardinality", WindowFilter("shop"), {"cardinality"}),
    ],
)
def test_each_window_has_its_watermark(kind: str, wanted: WindowFilter, followed: set[str]) -> None:
    assert set(watermarks(kind, wanted)) == followed


async def test_topics_that_do_not_feed_the_windows_ask_only_for_storage() -> None:
    world = World()
    world.marks = {"spans:0": 50}
    world.touches = {"shop": 30}
    subject, rows = freshness(world)
    await subject.window(Wait({"spans:0": 50}, 5), ("significance",), "default", "shop", {"events"})
    assert not any("watermarks" in sql for sql, _ in rows.asked)


async def test_a_topic_made_anew_starts_a_new_watermark() -> None:
    world = World()
    world.marks = {"events:0": 50}
    subject, _ = freshness(world)
    assert await subject.watermark() == {"events:0": 50}
    world.generation, world.marks = "g2", {"events:0": 1}
    assert await subject.watermark() == {"events:0": 1}


async def test_the_watermark_never_falls_within_one_log() -> None:
    world = World()
    world.marks = {"events:0": 50}
    subject, _ = freshness(world)
    await subject.watermark()
    world.marks = {"events:0": 20}
    assert await subject.watermark() == {"events:0": 50}


async def test_many_readers_share_looks() -> None:
    world = World()
    world.marks = {"events:0": 50}
    subject, _ = freshness(world)
    await asyncio.gather(*(subject.watermark() for _ in range(100)))
    assert world.looks <= 2
