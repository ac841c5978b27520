"""Reads of the ledger: how far each partition is visible, how fresh the blocks were, and what touched a subject."""

from dataclasses import dataclass

from query_api.readers.rows import Rows, integer

_MARKS = """
SELECT topic, partition, argMax(high, newest) AS high, argMax(generation, newest) AS log, toUnixTimestamp64Micro(max(newest)) AS newest_us
FROM (
    SELECT topic, partition, generation, max(offset) AS high, max(stored) AS newest
    FROM ledger
    WHERE stored >= fromUnixTimestamp64Micro({since_us:Int64})
    GROUP BY topic, partition, generation
)
GROUP BY topic, partition
"""

_FRESHNESS = """
SELECT topic, count() AS blocks, sum(rows) AS row_count,
       quantiles(0.5, 0.95, 0.99)(dateDiff('microsecond', born, stored) / 1000) AS ms,
       toUnixTimestamp64Micro(max(stored)) AS newest_us
FROM ledger FINAL
WHERE stored >= fromUnixTimestamp64Micro({since_us:Int64}) AND outcome = 'stored' AND born > toDateTime64(0, 6, 'UTC')
GROUP BY topic
ORDER BY topic
"""

_TOUCHES = """
SELECT substring(touched, length({tenant:String}) + 2) AS subject, max(offset) AS last
FROM ledger ARRAY JOIN subjects AS touched
WHERE topic = {topic:String} AND partition = {partition:UInt32} AND generation = {generation:String} AND offset <= {offset:Int64}
  AND outcome = 'stored' AND startsWith(touched, concat({tenant:String}, '/'))"""
_ONE_SUBJECT = " AND touched = concat({tenant:String}, '/', {subject:String})"
_BY_SUBJECT = " GROUP BY touched"


@dataclass(frozen=True)
class HighWater:
    """How far one partition is stored."""

    place: str
    """`topic:partition`."""
    generation: str
    """Which log of the topic the offset belongs to."""
    offset: int
    stored_us: int
    """When the newest block was stored."""


@dataclass(frozen=True)
class TopicFreshness:
    """Time from the closing of a block at ingest to its being stored, over the blocks of a while."""

    topic: str
    blocks: int
    rows: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    newest_us: int
    """When the newest of the blocks was stored."""


class LedgerReader:
    """Reads the ledger. Platform-wide: the ledger counts blocks, and one block carries rows of several tenants."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def high_water(self, since_us: int) -> list[HighWater]:
        """The mark of every partition that stored something since then; of several logs of a topic, the one written last."""
        found = await self._rows.query(_MARKS, {"since_us": since_us})
        return [HighWater(f"{row['topic']}:{row['partition']}", str(row["log"]), integer(row["high"]), integer(row["newest_us"])) for row in found]

    async def freshness(self, since_us: int) -> list[TopicFreshness]:
        """Quantiles per topic over the blocks stored since then; topics without blocks are left out."""
        found = await self._rows.query(_FRESHNESS, {"since_us": since_us})
        return [
            TopicFreshness(
                topic=str(row["topic"]),
                blocks=integer(row["blocks"]),
                rows=integer(row["row_count"]),
                p50_ms=round(float(p50), 3),
                p95_ms=round(float(p95), 3),
                p99_ms=round(float(p99), 3),
                newest_us=integer(row["newest_us"]),
            )
            for row in found
            for p50, p95, p99 in [row["ms"]]
        ]

    async def touches(self, place: str, generation: str, upto: int, tenant: str, subject: str | None) -> dict[str, int]:
        """For each subject of the tenant (or the one named), the offset of the last block up to `upto` that touched it;
        subjects that none touched are left out."""
        topic, _, partition = place.rpartition(":")
        params: dict[str, object] = {"topic": topic, "partition": int(partition), "generation": generation, "offset": upto, "tenant": tenant}
        sql = _TOUCHES
        if subject is not None:
            sql += _ONE_SUBJECT
            params["subject"] = subject
        return {str(row["subject"]): integer(row["last"]) for row in await self._rows.query(sql + _BY_SUBJECT, params)}
