"""Watermarks written beside the refreshes: what is released when, and what becomes of it when the store is away or partitions move."""

import asyncio
from typing import Any

from infra.runtime.clickhouse import ClickHouseError
from infra.runtime.settings import StreamSettings
from streams.watermarks import Watermarks
from tests.support import eventually
from tests.unit.streams.fakes import ScriptedClickHouse

_QUICK = StreamSettings(retry_initial_s=0.001, retry_max_s=0.001)


def _row(subject: str, at: int) -> dict[str, Any]:
    return {"kind": "significance", "tenant": "acme", "subject": subject, "at": at}


class Gate:
    """Holds INSERTs back until it is opened."""

    def __init__(self, clickhouse: ScriptedClickHouse) -> None:
        self._open = asyncio.Event()
        clickhouse.before_insert = self._open.wait  # type: ignore[assignment]

    def open(self) -> None:
        self._open.set()


def _watermarks(clickhouse: ScriptedClickHouse) -> Watermarks:
    parts: Any = clickhouse
    return Watermarks(parts, _QUICK)


async def test_marks_are_released_once_their_watermark_is_written_also_after_failures() -> None:
    clickhouse, released = ScriptedClickHouse(), list[str]()
    clickhouse.failures["watermarks"] = [ClickHouseError(0, "away"), ClickHouseError(0, "away"), None]
    gate, watermarks = Gate(clickhouse), _watermarks(clickhouse)
    watermarks.say([_row("checkout", 1)], lambda: released.append("first"))
    await asyncio.sleep(0)
    assert not released
    gate.open()
    await watermarks.drain()
    assert released == ["first"] and clickhouse.steps == ["watermarks failed", "watermarks failed", "watermarks"]
    assert {settings["insert_deduplication_token"] for _, _, settings in clickhouse.inserts} == {clickhouse.inserts[0][2]["insert_deduplication_token"]}


async def test_what_is_said_meanwhile_goes_together_and_of_a_subject_the_newest() -> None:
    clickhouse, released = ScriptedClickHouse(), list[str]()
    gate, watermarks = Gate(clickhouse), _watermarks(clickhouse)
    watermarks.say([_row("checkout", 1)], lambda: released.append("first"))
    await asyncio.sleep(0)
    watermarks.say([_row("checkout", 2), _row("search", 2)], lambda: released.append("second"))
    watermarks.say([_row("checkout", 3)], lambda: released.append("third"))
    gate.open()
    await watermarks.drain()
    assert released == ["first", "second", "third"]
    assert clickhouse.rows("watermarks") == [_row("checkout", 1), _row("checkout", 3), _row("search", 2)]


async def test_what_is_not_under_way_is_left_to_the_new_owner_when_partitions_move() -> None:
    clickhouse, released = ScriptedClickHouse(), list[str]()
    gate, watermarks = Gate(clickhouse), _watermarks(clickhouse)
    watermarks.say([_row("checkout", 1)], lambda: released.append("under way"))
    await asyncio.sleep(0)
    watermarks.say([_row("checkout", 2)], lambda: released.append("waiting"))
    watermarks.forget()
    watermarks.say([_row("search", 3)], lambda: released.append("after"))
    gate.open()
    await eventually(lambda: len(released) == 2)
    await watermarks.drain()
    assert released == ["under way", "after"]
    assert clickhouse.rows("watermarks") == [_row("checkout", 1), _row("search", 3)]
