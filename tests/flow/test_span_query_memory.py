"""Reading spans in quantity takes little memory however many parts of the table are not merged yet."""

from collections.abc import Iterator

import pytest

from infra.runtime.settings import ClickHouseSettings, Settings
from query_api.readers.rows import ClickHouseRows
from query_api.readers.span_query import Kept, SpanQueryReader, Wanted
from tests.flow.telemetry_rows import TENANT, telemetry
from tests.support import EmbeddedParts

PARTS, SPANS = 40, 2_000
MEMORY = 400 * 2**20
_INSERT = """
INSERT INTO spans (tenant, project, service, trace_id, span_id, name, start_time, end_time, bytes, attributes, received)
SELECT {tenant:String}, 'p', 's', lower(hex(MD5(toString(number)))), leftPad(hex({part:UInt32} * 100000 + number), 16, '0'), 'op',
    toDateTime64('2026-01-01 00:00:00', 9, 'UTC') + toIntervalMillisecond(number), toDateTime64('2026-01-01 00:01:00', 9, 'UTC'), 2_000,
    mapFromArrays(arrayMap(n -> concat('name.', toString(n)), range(10)), arrayMap(n -> concat('\\n', char(200), char(1), randomPrintableASCII(200, n)), range(10))),
    now64(6)
FROM numbers({spans:UInt32})"""


@pytest.fixture(scope="module")
def parts() -> Iterator[EmbeddedParts]:
    with EmbeddedParts(kafka=False, settings=Settings(clickhouse=ClickHouseSettings(read_max_memory_bytes=MEMORY))) as running:
        yield running


async def test_a_page_of_a_frame_out_of_many_parts(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        await place.clickhouse.command("SYSTEM STOP MERGES spans")
        for part in range(PARTS):
            await place.clickhouse.command(_INSERT, {"async_insert": 0}, params={"tenant": TENANT, "part": part, "spans": SPANS})
        (found,) = await place.clickhouse.query("SELECT count() AS parts FROM system.parts WHERE active AND table = 'spans' AND database = currentDatabase()")
        assert int(found["parts"]) == PARTS
        rows = ClickHouseRows(parts.settings.clickhouse.model_copy(update={"database": place.database}))
        try:
            reader, wanted = SpanQueryReader(rows), Wanted(limit=40_000, kept=Kept(everything=True))
            stretches = await reader.pages(TENANT, "p", wanted)
            until, read = None, 0
            for stretch in stretches:
                read += (await reader.page(TENANT, "p", wanted, stretch, until)).num_rows
                until = stretch.from_ns
        finally:
            await rows.close()
        assert read == 40_000
