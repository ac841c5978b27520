"""What the contract suites for ClickHouse share: which server is asked, and small bodies to insert."""

import itertools
from dataclasses import dataclass

import pyarrow as pa

from infra.runtime.clickhouse import ClickHouse

READ_SECONDS, READ_MEMORY, READ_ROWS = 1.0, 200_000_000, 5_000_000
"""Limits of the reader on every server under test."""
PROTO = 'syntax = "proto3"; message Line { uint64 id = 1; string name = 2; repeated uint64 parts = 3; }'
names = itertools.count()
"""Numbers that keep the tables of different tests apart."""


@dataclass(frozen=True)
class Server:
    """One server under test."""

    url: str
    writer: str
    reader: str
    embedded: bool

    def client(self, user: str | None = None, database: str = "suite") -> ClickHouse:
        return ClickHouse(self.url, user or self.writer, "", database)


def arrow(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    block: bytes = sink.getvalue().to_pybytes()
    return block


def lines(start: int, count: int) -> bytes:
    return arrow(pa.table({"id": pa.array(range(start, start + count), pa.uint64()), "name": [f"n{number}" for number in range(start, start + count)]}))


def protobuf_line(number: int, name: str, parts: list[int]) -> bytes:
    body = bytes([8, number, 18, len(name)]) + name.encode() + (bytes([26, len(parts), *parts]) if parts else b"")
    return bytes([len(body)]) + body


async def count(client: ClickHouse, table: str) -> int:
    return int((await client.query(f"SELECT count() AS n FROM {table}"))[0]["n"])
