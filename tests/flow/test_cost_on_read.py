"""Windows of cost that are computed when they are read, beside what the agent stores of the same spans."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from query_api.domain.costs_on_read import CostsOnRead
from query_api.readers.rows import ClickHouseRows
from query_api.readers.span_usage import SpanUsageReader
from query_api.readers.windows import WindowFilter
from streams.refresher import Batch
from tests.flow.telemetry_rows import T0, TENANT, telemetry
from tests.flow.test_cost import SUBJECT, agent, call, defined
from tests.support import EmbeddedParts

pytestmark = pytest.mark.asyncio
_MINUTES = [T0, T0 + 61, T0 + 63, T0 + 64, T0 + 130, T0 + 1440]
_SECOND_LIST = T0 + 63


@pytest.fixture(scope="module")
def parts() -> Iterator[EmbeddedParts]:
    with EmbeddedParts(kafka=False) as running:
        yield running


async def read(costs: CostsOnRead, subject: str) -> dict[tuple[str, int, str], dict[str, Any]]:
    """Figures by grain, start in minutes and item."""
    found = await costs.windows(TENANT, WindowFilter(subject), {})
    return {(item.grain, item.start_us // 60_000_000, item.item): orjson.loads(item.payload) for item in found}


async def test_they_are_what_the_agent_stores_also_under_two_price_lists(parts: EmbeddedParts) -> None:
    async with telemetry(parts) as place:
        for number, minute in enumerate(_MINUTES):
            await place.spans(minute, [call(number, trace_id="one", session_id="se", user_id="me")])
        definitions = defined((1, 0, 1.0), (2, _SECOND_LIST, 3.0))
        await agent(place, definitions).refresh(SUBJECT, Batch(minutes=set(_MINUTES)))
        stored = await place.windows("cost")
        rows = ClickHouseRows(parts.settings.clickhouse.model_copy(update={"database": place.database}))
        try:
            costs = CostsOnRead(SpanUsageReader(rows), definitions, place.clock)
            session = await read(costs, "session=se")
            trace = await read(costs, "trace=one")
        finally:
            await rows.close()

    def of(subject: str, *grains: str) -> dict[tuple[str, int, str], dict[str, Any]]:
        return {(grain, start, item): payload for (name, grain, start, item), (_, payload) in stored.items() if name == subject and grain in grains}

    # One user, one session and one trace sent all of it, so all three cost the same.
    assert session == of("user=me", "1m", "5m", "1h", "1d") != {}
    assert trace == of("user=me", "1m", "all")
    whole = trace["all", 0, "prompt_tokens"]
    assert (whole["price_list"], [entry["version"] for entry in whole["price_lists"]]) == (None, [1, 2])
    assert session["1h", T0 + 60, "prompt_tokens"]["amount"] == pytest.approx((600 * 1.0 + 2 * 600 * 3.0) / 1e6)
