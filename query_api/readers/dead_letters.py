"""Reads of the index of dead letters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from query_api.readers.rows import Rows, integer

_SELECT: Final = """
SELECT toUnixTimestamp64Micro(at) AS at_us, topic, partition, offset, batch_id, reason, rows, letter_partition, letter_offset
FROM dead_letters FINAL
WHERE tenant IN {tenants:Array(String)}"""
_AFTER: Final = """
  AND (toUnixTimestamp64Micro(at), topic, partition, offset) < ({c_at:Int64}, {c_topic:String}, {c_partition:UInt32}, {c_offset:Int64})"""
_ORDER: Final = "\nORDER BY at DESC, topic DESC, partition DESC, offset DESC LIMIT {limit:UInt32}"


class Key(NamedTuple):
    """Place of a dead letter in the list."""

    at_us: Annotated[int, Meta(ge=0, le=2**62)]
    topic: str
    partition: Annotated[int, Meta(ge=0, lt=2**32)]
    offset: Annotated[int, Meta(ge=0, le=2**62)]


@dataclass(frozen=True)
class DeadLetter:
    """A block that could not be stored."""

    at_us: int
    topic: str
    partition: int
    offset: int
    batch_id: str
    reason: str
    rows: int
    letter_partition: int
    """Where its bytes are on the topic of dead letters."""
    letter_offset: int

    @property
    def key(self) -> Key:
        return Key(self.at_us, self.topic, self.partition, self.offset)


class DeadLetterReader:
    """Reads dead letters, newest first."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def page(self, tenants: Sequence[str], *, limit: int, after: Key | None = None) -> list[DeadLetter]:
        """Those of the tenants; an empty name stands for blocks whose tenant is not known."""
        params: dict[str, object] = {"tenants": list(tenants), "limit": limit}
        sql = _SELECT
        if after is not None:
            sql += _AFTER
            params |= {"c_at": after.at_us, "c_topic": after.topic, "c_partition": after.partition, "c_offset": after.offset}
        return [
            DeadLetter(
                integer(row["at_us"]),
                row["topic"],
                int(row["partition"]),
                integer(row["offset"]),
                row["batch_id"],
                row["reason"],
                int(row["rows"]),
                int(row["letter_partition"]),
                integer(row["letter_offset"]),
            )
            for row in await self._rows.query(sql + _ORDER, params)
        ]
