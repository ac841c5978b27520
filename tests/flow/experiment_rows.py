"""A/B events as rows, and the computation over them without Kafka in between: what a mark would start is started by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import StreamSettings
from schemas.avro import Mark
from schemas.definition_kinds import ControlRecord, Definition, encode_definition, kind_of
from schemas.definitions import Definitions
from schemas.tables.events import BUCKET
from streams.experiment_windows import ExperimentWindows
from streams.refresher import SPANS, Refresher, Subject
from tests.flow.telemetry_rows import T0, TENANT, Telemetry, telemetry
from tests.support import EmbeddedParts

SUBJECT = Subject(TENANT, "exp")
Windows = dict[tuple[str, int, str], dict[str, Any]]
"""Figures by grain, start in minutes and item."""


class Counting:
    """ClickHouse that counts what it is asked."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self.queries = 0
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._clickhouse, name)
        if name in ("query", "query_arrow"):
            self.queries += 1
        elif name in ("command", "insert_bytes"):
            self.writes += 1
        return method


class Experiment:
    """One experiment with its events and the worker that owns it."""

    def __init__(self, place: Telemetry) -> None:
        self.place = place
        self.asked = Counting(place.clickhouse)
        self.definitions = Definitions()
        self._versions = 0
        self._offsets: dict[int, int] = {}
        self.windows = self.worker()

    def worker(self) -> ExperimentWindows:
        """A worker that knows nothing yet."""
        clickhouse: Any = self.asked
        return ExperimentWindows(
            clickhouse, self.place.clock, self.definitions, StreamSettings(), self.place.writer("assignments"), self.place.writer("significance")
        )

    def define(self, *definitions: Definition) -> None:
        """Put definitions in force."""
        for each in definitions:
            self._versions += 1
            assert self.definitions.apply(ControlRecord(kind_of(each), each.tenant, each.id, self._versions, False, encode_definition(each), 0))

    async def store(self, *events: Mapping[str, Any], part: int = 0, keyed: bool = False) -> Mark:
        """Store one block of events, each with a unit, a type, a minute and perhaps a variant and a value; the mark that says so."""
        offset = self._offsets[part] = self._offsets.get(part, -1) + 1
        rows = [
            {
                "tenant": TENANT, "experiment": SUBJECT.name, "unit": e["unit"], "event_type": e["type"], "variant": e.get("variant", ""),
                "event_id": e.get("id", f"{part}/{offset}/{n}"), "keyed": int(keyed), "time": f"{e['minute'] * 60 + 1}.000000", "received": f"{T0 * 60 + offset}.000000",
                "value": e.get("value"), "sdk": e.get("sdk", "web"), "source": "http", "part": part, "offset": offset,
            }
            for n, e in enumerate(events)
        ]  # fmt: skip
        structure = (
            "tenant String, experiment String, unit String, event_type String, variant String, event_id String, keyed UInt8, time DateTime64(6), "
            "received DateTime64(6), value Nullable(Float64), sdk String, source String, part UInt16, offset UInt64"
        )
        columns = "tenant, experiment, unit, event_type, variant, event_id, keyed, time, received, value, sdk, source, part, offset"
        sql = f"INSERT INTO events ({columns}, bucket) SELECT {columns}, {BUCKET} FROM input('{structure}') FORMAT JSONEachRow"
        await self.place.clickhouse.insert_bytes(sql, b"\n".join(msgspec.json.encode(row) for row in rows), {"async_insert": 0, "insert_deduplicate": 0})
        units, minutes = {e["unit"] for e in events}, {e["minute"] for e in events}
        return Mark(TENANT, SUBJECT.name, "events", part, offset, "b", tuple(sorted(minutes)), tuple(sorted(units)), len(rows), keyed)

    @property
    def held_units(self) -> int:
        """How many units the worker holds in memory."""
        return self.windows.held_units(SUBJECT)

    async def stored(self, kind: str) -> Windows:
        """The windows as they are stored."""
        found = await self.place.windows(kind)
        return {key[1:]: figures for key, (_, figures) in found.items()}

    @asynccontextmanager
    async def running(self, windows: ExperimentWindows | None = None) -> AsyncIterator[Callable[[Iterable[Mark]], Any]]:
        """Give it marks; it returns once every window they touched is done."""
        settings = StreamSettings(refresh_min_s=0.0, refresh_duty=1.0, window_duty=1.0)
        worker = windows or self.windows
        refresher = Refresher(worker, settings, self.place.clock, SPANS)

        async def work(marks: Iterable[Mark]) -> None:
            released: list[Mark] = []
            given = list(marks)
            for mark in given:
                refresher.add(mark, lambda mark=mark: released.append(mark))  # type: ignore[misc]
            while len(released) < len(given):
                pause = await refresher.step()
                await worker.drain()
                assert pause is not None or len(released) == len(given), "marks are left and nothing is due"
            while await refresher.step() == 0.0:
                pass

        yield work


REDEFINED = Mark(TENANT, SUBJECT.name, "", 0, -1, "", (), reason="definition")
"""What says that a definition changed."""


@asynccontextmanager
async def experiment(parts: EmbeddedParts) -> AsyncIterator[Experiment]:
    """An experiment without events, in a database of its own."""
    async with telemetry(parts) as place:
        yield Experiment(place)
