"""One reading serves assignments and significance, and it is exact: kept or new, over seals and partitions, under changing definitions."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from infra.runtime.clickhouse import ClickHouseError
from schemas.definition_kinds import Experiment as Definition
from schemas.definition_kinds import Metric, Variant
from schemas.windows import Grain
from streams import unit_readings, unit_totals
from streams.readers import experiments
from tests.flow.experiment_rows import REDEFINED, SUBJECT, Windows, experiment
from tests.flow.telemetry_rows import T0, TENANT
from tests.support import EmbeddedParts

pytestmark = pytest.mark.asyncio

ARMS = (Variant("control"), Variant("treatment"))
DEFINED = Definition(TENANT, SUBJECT.name, variants=ARMS)
BOUGHT = Metric(TENANT, "bought", "buy")
GRAINS = {grain.value for grain in Grain}


@pytest.fixture(scope="module")
def parts() -> Iterator[EmbeddedParts]:
    with EmbeddedParts(kafka=False) as running:
        yield running


def _shown(unit: int, minute: int = T0, **more: Any) -> dict[str, Any]:
    return {"unit": f"u{unit}", "type": "exposure", "variant": "treatment" if unit % 2 else "control", "minute": minute, **more}


def _bought(unit: int, minute: int = T0, **more: Any) -> dict[str, Any]:
    return {"unit": f"u{unit}", "type": "buy", "minute": minute, **more}


def _units(windows: Windows, item: str) -> dict[str, int]:
    """Treatment units by grain; each grain has one window here."""
    return {grain: figures["treatment_units"] for (grain, _, name), figures in windows.items() if name == item}


async def test_defining_an_experiment_without_events_asks_once_and_writes_nothing(parts: EmbeddedParts) -> None:
    async with experiment(parts) as place, place.running() as work:
        place.define(DEFINED)
        await work([REDEFINED, REDEFINED])
        assert place.asked.writes == 0 and place.asked.queries <= 2
        assert not await place.stored("assignments") and not await place.stored("significance")
        assert await place.place.clickhouse.query("SELECT * FROM watermarks") == []


@pytest.mark.parametrize("together", [True, False])
async def test_first_events_are_computed_by_the_newest_definition(parts: EmbeddedParts, together: bool) -> None:
    async with experiment(parts) as place, place.running() as work:
        await work([REDEFINED])
        mark = await place.store(*(_shown(unit) for unit in range(20)), *(_bought(unit) for unit in range(5)))
        place.define(DEFINED, BOUGHT)
        await work([mark, REDEFINED] if together else [mark])
        for windows in (await place.stored("significance"), await place.stored("assignments")):
            assert {grain for grain, _, _ in windows} == GRAINS
        assert _units(await place.stored("significance"), "bought/treatment") == dict.fromkeys(GRAINS, 10)


async def test_a_changed_definition_moves_every_grain(parts: EmbeddedParts) -> None:
    async with experiment(parts) as place, place.running() as work:
        mark = await place.store(*(_shown(unit) for unit in range(40)), *(_bought(unit, value=2.0) for unit in range(10)))
        await work([mark])
        assert _units(await place.stored("significance"), "buy/treatment") == dict.fromkeys(GRAINS, 20)
        place.define(Metric(TENANT, "spent", "buy", "mean"), DEFINED)
        await work([REDEFINED])
        windows = await place.stored("significance")
        assert _units(windows, "spent/treatment") == dict.fromkeys(GRAINS, 20)
        assert all(figures["treatment_value"] == 10.0 / 20 for (_, _, item), figures in windows.items() if item == "spent/treatment")

        at = datetime.fromtimestamp((T0 + 1) * 60, UTC)
        place.define(Definition(TENANT, SUBJECT.name, variants=ARMS, starts_at=at))
        await work([REDEFINED])
        assert all(not figures["treatment_units"] for figures in (await place.stored("significance")).values()), "all of it was before the start"
        assert all(not figures["units"] for (_, _, item), figures in (await place.stored("assignments")).items() if item == "*")


async def test_windows_follow_a_definition_that_changed_while_no_worker_ran(parts: EmbeddedParts) -> None:
    async with experiment(parts) as place:
        place.define(DEFINED, Metric(TENANT, "spent", "buy", "mean"))
        async with place.running() as work:
            await work([await place.store(*(_shown(unit) for unit in range(20)), *(_bought(unit, value=3.0) for unit in range(4)))])
        same = place.worker()
        assert await same.redefined(SUBJECT) is None, "nothing changed"
        place.define(Metric(TENANT, "spent", "buy", "mean", winsorize=0.9))
        other = place.worker()
        found = await other.redefined(SUBJECT)
        assert found is not None and found.minutes == (T0,)
        assert await place.worker().redefined(SUBJECT) is not None, "a worker that ended half way has not done it"
        async with place.running(place.worker()) as work:
            await work([REDEFINED])
        windows = await place.stored("significance")
        assert {grain for (grain, _, item), figures in windows.items() if item == "spent/treatment" and "winsorized_at" in figures} == GRAINS
        assert await place.worker().redefined(SUBJECT) is None


async def test_a_definition_and_back_again_leaves_nothing_of_the_one_between(parts: EmbeddedParts) -> None:
    async with experiment(parts) as place:
        place.define(DEFINED, Metric(TENANT, "spent", "buy", "mean"))
        async with place.running() as work:
            await work([await place.store(*(_shown(unit) for unit in range(20)), *(_bought(unit, value=3.0) for unit in range(4)))])
        windows = place.windows
        place.define(Metric(TENANT, "spent", "buy", "mean", winsorize=0.9))
        first = await windows.redefined(SUBJECT)
        place.define(Metric(TENANT, "spent", "buy", "mean"))
        second = await windows.redefined(SUBJECT)
        assert first is not None and second is not None and second.number > first.number
        await windows.caught_up(SUBJECT, {}, first.number)
        assert await windows.redefined(SUBJECT) is not None, "windows of the one between may be left"


async def test_readings_by_bucket_agree_with_new_ones(parts: EmbeddedParts) -> None:
    """Blocks of few units, late, repeated and with a second variant: after each, what was kept says what a new worker reads."""
    dice = random.Random(5)
    async with experiment(parts) as place, place.running() as work:
        place.define(DEFINED, Metric(TENANT, "spent", "buy", "mean"))
        for round_ in range(4):
            units = dice.sample(range(60), 12)
            events = [_shown(unit, T0 + dice.choice((0, 70)), sdk=dice.choice(["web", "app"])) for unit in units]
            events += [_bought(unit, T0 + dice.choice((0, 70)), value=float(dice.randrange(9)), id=f"k{dice.randrange(30)}") for unit in units[:6]]
            if round_ == 2:
                events.append({**_shown(0), "variant": "treatment"})
            await work([await place.store(*events, keyed=round_ % 2 == 1)])
            kept = {kind: await place.stored(kind) for kind in ("assignments", "significance")}
            async with place.running(place.worker()) as anew:
                await anew([REDEFINED])
            for kind, windows in kept.items():
                assert await place.stored(kind) == windows, (kind, round_)


@pytest.mark.parametrize("seed", range(3))
async def test_units_held_in_memory_agree_with_new_readings(parts: EmbeddedParts, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Large blocks, whose marks name no units, over seals, new event types and partitions; after each, what is held says what a new worker reads."""
    dice, held = random.Random(seed), 0
    async with experiment(parts) as place, place.running() as work:
        place.define(DEFINED, Metric(TENANT, "spent", "buy", "mean"))
        for round_ in range(9):
            marks = []
            for part in dice.sample((0, 1, 2), dice.choice((1, 2))):
                units = dice.sample(range(60 + 20 * round_), 40)
                events = [_shown(unit, T0 + dice.choice((0, 3)), sdk=dice.choice(["web", "app"])) for unit in units[:30]]
                events += [_bought(unit, T0 + dice.choice((5, 70)), value=float(dice.randrange(9))) for unit in units[10:]]
                if round_ > 3:
                    events += [{"unit": f"u{unit}", "type": f"kind {round_}", "minute": T0 + 80} for unit in units[:5]]
                if round_ == 5:
                    events.append({**_shown(0), "variant": "treatment"})
                if round_ == 6:
                    events.append(_bought(1_000, T0 - 3, value=1.0))  # of a unit that is exposed later, so that this event must not count
                if round_ == 7:
                    events.append(_shown(1_000, T0 + 9))
                mark = await place.store(*events, part=part)
                marks.append(msgspec.structs.replace(mark, units=None) if round_ != 4 else mark)
            monkeypatch.setattr(unit_totals, "SEAL_ROWS", 150)
            monkeypatch.setattr(unit_totals, "HELD_SEAL_ROWS", 150)
            await work(marks)
            await place.windows.drain()
            monkeypatch.undo()  # the owner alone seals
            held += place.held_units > 0
            found = {kind: await place.stored(kind) for kind in ("assignments", "significance")}
            async with place.running(place.worker()) as anew:
                await anew([REDEFINED])
            for kind, windows in found.items():
                assert await place.stored(kind) == windows, (kind, round_)
        assert held == 9
        assert (await place.place.clickhouse.query("SELECT max(sequence) AS n FROM seals"))[0]["n"] >= 2


async def test_a_seal_that_failed_beside_is_made_with_the_next_block(parts: EmbeddedParts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_totals, "HELD_SEAL_ROWS", 15)
    seal, failures = experiments.seal, [ClickHouseError(0, "away")]

    async def away_once(*given: Any, **named: Any) -> None:
        if failures:
            raise failures.pop()
        await seal(*given, **named)

    monkeypatch.setattr(experiments, "seal", away_once)
    async with experiment(parts) as place, place.running() as work:
        place.define(msgspec.structs.replace(DEFINED, metrics=("bought",)), BOUGHT)
        for round_ in range(3):
            mark = await place.store(*(_shown(unit) for unit in range(20 * round_, 20 * round_ + 20)))
            await work([msgspec.structs.replace(mark, units=None)])
            await place.windows.drain()
        assert not failures
        assert (await place.place.clickhouse.query("SELECT countIf(done) AS n FROM seals FINAL"))[0]["n"] >= 1
        async with place.running(place.worker()) as anew:
            await anew([REDEFINED])
        assert _units(await place.stored("significance"), "bought/treatment")["all"] == 30


async def test_what_came_again_counts_once_in_windows_with_an_end(parts: EmbeddedParts) -> None:
    async with experiment(parts) as place, place.running() as work:
        place.define(DEFINED, Metric(TENANT, "spent", "buy", "mean"))
        await work([await place.store(*(_shown(unit) for unit in range(20)), *(_bought(unit, value=3.0) for unit in range(4)))])
        without = await place.stored("significance")
        await work([await place.store(_bought(5, value=4.0, id="k"), keyed=True)])
        once = await place.stored("significance")
        await work([await place.store(_bought(5, value=4.0, id="k"), keyed=True)])
        assert await place.stored("significance") == once
        assert {key for key in once if once[key] != without.get(key)} >= {key for key in without if key[2] == "spent/treatment"}


async def test_events_with_a_clients_id_are_not_held(parts: EmbeddedParts) -> None:
    async with experiment(parts) as place, place.running() as work:
        place.define(DEFINED, BOUGHT)
        for round_ in range(4):
            mark = await place.store(*(_shown(unit, id=f"k{unit}") for unit in range(20)), *(_bought(unit) for unit in range(9)), keyed=round_ == 2)
            await work([msgspec.structs.replace(mark, units=None)])
            assert (place.held_units > 0) == (round_ < 2)
            assert _units(await place.stored("significance"), "bought/treatment")["all"] == 10


async def test_more_units_than_may_be_held_are_read(parts: EmbeddedParts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_readings, "MAX_HELD_UNITS", 30)
    async with experiment(parts) as place, place.running() as work:
        place.define(msgspec.structs.replace(DEFINED, metrics=("bought",)), BOUGHT)
        for round_ in range(5):
            mark = await place.store(*(_shown(unit) for unit in range(10 * round_, 10 * round_ + 10)))
            await work([msgspec.structs.replace(mark, units=None)])
            assert place.held_units == (10 * round_ + 10 if round_ < 3 else 0)
            assert _units(await place.stored("significance"), "bought/treatment")["all"] == 5 * round_ + 5


async def test_a_partition_that_comes_after_a_seal_is_counted(parts: EmbeddedParts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_totals, "SEAL_ROWS", 10)
    async with experiment(parts) as place, place.running() as work:
        place.define(msgspec.structs.replace(DEFINED, metrics=("bought",)), BOUGHT)
        for block in range(3):
            await work([await place.store(*(_shown(unit) for unit in range(20 * block, 20 * block + 20)))])
        assert await place.place.clickhouse.query("SELECT max(sequence) AS n FROM seals") == [{"n": 3}]
        late = await place.store(*(_shown(unit) for unit in range(100, 106)), part=5)
        await work([late])
        assert _units(await place.stored("significance"), "bought/treatment")["all"] == 33
        async with place.running(place.worker()) as anew:
            await anew([REDEFINED])
        assert _units(await place.stored("significance"), "bought/treatment")["all"] == 33


async def test_events_outside_the_experiments_time_are_found_whenever_they_come(parts: EmbeddedParts) -> None:
    async with experiment(parts) as place, place.running() as work:
        at = datetime.fromtimestamp(T0 * 60, UTC)
        place.define(Definition(TENANT, SUBJECT.name, variants=ARMS, metrics=("bought",), starts_at=at), BOUGHT)

        async def units() -> int:
            return _units(await place.stored("significance"), "bought/treatment")["all"]

        await work([await place.store(*(_shown(unit) for unit in range(20)))])
        await work([await place.store(*(_shown(unit) for unit in range(20, 30)), part=1)])
        assert await units() == 15
        await work([await place.store(*(_shown(unit, T0 - 5) for unit in range(40, 50)), part=1), await place.store(_shown(31), part=0)])
        assert await units() == 16
        assert {figures["units"] for (grain, _, item), figures in (await place.stored("assignments")).items() if (grain, item) == ("all", "*")} == {31}
