"""What `doctor` asks of the running parts: lag of the workers, and live topics and tables against the declared ones."""

from collections.abc import Mapping
from typing import Any

from infra.provision import tables, topics
from infra.provision.prepare import open_clickhouse
from infra.runtime.clock import SystemClock
from infra.runtime.settings import Settings
from query_api.domain.topic_lag import list_topics
from query_api.freshness import Freshness
from query_api.readers.broker import Broker
from query_api.readers.ledger import LedgerReader
from query_api.readers.rows import ClickHouseRows
from query_api.readers.windows import WindowReader


async def lag(settings: Settings) -> Mapping[str, Any]:
    """Blocks on each raw topic that are not stored yet. Raises Unavailable or ClickHouseError."""
    rows = ClickHouseRows(settings.clickhouse)
    broker = Broker(settings.kafka.bootstrap)
    try:
        page = await list_topics(broker, Freshness(LedgerReader(rows), WindowReader(rows), SystemClock()))
    finally:
        await broker.close()
        await rows.close()
    behind = {item["topic"]: item["lag"] for item in page.items if item["lag"] is not None}
    return {"blocks": sum(behind.values()), **behind}


async def drift(settings: Settings) -> Mapping[str, Any]:
    """How live topics and tables differ from the declared ones. Raises KafkaError or ClickHouseError."""
    clickhouse = open_clickhouse(settings)
    try:
        found = [str(difference) for difference in await tables.differences(clickhouse, settings.clickhouse)]
    finally:
        await clickhouse.aclose()
    found += [str(difference) for difference in await topics.differences(settings.kafka)]
    return {"ok": not found, "differences": found or "none"}
