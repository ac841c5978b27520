"""Queries on the ledger."""

from infra.runtime.clickhouse import ClickHouse


async def high_water_mark(clickhouse: ClickHouse, topic: str, partition: int, generation: str) -> int:
    """Highest recorded offset of a partition, -1 when none."""
    rows = await clickhouse.query(
        "SELECT max(offset) AS high, count() AS n FROM ledger WHERE topic = {topic:String} AND partition = {partition:UInt32} AND generation = {generation:String}",
        {"topic": topic, "partition": partition, "generation": generation},
    )
    return int(rows[0]["high"]) if int(rows[0]["n"]) else -1


async def recent_outcomes(clickhouse: ClickHouse, topic: str, limit: int) -> list[str]:
    """Outcomes of the newest blocks of a topic, newest first."""
    rows = await clickhouse.query(
        "SELECT outcome FROM ledger WHERE topic = {topic:String} ORDER BY stored DESC LIMIT {limit:UInt32}", {"topic": topic, "limit": limit}
    )
    return [str(row["outcome"]) for row in rows]
