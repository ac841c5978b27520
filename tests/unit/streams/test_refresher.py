"""Nothing is acknowledged before its windows are refreshed, and nothing is forgotten that was not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from infra.runtime.clickhouse import ClickHouseError
from infra.runtime.clock import SystemClock
from infra.runtime.settings import StreamSettings
from schemas.avro import Mark
from schemas.blocks import MAX_UNITS
from schemas.windows import Grain, windows_touched
from streams.acks import Ack
from streams.refresher import SPANS, Batch, Redefinition, Refresher, Subject
from tests.support import eventually

E1, E2 = Subject("t", "e1"), Subject("t", "e2")
RARE = StreamSettings(refresh_min_s=0.0, refresh_duty=1e-9, window_duty=1.0, retry_initial_s=0.01)
FAST = StreamSettings(refresh_min_s=0.0, refresh_duty=1.0, window_duty=1.0, retry_initial_s=0.01)


def mark(subject: Subject = E1, offset: int = 0, *minutes: int, units: tuple[str, ...] | None = ("u",), keyed: bool = False, reason: str = "block") -> Mark:
    return Mark(subject.tenant, subject.name, "events", 0, offset, "b", minutes or (10,), units, 1, keyed, 0, reason)


def redefined(subject: Subject = E1) -> Mark:
    return Mark(subject.tenant, subject.name, "", 0, -1, "", (), reason="definition")


class Computation:
    """Records what it is asked to do; fails or waits when told to."""

    kind = "significance"

    def __init__(self) -> None:
        self.cumulative: list[tuple[Subject, Batch]] = []
        self.windows: list[tuple[Subject, Grain, int]] = []
        self.watermarks: list[tuple[Subject, dict[str, int]]] = []
        self.redefinition: Redefinition | None = None
        self.redefinitions: list[int] = []
        """Numbers of the redefinitions whose windows were said to be done."""
        self.failures = 0
        self.window_failures = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.window_gate = asyncio.Event()
        self.window_gate.set()
        self.forgotten = 0

    async def refresh(self, subject: Subject, batch: Batch) -> None:
        self.cumulative.append((subject, batch))
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise ClickHouseError(0, "away")

    async def refresh_window(self, subject: Subject, grain: Grain, start_us: int) -> None:
        await self.window_gate.wait()
        self.windows.append((subject, grain, start_us))
        if self.window_failures:
            self.window_failures -= 1
            raise ClickHouseError(0, "away")

    async def redefined(self, subject: Subject) -> Redefinition | None:
        return self.redefinition

    async def caught_up(self, subject: Subject, positions: Mapping[str, int], redefinition: int) -> None:
        if redefinition:
            self.redefinitions.append(redefinition)
        if positions:
            self.watermarks.append((subject, dict(positions)))

    def forget(self) -> None:
        self.forgotten += 1


@asynccontextmanager
async def running(computation: Computation, grains: tuple[Grain, ...] = SPANS, settings: StreamSettings = FAST) -> AsyncIterator[Refresher]:
    refresher = Refresher(computation, settings, SystemClock(), grains)
    task = asyncio.create_task(refresher.run())
    try:
        yield refresher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def into(released: list[str], name: str) -> Callable[[], object]:
    return lambda: released.append(name)


async def until(condition: Callable[[], bool]) -> None:
    await eventually(condition, timeout=10, interval=0.002)


async def test_a_mark_is_released_after_every_window_it_touched() -> None:
    computation = Computation()
    released: list[str] = []
    computation.window_gate.clear()
    async with running(computation) as refresher:
        refresher.add(mark(E1, 0, 10, 11), into(released, "a"))
        await until(lambda: bool(computation.cumulative))
        assert released == [], "the cumulative window alone is not enough"
        computation.window_gate.set()
        await until(lambda: released == ["a"])
    wanted = {(E1, grain, start) for grain in SPANS for start in windows_touched((10, 11), grain)}
    assert set(computation.windows) == wanted and len(computation.windows) == len(wanted)
    assert [grain.seconds for _, grain, _ in computation.windows] == sorted(grain.seconds for _, grain, _ in computation.windows), "the shortest first"


async def test_a_computation_without_windows_of_its_own_is_done_after_refresh() -> None:
    computation = Computation()
    released: list[str] = []
    async with running(computation, ()) as refresher:
        refresher.add(mark(), into(released, "a"))
        await until(lambda: released == ["a"])
    assert computation.windows == []


async def test_marks_that_come_during_a_refresh_are_gathered_into_the_next() -> None:
    computation = Computation()
    released: list[str] = []
    computation.gate.clear()
    async with running(computation, ()) as refresher:
        refresher.add(mark(E1, 0), into(released, "a"))
        await until(lambda: len(computation.cumulative) == 1)
        for offset in range(1, 6):
            refresher.add(mark(E1, offset, 10 + offset, units=(f"u{offset}",), keyed=offset == 3), into(released, str(offset)))
        computation.gate.set()
        await until(lambda: len(released) == 6)
    _, batch = computation.cumulative[1]
    assert len(computation.cumulative) == 2 and batch.positions == {"events:0": 5} and batch.keyed
    assert batch.units == {f"u{offset}" for offset in range(1, 6)} and batch.minutes == set(range(11, 16))


async def test_a_failed_refresh_keeps_its_marks_with_those_that_came_meanwhile() -> None:
    computation = Computation()
    released: list[str] = []
    computation.failures = 2
    computation.gate.clear()
    async with running(computation) as refresher:
        refresher.add(mark(E1, 7, 10, units=("a",), keyed=True), into(released, "a"))
        await until(lambda: len(computation.cumulative) == 1)
        refresher.add(mark(E1, 8, 20, units=("b",)), into(released, "b"))
        computation.gate.set()
        await until(lambda: sorted(released) == ["a", "b"])
    assert len(computation.cumulative) == 3
    for _, batch in computation.cumulative[1:]:
        assert batch.units == {"a", "b"} and batch.keyed and batch.minutes == {10, 20} and batch.positions == {"events:0": 8}


async def test_a_long_window_holds_no_cumulative_one_up() -> None:
    computation = Computation()
    begun, gate = asyncio.Event(), asyncio.Event()
    released: list[str] = []

    async def long_window(subject: Subject, grain: Grain, start_us: int) -> None:
        begun.set()
        await gate.wait()

    computation.refresh_window = long_window  # type: ignore[method-assign]
    async with running(computation) as refresher:
        refresher.add(mark(E1, 0), into(released, "first"))
        await asyncio.wait_for(begun.wait(), 10)
        refresher.add(mark(E1, 0), into(released, "second"))
        await until(lambda: len(computation.cumulative) == 2)
        assert released == []
        gate.set()
        await until(lambda: sorted(released) == ["first", "second"])


async def test_a_failed_window_is_tried_again_before_its_marks_are_released() -> None:
    computation = Computation()
    released: list[str] = []
    computation.window_failures = 3
    async with running(computation) as refresher:
        refresher.add(mark(E1, 0, 10), into(released, "a"))
        await until(lambda: len(computation.windows) > 3 and released == ["a"])
    assert len(computation.windows) == len(SPANS) + 3


async def test_two_marks_of_one_window_share_its_refresh_and_both_wait_for_it() -> None:
    computation = Computation()
    released: list[str] = []
    computation.window_gate.clear()
    async with running(computation, (Grain.MINUTE,)) as refresher:
        refresher.add(mark(E2, 0, 5), into(released, "other"))
        refresher.add(mark(E1, 0, 10), into(released, "a"))
        refresher.add(mark(E1, 1, 10, 11), into(released, "b"))
        await until(lambda: len(computation.cumulative) == 2)
        computation.window_gate.set()
        await until(lambda: len(released) == 3)
    assert len(computation.windows) == 3


async def test_forgetting_drops_everything_without_acknowledging() -> None:
    computation = Computation()
    released: list[str] = []
    computation.gate.clear()
    async with running(computation) as refresher:
        refresher.add(mark(E1, 0), into(released, "under way"))
        await until(lambda: len(computation.cumulative) == 1)
        refresher.add(mark(E2, 0), into(released, "waiting"))
        refresher.forget()
        begun = len(computation.windows)
        refresher.add(mark(E2, 9), into(released, "after"))
        computation.gate.set()
        await until(lambda: released == ["after"])
    assert computation.forgotten == 1
    assert [subject for subject, _ in computation.cumulative] == [E1, E2]
    assert {subject for subject, _, _ in computation.windows[begun:]} == {E2}


async def test_forgetting_during_a_failing_refresh_restores_nothing() -> None:
    computation = Computation()
    released: list[str] = []
    computation.gate.clear()
    computation.failures = 1
    async with running(computation) as refresher:
        refresher.add(mark(E1, 0), into(released, "a"))
        await until(lambda: len(computation.cumulative) == 1)
        refresher.forget()
        computation.gate.set()
        refresher.add(mark(E2, 0), into(released, "b"))
        await until(lambda: released == ["b"])
    assert len(computation.cumulative) == 2


async def test_a_subject_with_a_larger_share_rests_less_than_others() -> None:
    computation = Computation()
    refresher = Refresher(computation, RARE, SystemClock(), (), lambda subject: 1.0 if subject == E1 else 1e-9)
    task = asyncio.create_task(refresher.run())
    for seen in (1, 2, 3):
        for subject in (E1, E2):
            refresher.add(mark(subject, seen), lambda: None)
        await until(lambda seen=seen: [subject for subject, _ in computation.cumulative].count(E1) == seen)  # type: ignore[misc]
    assert [subject for subject, _ in computation.cumulative].count(E2) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_defect_ends_the_drive_instead_of_being_swallowed() -> None:
    computation = Computation()

    async def defect(subject: Subject, batch: Batch) -> None:
        raise RuntimeError("a defect")

    computation.refresh = defect  # type: ignore[method-assign]
    refresher = Refresher(computation, FAST, SystemClock())
    refresher.add(mark(), lambda: None)
    with pytest.RaisesGroup(RuntimeError):
        await asyncio.wait_for(refresher.run(), 10)


def test_a_definition_or_an_unnamed_unit_makes_all_units_due() -> None:
    batch = Batch()
    released: list[int] = []
    batch.add(mark(units=("a",)), Ack(lambda: released.append(1)))
    assert batch.units == {"a"} and not batch.redefined
    batch.add(mark(units=None), Ack(lambda: None))
    batch.add(mark(units=("b",)), Ack(lambda: None))
    assert batch.units is None and not batch.redefined
    batch.add(mark(reason="definition"), Ack(lambda: None))
    assert batch.redefined


def test_more_units_than_a_query_can_name_are_all() -> None:
    batch = Batch()
    for offset in range(3):
        batch.add(mark(offset=offset, units=tuple(f"{offset}-{n}" for n in range(MAX_UNITS // 2))), Ack(lambda: None))
    assert batch.units is None


async def test_the_watermark_of_other_windows_rises_when_they_are_done_and_never_before() -> None:
    computation = Computation()
    computation.window_gate.clear()
    async with running(computation) as refresher:
        refresher.add(mark(E1, 1, 10), lambda: None)
        refresher.add(mark(E1, 2, 500_000), lambda: None)
        await until(lambda: len(computation.cumulative) > 0)
        assert computation.watermarks == []
        computation.window_gate.set()
        await until(lambda: bool(computation.watermarks) and computation.watermarks[-1] == (E1, {"events:0": 2}))
    done = [start for _, grain, start in computation.windows if grain is Grain.DAY]
    assert set(done) == {windows_touched((10,), Grain.DAY)[0], windows_touched((500_000,), Grain.DAY)[0]}


async def test_an_unfinished_round_holds_back_the_watermark_of_a_later_one() -> None:
    computation = Computation()
    computation.window_failures = 1_000_000
    async with running(computation) as refresher:
        refresher.add(mark(E1, 1, 10), lambda: None)
        await until(lambda: len(computation.windows) > 3)
        refresher.add(mark(E1, 2, 10), lambda: None)
        await until(lambda: len(computation.cumulative) == 2)
        before = len(computation.windows)
        await until(lambda: len(computation.windows) > before + 3)
        assert computation.watermarks == []
        computation.window_failures = 0
        await until(lambda: bool(computation.watermarks) and computation.watermarks[-1] == (E1, {"events:0": 2}))


async def test_a_redefinition_makes_every_window_due_and_its_mark_waits_for_them() -> None:
    computation = Computation()
    computation.redefinition = Redefinition(1, (10, 500_000))
    computation.window_gate.clear()
    released: list[str] = []
    async with running(computation) as refresher:
        refresher.add(redefined(E1), into(released, "redefined"))
        await until(lambda: len(computation.cumulative) == 1)
        assert released == [] and computation.redefinitions == []
        computation.redefinition = None
        computation.window_gate.set()
        await until(lambda: released == ["redefined"] and computation.redefinitions == [1])
    wanted = {(E1, grain, start) for grain in SPANS for start in windows_touched((10, 500_000), grain)}
    assert set(computation.windows) == wanted


async def test_new_data_goes_before_what_a_redefinition_made_out_of_date_and_its_watermark_does_not_wait_for_it() -> None:
    computation = Computation()
    computation.redefinition = Redefinition(1, tuple(range(1_000_000, 1_000_200)))
    computation.window_gate.clear()
    async with running(computation) as refresher:
        refresher.add(redefined(E1), lambda: None)
        await until(lambda: len(computation.cumulative) == 1)
        computation.redefinition = None
        refresher.add(mark(E1, 7, 10), lambda: None)
        computation.window_gate.set()
        await until(lambda: computation.redefinitions == [1])
    fresh = [(E1, grain, start) for grain in SPANS for start in windows_touched((10,), grain)]
    first = min(computation.windows.index(place) for place in fresh)
    assert computation.windows[first : first + len(fresh)] == fresh
    assert computation.watermarks == [(E1, {"events:0": 7})]


async def test_a_failed_refresh_asks_again_what_is_redefined() -> None:
    computation = Computation()
    computation.redefinition = Redefinition(1, (10,))
    computation.failures = 2
    released: list[str] = []
    async with running(computation) as refresher:
        refresher.add(redefined(E1), into(released, "redefined"))
        await until(lambda: released == ["redefined"] and computation.redefinitions == [1])
    assert len(computation.cumulative) == 3 and len(computation.windows) == len(SPANS)


async def test_a_share_that_rises_ends_a_rest_without_a_new_mark() -> None:
    computation = Computation()
    share = 1e-9
    refresher = Refresher(computation, RARE, SystemClock(), (), lambda _: share)
    task = asyncio.create_task(refresher.run())
    refresher.add(mark(E1, 1), lambda: None)
    await until(lambda: len(computation.cumulative) == 1)
    refresher.add(mark(E1, 2), lambda: None)
    share = 1.0
    await until(lambda: len(computation.cumulative) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_new_data_does_not_rest_because_of_what_a_redefinition_made_out_of_date() -> None:
    """The window that is out of date is followed by a rest without an end, and the new one is done all the same."""
    computation = Computation()
    computation.redefinition = Redefinition(1, (1_000_000, 1_000_001))
    computation.window_gate.clear()
    resting = StreamSettings(refresh_min_s=1_000.0, refresh_duty=1.0, window_duty=1.0, retry_initial_s=0.01)
    released: list[str] = []
    async with running(computation, (Grain.MINUTE,), resting) as refresher:
        refresher.add(redefined(E1), lambda: None)
        await until(lambda: refresher._outdated.keys() == {(E1, Grain.MINUTE, 1_000_001 * 60_000_000)})
        refresher.add(mark(E2, 7, 10), into(released, "new"))
        computation.window_gate.set()
        await until(lambda: released == ["new"])
    assert computation.windows == [(E1, Grain.MINUTE, 1_000_000 * 60_000_000), (E2, Grain.MINUTE, 600_000_000)]
