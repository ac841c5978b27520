"""Rows of the query service become blocks that the sink of their topic can read."""

from typing import Any

import pyarrow as pa
import pytest

from infra.runtime.producer import Place
from query_api.block_writer import MAX_ROWS, BlockWriter
from query_api.freshness import Freshness
from query_api.readers.ledger import LedgerReader
from query_api.readers.windows import WindowReader
from schemas.blocks import Block
from schemas.topics import SPAN_EDITS
from tests.clock import HandClock
from tests.unit.query_api.parts import AwayRows


class Sent:
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    async def send(self, topic: str, value: bytes, *, key: bytes | None = None, headers: Any = ()) -> Place:
        self.blocks.append(Block.from_record(topic, headers, value))
        return Place(topic, 0, len(self.blocks) - 1)


def _edit(number: int) -> dict[str, Any]:
    return {"tenant": "t", "edit": "trace", "key": f"{number:032x}", "project": "", "at": number}


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def writer(sent: Sent) -> BlockWriter:
    rows, clock = AwayRows(), HandClock()
    return BlockWriter(sent, Freshness(LedgerReader(rows), WindowReader(rows), clock), clock, 1.0)  # type: ignore[arg-type]


async def test_rows_come_back_as_they_went_in(writer: BlockWriter, sent: Sent) -> None:
    rows = [_edit(number) for number in range(3)]
    assert await writer.write(SPAN_EDITS, rows) == {"span_edits:0": 0}
    (block,) = sent.blocks
    with pa.ipc.open_stream(block.body) as reader:
        table = reader.read_all()
    assert block.rows == 3 and table["key"].to_pylist() == [row["key"] for row in rows]
    assert table["at"].cast(pa.int64()).to_pylist() == [0, 1, 2]


async def test_many_rows_are_several_blocks_with_ids_of_their_own(writer: BlockWriter, sent: Sent) -> None:
    assert await writer.write(SPAN_EDITS, [_edit(number) for number in range(MAX_ROWS + 1)]) == {"span_edits:0": 1}
    assert [block.rows for block in sent.blocks] == [MAX_ROWS, 1]
    assert len({block.batch_id for block in sent.blocks}) == 2


async def test_no_rows_are_no_block(writer: BlockWriter, sent: Sent) -> None:
    assert await writer.write(SPAN_EDITS, []) == {} and not sent.blocks
