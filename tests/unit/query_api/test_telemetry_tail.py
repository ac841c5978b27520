"""What live clients hear of telemetry: everything once, from when they listen, whatever fails in between."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from infra.runtime.errors import QueryLimit, Unavailable
from query_api.freshness import Freshness
from query_api.live.telemetry_tail import AT_ONCE, TelemetryTail
from query_api.readers.ledger import LedgerReader
from query_api.readers.runs import Run, RunReader
from query_api.readers.telemetry import TelemetryEvent
from query_api.readers.telemetry_tail import TelemetryTailReader
from query_api.readers.windows import WindowReader
from tests.unit.query_api.parts import HandClock, ScriptedRows

Row = dict[str, Any]


class Stored:
    """Blocks of telemetry as the tables have them."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[int, int], list[Row]] = {}
        self.away = False
        self.too_large = ""
        """A tenant whose events no read may take."""

    def store(self, part: int, offset: int, *ids: str, tenant: str = "default", experiment: str = "", run: str = "") -> None:
        empty = {"event_name": "a.b", "time_us": 0, "measurements": "", "metadata": "", "extra": ""}
        self.blocks[part, offset] = [{**empty, "tenant": tenant, "event_id": id, "experiment": experiment, "run_id": run} for id in ids]

    def answer(self, sql: str, params: Mapping[str, Any]) -> Sequence[Row]:
        if self.away:
            raise Unavailable("gone")
        if "FROM ledger" in sql:
            newest = {part: max(offset for of, offset in self.blocks if of == part) for part, _ in self.blocks}
            return [{"topic": "telemetry", "partition": part, "high": high, "log": "g", "newest_us": 0} for part, high in newest.items()]
        ranges = [(params[f"part_{n}"], params.get(f"low_{n}", -1), params[f"high_{n}"]) for n in range(sum(name.startswith("part_") for name in params))]
        rows = [
            row
            for (part, offset), block in sorted(self.blocks.items())
            for row in block
            if any(part == of and low < offset <= high for of, low, high in ranges) and row["tenant"] in params["tenants"]
        ]
        if "count() AS events" not in sql and any(row["tenant"] == self.too_large for row in rows):
            raise QueryLimit("too much")
        if "count() AS events" in sql:
            return [{"tenant": tenant, "events": sum(row["tenant"] == tenant for row in rows)} for tenant in {row["tenant"] for row in rows}]
        return [row for row in rows if row["run_id"]] if "DISTINCT" in sql else rows[: params["limit"]]


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self, tenant: str = "default", experiment: str | None = None, *, runs: bool = False) -> None:
        self.tenant, self.experiment = tenant, experiment
        self.types: frozenset[str] | None = frozenset() if runs else None
        self.wants_runs = runs
        self.ids: list[str] = []
        self.skipped = 0
        self.told: list[str] = []

    def events(self, events: Sequence[TelemetryEvent], skipped: int) -> None:
        self.ids += [event.event_id for event in events]
        self.skipped += skipped

    def runs(self, runs: Sequence[Run]) -> None:
        self.told += [run.run_id for run in runs]


class Runs(RunReader):
    """Runs that are all of one experiment."""

    def __init__(self) -> None:
        self.away = False

    async def runs(self, tenant: str, run_ids: Sequence[str]) -> dict[str, Run]:
        if self.away:
            raise Unavailable("gone")
        return {id: Run(id, "exp", 0, "running", None, None, None, None, None, {}) for id in run_ids}


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def tail(stored: Stored, runs: Runs) -> TelemetryTail:
    rows, clock = ScriptedRows(stored.answer), HandClock()
    return TelemetryTail(TelemetryTailReader(rows), runs, Freshness(LedgerReader(rows), WindowReader(rows), clock), clock)


async def test_everything_from_the_join_on_once(stored: Stored, tail: TelemetryTail) -> None:
    stored.store(0, 5, "before")
    heard = Heard()
    await tail.listen(heard)
    stored.store(0, 6, "a")
    stored.store(1, 0, "first of its partition")
    await tail.look()
    await tail.look()
    stored.store(0, 7, "a", "b")
    await tail.look()
    assert heard.ids == ["a", "first of its partition", "b"]


async def test_a_look_that_failed_loses_nothing(stored: Stored, tail: TelemetryTail) -> None:
    heard = Heard()
    await tail.listen(heard)
    stored.store(0, 0, "a")
    stored.away = True
    with pytest.raises(Unavailable):
        await tail.look()
    stored.away = False
    await tail.look()
    assert heard.ids == ["a"]


async def test_each_hears_its_own(stored: Stored, tail: TelemetryTail) -> None:
    mine, other, foreign = Heard(experiment="exp"), Heard(experiment="another"), Heard("foreign")
    for listener in (mine, other, foreign):
        await tail.listen(listener)
    stored.store(0, 0, "a", experiment="exp")
    stored.store(0, 1, "b", experiment="exp", tenant="foreign")
    tail.leave(other)
    stored.store(0, 2, "c", experiment="another")
    await tail.look()
    assert (mine.ids, other.ids, foreign.ids) == (["a"], [], ["b"])


async def test_who_cannot_get_everything_is_told_how_much_is_missing(stored: Stored, tail: TelemetryTail) -> None:
    heard = Heard()
    await tail.listen(heard)
    stored.store(0, 0, *(str(number) for number in range(AT_ONCE + 7)))
    await tail.look()
    assert len(heard.ids) == AT_ONCE and heard.skipped == 7
    stored.store(0, 1, "next")
    await tail.look()
    assert heard.ids[-1] == "next" and heard.skipped == 7


async def test_a_log_that_was_made_anew_begins_at_nought(stored: Stored, tail: TelemetryTail) -> None:
    stored.store(0, 9, "old")
    heard = Heard()
    await tail.listen(heard)
    stored.blocks.clear()
    stored.store(0, 0, "new")
    # The mark of the old log goes with the log, not with its number.
    tail._freshness._marks.clear()
    await tail.look()
    assert heard.ids == ["new"]


async def test_runs_are_told_of_again_when_they_could_not_be_read(stored: Stored, runs: Runs, tail: TelemetryTail) -> None:
    heard, elsewhere = Heard(experiment="exp", runs=True), Heard(experiment="another", runs=True)
    await tail.listen(heard)
    await tail.listen(elsewhere)
    stored.store(0, 0, "a", experiment="exp", run="r1")
    stored.store(0, 1, "b", experiment="third", run="r2")
    runs.away = True
    with pytest.raises(Unavailable):
        await tail.look()
    runs.away = False
    await tail.look()
    await tail.look()
    assert heard.told == ["r1"] and elsewhere.told == [] and heard.ids == []


async def test_one_tenant_does_not_take_what_is_told_to_another(stored: Stored, tail: TelemetryTail) -> None:
    loud, quiet = Heard("loud"), Heard("quiet")
    await tail.listen(loud)
    await tail.listen(quiet)
    stored.store(0, 0, *(str(number) for number in range(AT_ONCE + 7)), tenant="loud")
    stored.store(0, 1, "a", "b", tenant="quiet")
    await tail.look()
    assert quiet.ids == ["a", "b"] and quiet.skipped == 0
    assert len(loud.ids) == AT_ONCE // 2 and loud.skipped == AT_ONCE + 7 - len(loud.ids)


async def test_what_is_too_much_for_a_read_is_passed_over_and_said(stored: Stored, tail: TelemetryTail) -> None:
    large, other, runs = Heard("large"), Heard("other"), Heard("large", experiment="exp", runs=True)
    for listener in (large, other, runs):
        await tail.listen(listener)
    stored.too_large = "large"
    stored.store(0, 0, "a", "b", tenant="large", experiment="exp", run="r")
    stored.store(0, 1, "c", tenant="other")
    await tail.look()
    assert (large.ids, large.skipped, other.ids, other.skipped) == ([], 2, ["c"], 0) and runs.told == []
    stored.too_large = ""
    stored.store(0, 2, "d", tenant="large", experiment="exp", run="r")
    await tail.look()
    assert (large.ids, large.skipped, runs.told) == (["d"], 2, ["r"])


async def test_two_events_of_one_id_and_two_names_are_two(stored: Stored, tail: TelemetryTail) -> None:
    heard = Heard()
    await tail.listen(heard)
    stored.store(0, 0, "a", "a")
    stored.blocks[0, 0][1]["event_name"] = "a.c"
    await tail.look()
    assert heard.ids == ["a", "a"]
