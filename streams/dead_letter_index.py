"""The index of the dead-letter topic: a row for every letter, whoever wrote it."""

import functools

import msgspec

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from infra.runtime.settings import StreamSettings
from schemas.blocks import Touched
from streams.ledger import sql_time
from streams.retrying import until_done
from streams.rows import insert_rows


class DeadLetterIndex:
    """Writes the table `dead_letters`."""

    def __init__(self, clickhouse: ClickHouse, settings: StreamSettings, clock: Clock) -> None:
        self._clickhouse = clickhouse
        self._settings = settings
        self._clock = clock

    async def note(self, partition: int, offset: int, headers: list[tuple[str, bytes]]) -> None:
        """Index one letter. Repeats until ClickHouse took it; noting the same letter again changes nothing."""
        found = {name: value.decode(errors="replace") for name, value in headers if name != "ms-touched"}
        row = {
            "topic": found.get("ms-origin-topic", ""),
            "partition": _number(found.get("ms-origin-partition")),
            "offset": _number(found.get("ms-origin-offset")),
            "at": sql_time(self._clock.now_us()),
            "tenant": _tenant(dict(headers)),
            "batch_id": found.get("ms-batch", ""),
            "reason": found.get("ms-reason", ""),
            "rows": _number(found.get("ms-rows")),
            "letter_partition": partition,
            "letter_offset": offset,
        }
        insert = functools.partial(insert_rows, self._clickhouse, "dead_letters", [row], token=f"letter/{partition}:{offset}")
        await until_done(insert, self._settings, "dead letter not indexed yet", partition=partition, offset=offset)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _tenant(headers: dict[str, bytes]) -> str:
    """The tenant of the letter's rows when they have only one and say so."""
    if "ms-tenant" in headers:
        return headers["ms-tenant"].decode(errors="replace")
    try:
        tenants = {touched.tenant for touched in msgspec.msgpack.decode(headers.get("ms-touched", b"\x90"), type=tuple[Touched, ...])}
    except msgspec.MsgspecError:
        return ""
    return tenants.pop() if len(tenants) == 1 else ""
