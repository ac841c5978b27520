"""Pages of spans that are sought among the newest first hold what the same pages hold without that."""

from uuid import uuid4

import pytest

from query_api.readers.attribute_condition import AttributeIs
from query_api.readers.conditions import Conditions
from query_api.readers.newest_spans import NewestSpans
from query_api.readers.rows import ClickHouseRows
from query_api.readers.span_list_filter import SpanFilter
from query_api.readers.spans import Key, SpanReader
from schemas.any_value import encode
from tests.flow.llm_client import SECOND, now
from tests.flow.stack import LiveStack

SPANS = 60
RARE = SpanFilter(attributes=[AttributeIs("tier", "gold")])


class Since(NewestSpans):
    """Says what a test tells it to."""

    def __init__(self, edge_ns: int) -> None:
        self.edge_ns = edge_ns

    def since_ns(self, visible: Conditions, *, rare: bool) -> int | None:
        return self.edge_ns


async def _all(reader: SpanReader, visible: Conditions, wanted: SpanFilter, limit: int, newest: NewestSpans | None) -> list[Key]:
    found: list[Key] = []
    while page := await reader.page(visible, wanted, limit=limit, after=found[-1] if found else None, newest=newest):
        found += [span.key for span in page]
    return found


@pytest.mark.parametrize("wanted", [RARE, SpanFilter(names=["odd"]), SpanFilter(words=["gold"])], ids=["attribute", "name", "words"])
async def test_the_pages_are_the_same_wherever_the_edge_is(live: LiveStack, wanted: SpanFilter) -> None:
    project, start = uuid4().hex, now() - 600 * SECOND
    visible = Conditions(["tenant = {tenant:String}", "project = {project:String}"], {"tenant": "rare", "project": project})
    clickhouse, rows = live.clickhouse(), ClickHouseRows(live.settings.clickhouse)
    try:
        # Three spans each second, so that the edge falls between equal starts; a third of them rare.
        values = ", ".join(
            f"('rare', '{project}', '{at:032x}', '{at:016x}', '{'odd' if at % 3 else 'even'}', fromUnixTimestamp64Nano({start + at // 3 * SECOND}), now64(6), "
            f"map('tier', unhex('{encode('gold' if at % 3 else 'tin').hex()}')))"
            for at in range(SPANS)
        )
        await clickhouse.command(f"INSERT INTO spans (tenant, project, trace_id, span_id, name, start_time, received, attributes) VALUES {values}")
        reader = SpanReader(rows)
        expected = [Key(start + at // 3 * SECOND, f"{at:032x}", f"{at:016x}") for at in reversed(range(SPANS)) if at % 3]
        for edge in (0, start, start + 7 * SECOND, start + SPANS // 3 * SECOND, start + 900 * SECOND):
            for limit in (1, 7, 100):
                assert await _all(reader, visible, wanted, limit, Since(edge)) == expected, (edge - start, limit)
        assert await _all(reader, visible, wanted, 7, None) == expected
    finally:
        await clickhouse.aclose()
        await rows.close()
