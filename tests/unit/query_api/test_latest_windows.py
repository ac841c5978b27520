"""Cumulative windows in memory say what the tables say: by updates, by looking again, and by asking whenever the updates may be missing."""

import asyncio
from typing import Any

import pytest

from infra.runtime.errors import Unavailable
from query_api.live.latest import MAX_AGE_S, RECHECK_S, LatestWindows
from query_api.readers.window_state import WindowState
from tests.support import eventually

pytestmark = pytest.mark.asyncio


def state(revision: int, *, subject: str = "exp", grain: str = "all") -> WindowState:
    return WindowState("t", "significance", subject, grain, 0, revision, revision, {}, "{}")


class Tables:
    """A clock, and window tables whose answer may be held back."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stored: WindowState | None = state(1)
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False
        here: Any = self
        self.latest = LatestWindows(here, here)
        self.latest.connected = True

    def monotonic(self) -> float:
        return self.now

    async def newest(self, *_: object, **__: object) -> list[WindowState]:
        self.asked += 1
        found = self.stored
        await self.gate.wait()
        if self.away:
            raise Unavailable("away")
        return [found] if found else []

    async def revision(self, *, fresh: bool = False) -> int:
        found = await self.latest.get("significance", "t", "exp", fresh=fresh)
        return found.revision if found else 0


async def test_the_tables_are_asked_once_and_updates_followed() -> None:
    tables = Tables()
    assert [await tables.revision() for _ in range(3)] == [1, 1, 1]
    tables.latest.publish(state(2))
    tables.latest.publish(state(9, grain="1m"))
    tables.latest.publish(state(9, subject="other"))
    assert await tables.revision() == 2 and tables.asked == 1


async def test_an_update_that_comes_while_the_tables_are_asked_is_not_lost() -> None:
    tables = Tables()
    tables.gate.clear()
    asking = asyncio.create_task(tables.revision())
    await eventually(lambda: tables.asked == 1)
    tables.latest.publish(state(2))
    tables.gate.set()
    assert await asking == 2


async def test_what_is_to_be_fresh_is_asked_for_and_kept() -> None:
    tables = Tables()
    assert await tables.revision() == 1
    tables.stored = state(5)
    assert await tables.revision(fresh=True) == 5
    assert await tables.revision() == 5 and tables.asked == 2


async def test_an_older_answer_never_follows_a_newer_one() -> None:
    tables = Tables()
    tables.gate.clear()
    older = asyncio.create_task(tables.revision())
    await eventually(lambda: tables.asked == 1)
    tables.stored = state(2)
    newer = asyncio.create_task(tables.revision(fresh=True))
    tables.latest.publish(state(2))
    tables.gate.set()
    assert await newer == 2 and tables.asked == 2, "a fresh answer is asked for after the call"
    assert await older == 2 and await tables.revision() == 2


async def test_a_lost_update_is_found_behind_a_read_and_before_one_after_a_longer_pause() -> None:
    tables = Tables()
    assert await tables.revision() == 1
    tables.stored, tables.now = state(2), RECHECK_S + 1
    assert await tables.revision() == 1
    await eventually(lambda: tables.asked == 2)
    assert await tables.revision() == 2
    tables.stored, tables.now = state(3), tables.now + MAX_AGE_S + 1
    assert await tables.revision() == 3


async def test_tables_that_were_set_back_are_believed() -> None:
    tables = Tables()
    tables.stored = state(8)
    assert await tables.revision() == 8
    tables.stored, tables.now = state(1), MAX_AGE_S + 1
    assert await tables.revision() == 1


async def test_without_updates_the_tables_are_asked_each_time() -> None:
    tables = Tables()
    tables.latest.connected = False
    assert [await tables.revision() for _ in range(3)] == [1, 1, 1] and tables.asked == 3
    tables.latest.connected = True
    tables.stored = state(2)
    assert await tables.revision() == 2, "nothing is kept from a time when updates may have been missed"
    tables.latest.lost(0)
    tables.stored = state(3)
    assert await tables.revision() == 3


async def test_while_the_tables_are_away_the_last_answer_holds_for_a_moment_and_then_the_error_comes() -> None:
    tables = Tables()
    assert await tables.revision() == 1
    tables.away, tables.now = True, RECHECK_S + 1
    assert await tables.revision() == 1
    await eventually(lambda: tables.asked == 2)
    tables.now = MAX_AGE_S + 1
    with pytest.raises(Unavailable):
        await tables.revision()


async def test_a_subject_without_windows_gets_its_first_by_an_update() -> None:
    tables = Tables()
    tables.stored = None
    assert await tables.revision() == 0
    tables.latest.publish(state(1))
    assert await tables.revision() == 1 and tables.asked == 1
