"""Rows of a table as the block that its raw topic carries, for tables whose feed is Arrow."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from schemas.arrow_stream import stream
from schemas.blocks import Block
from schemas.tables.catalog import FED
from schemas.topics import Topic

_ARROW: dict[str, pa.DataType] = {
    "Int32": pa.int32(),
    "UInt8": pa.uint8(),
    "Float64": pa.float64(),
    "String": pa.string(),
    "DateTime64(6, 'UTC')": pa.timestamp("us", "UTC"),
    "DateTime64(9, 'UTC')": pa.timestamp("ns", "UTC"),
}


def row_block(topic: Topic, rows: Sequence[Mapping[str, Any]], batch_id: str, now_us: int) -> Block:
    """The block of some rows; times are whole numbers in the unit of their column. Columns that the feed does not fill are not looked for."""
    table = FED[topic.name]
    filled = table.feed.columns if table.feed else ()
    columns = {column.name: pa.array([row[column.name] for row in rows], _arrow(column.type)) for column in table.columns if column.name in filled}
    return Block(topic, batch_id, f"{topic.name}/1", len(rows), stream(columns), now_us, now_us, now_us)


def _arrow(kind: str) -> pa.DataType:
    for wrapper in ("LowCardinality(", "Nullable("):
        if kind.startswith(wrapper):
            return _arrow(kind.removeprefix(wrapper).removesuffix(")"))
    return _ARROW[kind]
