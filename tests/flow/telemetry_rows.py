"""Rows of metrics and spans for the tests of cardinality and cost: a database of its own, plain INSERTs, updates kept in a list."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

import msgspec

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import SystemClock
from infra.runtime.producer import Producer
from schemas.any_value import encode
from schemas.avro import decode_update
from schemas.tables.catalog import TABLES
from streams.publish_windows import WindowWriter
from tests.support import EmbeddedParts

T0 = 1_790_000_000 // 86_400 * 86_400 // 60
"""First minute of a day."""
TENANT, SERVICE = "acme", "shop"


class Updates:
    """Stands in for the producer."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send(self, topic: str, value: bytes, **_: object) -> None:
        self.sent.append(value)

    @property
    def revisions(self) -> set[tuple[str, str, int, int]]:
        """Subject, grain, start and revision of what was published, however often."""
        updates = [decode_update(value) for value in self.sent]
        return {(update.subject, update.grain, update.window_start_us, update.revision) for update in updates}


class Telemetry:
    """Tables with rows in them."""

    def __init__(self, clickhouse: ClickHouse, database: str) -> None:
        self.clickhouse = clickhouse
        self.database = database
        self.updates = Updates()
        self.clock = SystemClock()
        self._received = 1_790_000_000_000_000

    def writer(self, kind: str) -> WindowWriter:
        return WindowWriter(kind, self.clickhouse, cast(Producer, self.updates), self.clock)

    async def points(self, minute: int, series: Iterable[Mapping[str, str]], *, metric: str = "requests", service: str = SERVICE, count: int = 1) -> None:
        """`count` points in the minute for each series, which is its labels. Sent again they are duplicates in another block."""
        rows = [
            {
                "tenant": TENANT, "service": service, "project": "p", "metric": metric, "kind": "gauge", "series": _identity(metric, labels),
                "attributes": {name: encode(value).decode() for name, value in labels.items()}, "time": f"{minute * 60 + second}.000000000",
                "bytes": 100, "resource": "r",
            }
            for labels in series
            for second in range(count)
        ]  # fmt: skip
        await self._insert("metric_points", rows)

    async def spans(self, minute: int, spans: Iterable[Mapping[str, Any]], *, service: str = SERVICE) -> None:
        """Spans that start in the minute, in a block of their own; each names at least its `span_id`."""
        basis = {"tenant": TENANT, "service": service, "project": "p", "start_time": f"{minute * 60}.000000000", "name": "op", "bytes": 200, "trace_id": "tr"}
        await self._insert("spans", [basis | dict(span) for span in spans])

    async def windows(self, kind: str) -> dict[tuple[str, str, int, str], tuple[int, dict[str, Any]]]:
        """Revision and figures by subject, grain, start in minutes and item."""
        rows = await self.clickhouse.query(
            f"SELECT subject, grain, toUnixTimestamp(window_start) AS start, item, revision, payload FROM windows_{kind} FINAL WHERE payload != '{{}}'"
        )
        return {(r["subject"], r["grain"], int(r["start"]) // 60, r["item"]): (int(r["revision"]), msgspec.json.decode(r["payload"])) for r in rows}

    async def _insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        self._received += 1_000
        body = b"\n".join(msgspec.json.encode({"offset": self._received, **row, "received": f"{self._received / 1e6:.6f}"}) for row in rows)
        await self.clickhouse.insert_bytes(f"INSERT INTO {table} FORMAT JSONEachRow", body, {"async_insert": 0, "insert_deduplicate": 0})


@asynccontextmanager
async def telemetry(parts: EmbeddedParts) -> AsyncIterator[Telemetry]:
    """Empty tables in a database of their own."""
    settings = parts.settings.clickhouse
    name = f"telemetry_{uuid4().hex}"
    plain = ClickHouse(settings.url, settings.user, database="")
    clickhouse = ClickHouse(settings.url, settings.user, database=name)
    try:
        await plain.command(f"CREATE DATABASE {name}")
        for table in TABLES:
            for statement in table.create(1_000, 36_500):
                await clickhouse.command(statement)
        yield Telemetry(clickhouse, name)
        await plain.command(f"DROP DATABASE {name}")
    finally:
        await plain.aclose()
        await clickhouse.aclose()


def _identity(metric: str, labels: Mapping[str, str]) -> int:
    # The same in every run, unlike the built-in hash of strings.
    return int.from_bytes(msgspec.json.encode([metric, sorted(labels.items())])[-64:].rjust(64, b"\0"), "big") % ((1 << 61) - 1)
