"""Bare INSERTs of the same blocks over the same HTTP interface: the ceiling everything else is compared with."""

import asyncio
import time
import uuid
from collections.abc import Sequence

from infra.runtime.clickhouse import ClickHouse
from schemas.blocks import Block
from schemas.tables.table import Table
from streams.sink import INSERT_SETTINGS


async def bare_insert(clickhouse: ClickHouse, table: Table, blocks: Sequence[Block], seconds: float) -> float:
    """Rows per second of nothing but the sink's INSERT, one after the other, into a table of the same shape."""
    if table.feed is None:
        raise ValueError(f"{table.name} has no feed")
    name = f"bench_{table.name}"
    await clickhouse.command(f"DROP TABLE IF EXISTS {name}")
    await clickhouse.command(table.create(100_000, 90)[0].replace(f"EXISTS {table.name} ", f"EXISTS {name} "))
    rows, number = 0, 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        block = blocks[number % len(blocks)]
        settings = {**INSERT_SETTINGS, **table.feed.settings, "insert_deduplication_token": str(uuid.uuid4())}
        await clickhouse.insert_bytes(table.feed.insert(name, 0, number), block.body, settings, encoding=block.encoding, timeout=60)
        rows, number = rows + block.rows, number + 1
    elapsed = time.perf_counter() - started
    await clickhouse.command(f"DROP TABLE {name}")
    return rows / elapsed


async def wait_for_rows(clickhouse: ClickHouse, table: str, wanted: int, deadline_s: float = 300.0) -> float:
    """Seconds until the table counts that many rows. Raises TimeoutError with the count reached."""
    started = time.perf_counter()
    while True:
        counted = int((await clickhouse.query(f"SELECT count() AS n FROM {table}"))[0]["n"])
        if counted >= wanted:
            return time.perf_counter() - started
        if time.perf_counter() - started > deadline_s:
            raise TimeoutError(f"{table} holds {counted} of {wanted} rows after {deadline_s:.0f} s")
        await asyncio.sleep(0.05)
