"""Reads that begin before it is known how far the store has come: what they say they saw, and deletions that nobody had looked at yet."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from infra.runtime.settings import Settings
from query_api.control.projects import Project
from query_api.domain.visible_read import read_visible
from query_api.freshness import OLD_S, Freshness, Wait
from query_api.parts import Parts
from query_api.readers.ledger import LedgerReader
from query_api.readers.visible_spans import SpansOfProject, VisibleSpans
from query_api.readers.windows import WindowReader
from tests.unit.query_api.parts import HandClock, ScriptedRows
from tests.unit.query_api.stored import Service

PROJECT = Settings().default_project


class World:
    """How far the partitions are and how many traces are deleted; the reads that were made of it, each with the deletions it knew."""

    def __init__(self, parts: Parts) -> None:
        self.marks = {"spans:0": 4, "span_edits:0": 0}
        self.deleted = 0
        self.reads: list[int] = []
        self.clock = HandClock()
        rows = ScriptedRows(self._answer)
        self._parts = replace(parts, visible=VisibleSpans(rows), freshness=Freshness(LedgerReader(rows), WindowReader(rows), self.clock))

    def delete(self) -> None:
        """A deletion that is answered."""
        self.deleted += 1
        self.marks["span_edits:0"] += 1

    async def read(self, wait: Wait | None = None) -> Mapping[str, int]:
        """Reads the default project; the watermark that the read states."""
        watermark, found = await read_visible(self._parts, "default", PROJECT, wait or Wait(), self._page)
        assert found == self.reads[-1]
        return watermark

    async def _page(self, _: Project, visible: SpansOfProject) -> int:
        self.reads.append(sum("trace_id NOT IN" in condition for condition in visible.sql))
        return self.reads[-1]

    def _answer(self, sql: str, _: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if "FROM span_edits" in sql:
            return [{"spans": 0, "traces": self.deleted, "moved": 0, "cut_ns": 0, "cuts": []}]
        places = ((place.split(":"), high) for place, high in self.marks.items())
        return [{"topic": topic, "partition": int(number), "high": high, "log": "g", "newest_us": 1} for (topic, number), high in places]


@pytest.fixture
def world(service: Service) -> World:
    return World(service.parts)


async def test_a_read_states_what_was_stored_before_it_began(world: World) -> None:
    assert (await world.read())["spans:0"] == 4
    world.marks["spans:0"] = 7
    assert (await world.read())["spans:0"] == 4, "block 7 may have come between the read and the look"
    assert (await world.read())["spans:0"] == 7
    assert world.reads == [0, 0, 0], "nothing is read twice"


async def test_a_deletion_that_was_answered_is_in_force(world: World) -> None:
    await world.read()
    world.delete()
    assert (await world.read())["span_edits:0"] == 1
    assert world.reads == [0, 0, 1], "read again with what the look showed"
    await world.read()
    assert world.reads == [0, 0, 1, 1]


async def test_after_a_long_pause_the_look_comes_first(world: World) -> None:
    await world.read()
    world.delete()
    world.marks["spans:0"] = 9
    world.clock.advance(OLD_S + 1)
    assert (await world.read())["spans:0"] == 9
    assert world.reads == [0, 1]


async def test_a_read_that_waits_begins_after_what_it_waits_for(world: World) -> None:
    await world.read()
    world.marks["spans:0"] = 9
    assert (await world.read(Wait({"spans:0": 9}, 1.0)))["spans:0"] == 9
    assert world.reads == [0, 0]
