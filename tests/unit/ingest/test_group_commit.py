"""Group commit: what travels together, and who hears of a failure."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.errors import Unavailable
from infra.runtime.settings import IngestSettings
from ingest.group_commit import LARGE_ROWS, MAX_FLIGHTS, GroupCommit, Pace
from schemas.blocks import Block
from schemas.topics import EVENTS
from tests.clock import HandClock
from tests.support import eventually

UNPACED = Pace(0, 0, 0, return_s=0)
"""What a block holds is decided by acknowledgements alone, not by the clock."""
NEVER = 1e6
"""Seconds after the test."""


@dataclass(frozen=True)
class Piece:
    """A part with a name."""

    name: str
    rows: int = 1
    size: int = 10


class Waits:
    """A pace of so many seconds after each block in turn, whatever its rows."""

    s_per_block, return_s, enough_rows, enough_bytes = 0.0, NEVER, LARGE_ROWS * 100, 1_000_000

    def __init__(self, *seconds: float) -> None:
        self._seconds = iter(seconds)

    def after(self, rows: int) -> float:
        return next(self._seconds)


class Broker:
    """Takes blocks and acknowledges them one by one when told to."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._answers: list[asyncio.Future[str]] = []

    async def publish(self, block: Block) -> str:
        self.blocks.append(block)
        self._answers.append(asyncio.get_running_loop().create_future())
        return await self._answers[-1]

    async def acknowledge(self, index: int, error: Exception | None = None) -> None:
        if error is None:
            self._answers[index].set_result(f"events:0:{index}")
        else:
            self._answers[index].set_exception(error)
        await settle()

    @property
    def names(self) -> list[str]:
        return [block.body.decode() for block in self.blocks]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def assemble(parts: Sequence[Piece], batch_id: str) -> Block:
    if any(part.name == "broken" for part in parts):
        raise ValueError("cannot be assembled")
    body = ",".join(part.name for part in parts).encode()
    return Block(EVENTS, batch_id, "events/1", sum(part.rows for part in parts), body, 0, 0, 0)


def lane(broker: Broker, pace: Pace | Waits = UNPACED, clock: Clock | None = None, **limits: Any) -> GroupCommit[Piece]:
    publisher: Any = broker
    paced: Any = pace
    return GroupCommit(assemble, publisher, IngestSettings(**limits), clock or SystemClock(), paced)


async def submit(commit: GroupCommit[Piece], *parts: Piece | tuple[Piece, str]) -> list["asyncio.Task[str]"]:
    tasks = [asyncio.create_task(commit.submit(*part) if isinstance(part, tuple) else commit.submit(part)) for part in parts]
    await settle()
    return tasks


async def test_an_idle_lane_sends_at_once_and_a_busy_one_gathers() -> None:
    broker = Broker()
    commit = lane(broker)
    tasks = []
    for name in "abcd":
        tasks += await submit(commit, Piece(name))
    assert broker.names == ["a"]
    await broker.acknowledge(0)
    assert broker.names == ["a", "b,c,d"]
    await broker.acknowledge(1)
    assert [await task for task in tasks] == ["events:0:0", *["events:0:1"] * 3]


async def test_large_blocks_leave_beside_each_other_up_to_a_limit() -> None:
    broker = Broker()
    commit = lane(broker)
    tasks = await submit(commit, *(Piece(name, LARGE_ROWS // 2) for name in "abcdef"))
    assert broker.names == ["a", "b,c"] and len(broker.names) == MAX_FLIGHTS
    await broker.acknowledge(0)
    assert broker.names == ["a", "b,c", "d,e,f"]
    await broker.acknowledge(2)
    await broker.acknowledge(1)
    assert [await task for task in tasks] == ["events:0:0", *["events:0:1"] * 2, *["events:0:2"] * 3]


async def test_a_part_with_a_batch_id_travels_alone_and_in_order() -> None:
    broker = Broker()
    commit = lane(broker)
    tasks = await submit(commit, Piece("a"), Piece("b"), Piece("c"), (Piece("own"), "my-batch"), Piece("d"), Piece("e"))
    await broker.acknowledge(0)
    assert broker.names == ["a", "b,c", "own"], "its block does not grow by waiting, so it leaves beside another"
    for index in (1, 2, 3):
        await broker.acknowledge(index)
    await asyncio.gather(*tasks)
    assert broker.names == ["a", "b,c", "own", "d,e"]
    assert broker.blocks[2].batch_id == "my-batch" and len({block.batch_id for block in broker.blocks}) == 4


@pytest.mark.parametrize(("limits", "expected"), [({"block_max_rows": 5}, ["b,c", "d", "e", "f"]), ({"block_max_bytes": 1_000}, ["b,c", "d", "e", "f"])])
async def test_blocks_keep_to_their_limits_and_a_large_part_goes_alone(limits: dict[str, int], expected: list[str]) -> None:
    broker = Broker()
    commit = lane(broker, UNPACED, None, **limits)
    pieces = [Piece(name, rows, rows * 200) for name, rows in (("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 9), ("f", 1))]
    tasks = await submit(commit, *pieces)
    for index in range(5):
        await broker.acknowledge(index)
    await asyncio.gather(*tasks)
    assert broker.names == ["a", *expected]


async def test_a_failure_reaches_every_waiter_and_the_lane_goes_on() -> None:
    broker = Broker()
    commit = lane(broker)
    tasks = await submit(commit, *(Piece(name) for name in "abcd"))
    await broker.acknowledge(0)
    failure = Unavailable("away")
    await broker.acknowledge(1, failure)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == ["events:0:0", failure, failure, failure]
    (later,) = await submit(commit, Piece("e"))
    await broker.acknowledge(2)
    assert await later == "events:0:2"


async def test_parts_that_cannot_be_assembled_fail_and_free_the_lane() -> None:
    broker = Broker()
    commit = lane(broker)
    broken = await submit(commit, Piece("broken"), Piece("broken"), Piece("beside it"))
    assert [type(result) for result in await asyncio.gather(*broken, return_exceptions=True)] == [ValueError] * 3
    (fine,) = await submit(commit, Piece("fine"))
    await broker.acknowledge(0)
    assert await fine == "events:0:0"


async def test_a_waiter_that_gave_up_harms_nobody() -> None:
    broker = Broker()
    commit = lane(broker)
    tasks = await submit(commit, *(Piece(name) for name in "abcd"))
    tasks[2].cancel()
    await broker.acknowledge(0)
    await broker.acknowledge(1)
    assert await tasks[3] == "events:0:1"


async def test_drain_waits_for_everything_submitted() -> None:
    broker = Broker()
    commit = lane(broker)
    tasks = await submit(commit, *(Piece(name) for name in "abc"))
    draining = asyncio.create_task(commit.drain())
    for index in range(2):
        await settle()
        assert not draining.done()
        await broker.acknowledge(index)
    await draining
    assert all(task.done() for task in tasks)


def test_the_pace_grows_with_the_block_up_to_its_limit() -> None:
    pace = Pace(s_per_block=0.01, s_per_row=0.001, longest_s=0.1)
    assert [pace.after(rows) for rows in (0, 50, 1_000)] == pytest.approx([0.01, 0.06, 0.1])


async def test_under_load_the_next_block_waits_for_its_pace() -> None:
    broker = Broker()
    commit = lane(broker, Pace(s_per_block=0.5, longest_s=0.5))
    tasks = await submit(commit, Piece("a"), Piece("b"), Piece("c"))
    assert broker.names == ["a"], "the first leaves at once"
    await broker.acknowledge(0)
    await eventually(lambda: len(broker.names) == 2)
    assert broker.names == ["a", "b,c"]
    await broker.acknowledge(1)
    assert [await task for task in tasks] == ["events:0:0", "events:0:1", "events:0:1"]


async def test_when_all_who_send_are_back_nobody_is_waited_for() -> None:
    broker = Broker()
    commit = lane(broker, Waits(NEVER, NEVER, NEVER))
    await submit(commit, Piece("a"), Piece("b"), Piece("c"))
    assert broker.names == ["a"]
    await broker.acknowledge(0)
    assert broker.names == ["a"], "the sender of a may come again"
    await submit(commit, Piece("a2"))
    assert broker.names == ["a", "b,c,a2"]
    await broker.acknowledge(1)
    await submit(commit, Piece("b2"), Piece("c2"))
    assert len(broker.names) == 2
    await submit(commit, Piece("a3"))
    assert broker.names[2] == "b2,c2,a3"


@pytest.mark.parametrize(("return_s", "blocks"), [(NEVER, ["a", "a2"]), (0.0, ["a"])], ids=["who waited for an answer", "who comes later"])
async def test_a_part_counts_as_the_last_one_only_soon_after_an_answer(return_s: float, blocks: list[str]) -> None:
    broker = Broker()
    commit = lane(broker, Pace(0.0, NEVER, NEVER, return_s=return_s))
    await submit(commit, Piece("a", LARGE_ROWS))
    await broker.acknowledge(0)
    await submit(commit, Piece("a2", LARGE_ROWS))
    assert broker.names == blocks


@pytest.mark.parametrize("enough", [{"enough_rows": 10}, {"enough_bytes": 10}], ids=str)
async def test_enough_of_it_waits_for_nobody_else(enough: dict[str, int]) -> None:
    broker = Broker()
    commit = lane(broker, Pace(0.0, NEVER, NEVER, return_s=0.0, **enough))
    await submit(commit, Piece("a", LARGE_ROWS, 100))
    await broker.acknowledge(0)
    await submit(commit, Piece("b", 9, 9))
    assert broker.names == ["a"]
    await submit(commit, Piece("c", 1, 1))
    assert broker.names == ["a", "b,c"], "together they are enough"
    await broker.acknowledge(1)
    await submit(commit, Piece("d", 9, 9))
    assert broker.names == ["a", "b,c"], "what left counts no more"


async def test_those_who_were_just_answered_get_the_time_that_their_block_took() -> None:
    broker, clock = Broker(), HandClock()
    commit = lane(broker, Pace(0, 0, 0, return_s=NEVER), clock)
    await submit(commit, Piece("a"), Piece("b"), Piece("c"))
    clock.forward(NEVER)
    await broker.acknowledge(0)
    assert broker.names == ["a"]
    await submit(commit, Piece("large", LARGE_ROWS))
    assert broker.names == ["a", "b,c,large"], "what is large enough waits for nobody"
    await submit(commit, Piece("d"))
    clock.forward(NEVER)
    await broker.acknowledge(1)
    assert len(broker.names) == 2
    await submit(commit, Piece("b2"), Piece("c2"), Piece("e"))
    assert broker.names[2:] == ["d,b2,c2,e"]


async def test_what_is_large_enough_leaves_while_a_small_part_waits_for_others() -> None:
    broker, clock = Broker(), HandClock()
    commit = lane(broker, Pace(0, 0, 0, return_s=NEVER), clock)
    await submit(commit, *(Piece(name) for name in "abcdef"))
    clock.forward(NEVER)
    await broker.acknowledge(0)
    await submit(commit, Piece("large", LARGE_ROWS))
    assert broker.names == ["a", "b,c,d,e,f,large"]
    await submit(commit, Piece("small"))
    clock.forward(NEVER)
    await broker.acknowledge(1)
    assert len(broker.names) == 2, "those of the block before may come again"
    await submit(commit, Piece("larger", 5 * LARGE_ROWS))
    assert broker.names[2:] == ["small,larger"]


async def test_who_went_away_is_soon_waited_for_no_longer() -> None:
    broker = Broker()
    commit = lane(broker, Waits(NEVER, 0.01, NEVER, NEVER))
    await submit(commit, Piece("a"), Piece("b"), Piece("c"))
    await broker.acknowledge(0)
    await submit(commit, Piece("a2"))
    await broker.acknowledge(1)
    await submit(commit, Piece("b2"), Piece("c2"))
    await eventually(lambda: broker.names == ["a", "b,c,a2", "b2,c2"])
    await broker.acknowledge(2)
    await submit(commit, Piece("b3"), Piece("c3"))
    assert broker.names[3:] == ["b3,c3"]


async def test_blocks_keep_their_distance_also_when_all_are_there() -> None:
    broker = Broker()
    commit = lane(broker, Pace(s_per_block=NEVER, longest_s=NEVER))
    await submit(commit, Piece("a"))
    await broker.acknowledge(0)
    await submit(commit, Piece("a2"))
    assert broker.names == ["a"]
