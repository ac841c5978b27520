"""What telemetry of awkward programs comes to in the tables of runs, on a real engine: ids of any kind, coarse clocks, large settings."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import Settings
from query_api.readers.rows import ClickHouseRows
from query_api.readers.runs import RunFilter, RunReader
from query_api.readers.telemetry import Place, TelemetryFilter, TelemetryReader
from schemas.tables.run_events import RUN_EVENTS
from schemas.tables.runs import RUN_METRICS, RUNS
from schemas.tables.telemetry import TELEMETRY
from streams.rows import insert_rows
from tests.contract.clickhouse import Server

AT = 1_767_225_600
"""2026-01-01, in seconds."""
TABLES = (TELEMETRY, RUNS, RUN_METRICS, RUN_EVENTS)
AWKWARD = ("team/run 1", "a'b\\c`\"%_", "\U0001f680" * 512, "tab\tand\x00nul", "{run:String}")
"""Ids of runs that are texts."""


def _row(id: str, run: Any, name: str = "crucible_train.epoch.stop", at: int = AT, measurements: Any = None, **metadata: Any) -> dict[str, Any]:
    return {
        "tenant": "t", "event_name": name, "experiment": "", "event_id": id, "keyed": 1, "time": at, "received": AT, "quarantined": 0,
        "measurements": json.dumps(measurements or {}), "metadata": json.dumps({"run_id": run, **metadata}), "extra": "",
    }  # fmt: skip


@pytest.fixture
async def rows(server: Server, writer: ClickHouse) -> AsyncIterator[ClickHouseRows]:
    for table in TABLES:
        for sql in table.create(100, 36_500):
            await writer.command(sql)
    events = [_row(f"text {number}", run, measurements={"loss": number}) for number, run in enumerate(AWKWARD)]
    events += [_row(f"number {number}", run, measurements={"loss": 1}) for number, run in enumerate((7, 2**63, -3))]
    events += [_row(f"none {number}", run) for number, run in enumerate(("x" * 513, 1.5, True, None, ["a"], ""))]
    # All of one second, in an order that is none.
    events += [_row("stopped", "coarse", "a.training.exception"), _row("begun", "coarse", "a.training.start"), _row("queued", "coarse", "a.run.queued")]
    events += [_row("small", "set", hyperparameters={"lr": 1}), _row("large", "set", at=AT + 1, hyperparameters={"lr": 2, "rest": "x" * 20_000})]
    for number in range(0, len(events), 2):
        await insert_rows(writer, "telemetry", events[number : number + 2], token=f"runs {number}")
    reader = ClickHouseRows(Settings().clickhouse.model_copy(update={"url": server.url, "reader_user": server.reader, "database": "suite"}))
    yield reader
    await reader.close()
    for name in ("runs", "run_metrics", "run_events"):
        await writer.command(f"DROP VIEW IF EXISTS {name}_view")
    for table in reversed(TABLES):
        await writer.command(f"DROP TABLE {table.name}")


async def test_every_reader_has_one_rule_for_the_run_of_an_event(rows: ClickHouseRows) -> None:
    runs, telemetry = RunReader(rows), TelemetryReader(rows, "t")
    places, total = await runs.places("t", RunFilter(), limit=100), await runs.total("t", RunFilter())
    ids = {*AWKWARD, "7", str(2**63), "-3", "coarse", "set"}
    assert {place.run_id for place in places} == ids and total == len(ids)
    found = await runs.runs("t", [*ids])
    assert {id: len(found[id].metrics) for id in ids} == {id: int(id not in ("coarse", "set")) for id in ids}
    for id in ids - {"coarse", "set"}:
        assert len(await telemetry.newest(TelemetryFilter(run_id=id), limit=10)) == 1, id
    assert await telemetry.newest(TelemetryFilter(run_id="x" * 513), limit=10) == []
    # Each page ends where the next one begins, whatever is in the ids.
    walked, after = [], None
    while part := await runs.places("t", RunFilter(), limit=1, after=after):
        walked.append(part[0].run_id)
        (after,) = part
    assert len(walked) == len(ids) and set(walked) == ids


async def test_of_one_instant_the_end_of_a_run_counts(rows: ClickHouseRows) -> None:
    found = (await RunReader(rows).runs("t", ["coarse"]))["coarse"]
    assert (found.status, found.ended_us) == ("failed", AT * 1_000_000)


async def test_large_hyperparameters_are_left_out(rows: ClickHouseRows) -> None:
    assert (await RunReader(rows).runs("t", ["set"]))["set"].hyperparameters == {"lr": 1}


async def test_a_place_of_any_time_begins_a_page(rows: ClickHouseRows) -> None:
    telemetry = TelemetryReader(rows, "t")
    everything = await telemetry.newest(TelemetryFilter(), limit=100)
    for time_us, left in ((2**62, len(everything)), (-(2**62), 0)):
        assert len(await telemetry.newest(TelemetryFilter(), limit=100, behind=Place(time_us, "'", "\\"))) == left
