"""A day of LLM spans in the table at once: real ones through the sink's own INSERT, then copies of them under other ids."""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import SystemClock, uuid7
from infra.runtime.settings import Settings
from ingest.otlp import assembler
from ingest.otlp_read import TRACES, parse, read
from schemas.blocks import Block
from schemas.otlp_wire import Window
from schemas.tables.spans import SPANS as TABLE
from streams.sink import INSERT_SETTINGS
from tests.bench.figures import tell
from tests.bench.llm_spans import SPANS, Requests
from tests.bench.llm_spans import TRACES as TRACES_OF_REQUEST

DAY_NS: Final = 86_400 * 10**9
ORIGINALS: Final = 200_000
"""Spans that are made in full; the rest are copies, as different to an index as the originals are from each other."""
_REQUESTS_OF_BLOCK: Final = 10
_MERGES_S: Final = 240.0
"""Merges that take longer go on beside the benchmark."""

# A copy begins hours after its original, the last hours of the day come round to its beginning: side by side the two would compress too well.
_COPY: Final = """
INSERT INTO spans
WITH if(original.start_time + toIntervalMillisecond({later:UInt32}) > now64(9, 'UTC'), toInt64({later:UInt32}) - 86400000, toInt64({later:UInt32})) AS later
SELECT * REPLACE(
    lower(hex(MD5(concat(original.trace_id, {salt:String})))) AS trace_id,
    substring(lower(hex(MD5(concat(original.span_id, {salt:String})))), 1, 16) AS span_id,
    if(original.parent_id = '', '', substring(lower(hex(MD5(concat(original.parent_id, {salt:String})))), 1, 16)) AS parent_id,
    lower(hex(MD5(concat(original.session_id, {salt:String})))) AS session_id,
    original.start_time + toIntervalMillisecond(later) AS start_time,
    original.end_time + toIntervalMillisecond(later) AS end_time,
    toUInt16(original.part + 1) AS part
) FROM (SELECT * FROM spans WHERE part = {part:UInt16}) AS original"""
_COPY_SETTINGS: Final = {"max_threads": 2, "max_insert_threads": 1, "insert_deduplicate": 0, "async_insert": 0}
_APART_MS: Final = 31_607_011
_ORIGINALS_PART: Final = 60_000
"""A partition of Kafka that no topic has: tells the originals from everything else."""


def bodies(requests: Requests, spans: int) -> Iterator[bytes]:
    """Export requests with so many spans, spread evenly over the day until now."""
    count = spans // SPANS
    start, step = time.time_ns() - DAY_NS, DAY_NS // max(count * TRACES_OF_REQUEST, 1)
    for number in range(count):
        yield requests.body(start + number * TRACES_OF_REQUEST * step, step)


async def fill(clickhouse: ClickHouse, requests: Requests, spans: int, budget_s: float) -> int:
    """Store so many spans, or as many as the seconds allow, and give merges a minute. Returns how many there are."""
    started = time.perf_counter()
    feed = TABLE.feed
    assert feed is not None
    originals = min(ORIGINALS, spans)
    for number, block in enumerate(_blocks(list(bodies(requests, originals)))):
        settings = {**INSERT_SETTINGS, **feed.settings, "insert_deduplication_token": block.batch_id}
        await clickhouse.insert_bytes(feed.insert("spans", _ORIGINALS_PART, number), block.body, settings, encoding=block.encoding, timeout=60)
    tell(f"{originals} spans stored, copying them")
    stored = originals
    for copy in range(1, spans // originals):
        if time.perf_counter() - started > budget_s:
            tell(f"the time for loading is over at {stored} spans")
            break
        await clickhouse.command(
            _COPY, _COPY_SETTINGS, params={"salt": str(copy), "later": copy * _APART_MS % 86_400_000, "part": _ORIGINALS_PART}, timeout=300
        )
        stored += originals
        if copy % 4 == 0:
            tell(f"{stored} spans after {time.perf_counter() - started:.0f} s")
    deadline = time.perf_counter() + _MERGES_S
    while (await clickhouse.query("SELECT count() AS n FROM system.merges WHERE table = 'spans'"))[0]["n"] and time.perf_counter() < deadline:
        await asyncio.sleep(0.5)
    return stored


def _blocks(requests: list[bytes]) -> Iterator[Block]:
    clock, settings = SystemClock(), Settings()
    window = Window.around(clock.now_us(), settings.ingest.max_past_s, settings.ingest.max_future_s)
    assemble = assembler(TRACES, settings, clock)
    for first in range(0, len(requests), _REQUESTS_OF_BLOCK):
        parts = []
        for body in requests[first : first + _REQUESTS_OF_BLOCK]:
            part = read(TRACES, parse(TRACES, body, SPANS), body, settings.default_tenant, "", settings.default_project, window, SPANS).part
            assert part is not None
            parts.append(part)
        yield assemble(parts, str(uuid7(clock.now_us())))
