"""Bringing an empty Kafka and an empty ClickHouse to the declared state."""

from collections.abc import Callable

from infra.provision import tables, topics
from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import Settings


def open_clickhouse(settings: Settings, *, database: str | None = None) -> ClickHouse:
    """A client of the writing user; `database` overrides the settings', "" names none."""
    chosen = settings.clickhouse.database if database is None else database
    return ClickHouse(settings.clickhouse.url, settings.clickhouse.user, settings.clickhouse.password.get_secret_value(), chosen)


async def prepare(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> None:
    """Create every topic and table that is missing, telling what is done. Repeating is safe and cheap.

    Raises KafkaError, Unavailable or ClickHouseError.
    """
    missing = await topics.differences(settings.kafka)
    for topic in missing:
        tell(str(topic))
    await topics.apply(settings.kafka, missing)
    server = open_clickhouse(settings, database="")
    clickhouse = open_clickhouse(settings)
    try:
        await tables.create_database(server, settings.clickhouse)
        wanted = await tables.differences(clickhouse, settings.clickhouse)
        for table in wanted:
            tell(str(table))
        await tables.apply(clickhouse, wanted)
    finally:
        await server.aclose()
        await clickhouse.aclose()
