"""A change of weights pins the units that were exposed, all or nothing, and again for those exposed meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import Conflict, Unavailable
from query_api.control.audit import Actor, AuditEntry, AuditFilter
from query_api.control.store import ControlStore
from query_api.domain import pinning as module
from query_api.domain.definitions import apply_documents
from query_api.domain.experiments import Experiments
from query_api.domain.pinning import Pinning
from query_api.domain.stored import StoredDefinitions
from query_api.readers.exposed_units import ExposedUnits
from schemas.assignment import assigner
from schemas.definition_kinds import Tenant, encode_definition
from schemas.definitions import Definitions
from schemas.pins import PinnedUnits
from schemas.tables.events import BUCKETS
from tests.support import eventually

USERS = [f"user-{n}" for n in range(300)]
OTHERS = [f"late-{n}" for n in range(100)]


def arms(first: float) -> dict[str, Any]:
    """Two variants, the first with that share."""
    return {"variants": [{"name": "control", "weight": first}, {"name": "treatment", "weight": 100 - first}]}


class Exposures:
    """ClickHouse, as far as the reader of exposures sees it."""

    def __init__(self) -> None:
        self.shown: dict[str, dict[str, str]] = {}
        self.asked = 0
        self.away = False

    async def query(self, sql: str, params: Mapping[str, Any] = {}) -> Sequence[Mapping[str, Any]]:
        self.asked += 1
        if self.away:
            raise Unavailable("ClickHouse cannot be reached; try again")
        shown = self.shown.get(params["experiment"], {}) if params["tenant"] == "t" else {}
        if "uniq" in sql:
            # More than there are, so that several pages are read.
            return [{"units": 60_000}]
        units = [(unit, name) for place, (unit, name) in enumerate(shown.items()) if params["low"] <= place * 20 % BUCKETS < params["high"]]
        return [{"unit": unit, "shown": name} for unit, name in units]

    async def table(self, sql: str, params: Mapping[str, Any] = {}) -> Any:
        raise AssertionError("exposures are read as rows")


class Room:
    """Experiments of a tenant, and ingest as it follows the control topic."""

    def __init__(self, path: Path) -> None:
        self.store = ControlStore(f"sqlite+aiosqlite:///{path}/control.sqlite3")
        self.known = Definitions()
        self.events = Exposures()
        self.stored = StoredDefinitions(self.store, self.known, SystemClock(), lambda: None)
        self.pinning = Pinning(self.stored, ExposedUnits(self.events), SystemClock(), limit=1_000)
        self.experiments = Experiments(self.stored, "t", Actor("k1"), self.pinning)

    async def started(self, first: float = 50, units: Sequence[str] = USERS) -> str:
        """A running experiment that these units were exposed in."""
        name = (await self.experiments.create({"name": "e", **arms(first), "status": "active"})).experiment.id
        await self.expose(name, units)
        return name

    async def expose(self, name: str, units: Sequence[str]) -> dict[str, str]:
        """Assigns units as ingest would now."""
        await self.follow()
        self.events.shown.setdefault(name, {}).update(shown := self.assigned(name, units))
        return shown

    async def follow(self) -> None:
        for waiting in await self.store.unpublished(1_000):
            self.known.apply(waiting.record)

    def assigned(self, name: str, units: Sequence[str]) -> dict[str, str]:
        experiment = self.known.experiment("t", name)
        assert experiment is not None
        one = assigner(experiment, None, PinnedUnits(self.known.pins(experiment)))
        return {unit: variant.name for unit in units if (variant := one(unit, {}).variant)}

    async def lines(self, name: str) -> list[AuditEntry]:
        return [line.entry for line in reversed((await self.store.audit_log("t", AuditFilter(id=name))).records)]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path)
    await room.store.migrate()
    yield room
    await room.store.close()


async def test_exposed_units_stay_over_one_change_after_another(room: Room) -> None:
    name = await room.started()
    shown = dict(room.events.shown[name])
    pinned = 0
    for first in (80, 20, 100 / 3, 50):
        done = await room.experiments.update(name, arms(first))
        await room.follow()
        assert room.assigned(name, list(shown)) == shown, "those who came under earlier weights, too"
        assert pinned <= done.experiment.pinned <= len(USERS) and len(room.known.pins(done.experiment)) == (1 if done.experiment.pinned else 0)
        pinned = done.experiment.pinned
        shown |= await room.expose(name, [f"{first}-{n}" for n in range(50)])
    assert pinned > 0


async def test_only_those_who_would_move_are_pinned_and_the_log_says_how_many(room: Room) -> None:
    name = await room.started()
    shown = room.events.shown[name]
    done = await room.experiments.update(name, {**arms(80), "name": "renamed"})
    experiment = done.experiment
    assert done.stored.version == 2
    would = {unit: variant.name for unit in USERS if (variant := assigner(experiment, None)(unit, {}).variant)}
    assert experiment.pinned == sum(would[unit] != shown[unit] for unit in USERS) > 0
    (*_, line) = await room.lines(name)
    assert line.action == "experiment.updated" and (line.before["pinned"], line.after["pinned"]) == (0, experiment.pinned)
    waiting = [each.record.kind for each in await room.store.unpublished()]
    assert waiting[-2:] == ["pins", "experiment"], "the pins are known before the weights that they protect from"


async def test_changes_that_move_nobody_read_nothing(room: Room) -> None:
    name = await room.started()
    other = await room.started()
    draft = (await room.experiments.create({"name": "draft", **arms(50)})).experiment.id
    await room.experiments.update(draft, arms(80))
    await room.experiments.update(name, {**arms(50), "name": "renamed"})
    assert room.events.asked == 0
    await room.experiments.update(name, arms(80))
    await room.follow()
    untouched = room.known.experiment("t", other)
    assert untouched is not None and untouched.pinned == 0 and room.assigned(other, USERS) == room.events.shown[other]


async def test_a_variant_that_the_experiment_does_not_have_is_not_pinned(room: Room) -> None:
    name = await room.started()
    room.events.shown[name] = dict.fromkeys(USERS, "gone")
    assert (await room.experiments.update(name, arms(80))).experiment.pinned == 0


async def test_too_many_are_refused_with_nothing_changed(room: Room) -> None:
    name = await room.started(units=[f"user-{n}" for n in range(6_000)])
    with pytest.raises(Conflict, match="more than 1,000 units.*start a new one"):
        await room.experiments.update(name, arms(80))
    found = await room.experiments.get(name)
    assert found.stored.version == 1 and found.experiment.pinned == 0
    assert (await room.experiments.update(name, arms(55))).experiment.pinned > 100


async def test_without_the_exposures_nothing_changes(room: Room) -> None:
    name = await room.started()
    room.events.away = True
    with pytest.raises(Unavailable):
        await room.experiments.update(name, arms(80))
    assert (await room.experiments.get(name)).stored.version == 1


@pytest.mark.parametrize("by_update", [False, True])
async def test_an_archived_experiment_has_no_pins(room: Room, by_update: bool) -> None:
    name = await room.started()
    await room.experiments.update(name, arms(80))
    stopped = await room.experiments.move(name, "stop")
    assert stopped.experiment.pinned > 0
    archived = await (room.experiments.update(name, {"status": "archived"}) if by_update else room.experiments.move(name, "archive"))
    assert archived.experiment.pinned == 0 and await room.store.every("pins") == []
    assert (await room.lines(name))[-1].after == {"status": "archived", "pinned": 0}


async def test_late_exposures_are_pinned_to_what_they_saw(room: Room) -> None:
    name = await room.started()
    late = room.assigned(name, OTHERS)
    done = await room.experiments.update(name, arms(80))
    room.events.shown[name] |= late
    added = await room.pinning.pin_late("t", name)
    await room.follow()
    assert added > 0 and room.assigned(name, OTHERS) == late
    (*_, line) = await room.lines(name)
    assert (line.action, line.actor.key_name) == ("experiment.pinned", "sticky assignments")
    assert (line.before, line.after) == ({"pinned": done.experiment.pinned}, {"pinned": done.experiment.pinned + added})
    assert await room.pinning.pin_late("t", name) == 0, "again changes nothing"
    await room.experiments.move(name, "stop")
    assert await room.pinning.pin_late("t", name) == 0 and await room.pinning.pin_late("t", "exp_none") == 0


async def test_somebody_changes_the_experiment_while_it_is_looked_at_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    name = await room.started()
    late = room.assigned(name, OTHERS)
    await room.experiments.update(name, arms(80))
    room.events.shown[name] |= late
    pinned, moves = room.pinning.pinned, ["pause", "stop"]

    async def slow(experiment: Any) -> Any:
        found = await pinned(experiment)
        await room.experiments.move(name, moves.pop(0))  # type: ignore[arg-type]
        return found

    monkeypatch.setattr(room.pinning, "pinned", slow)
    assert await room.pinning.pin_late("t", name) == 0 and moves == [], "a stopped one needs none"


async def test_the_loop_looks_again_after_a_change(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", (0.0, 0.1))
    name = await room.started()
    late = room.assigned(name, OTHERS)
    task = asyncio.create_task(room.pinning.run())
    before = (await room.experiments.update(name, arms(80))).experiment.pinned
    room.events.shown[name] |= late

    async def more() -> bool:
        return (await room.experiments.get(name)).experiment.pinned > before

    await eventually(more)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_documents_keep_pins_and_delete_them_with_the_experiment(room: Room) -> None:
    await room.store.put("tenant", "t", "t", encode_definition(Tenant("t", "t")))
    name = await room.started()
    pinned = (await room.experiments.update(name, arms(80))).experiment.pinned
    variants = [{"name": "control", "weight": 80}, {"name": "treatment", "weight": 20}]
    await apply_documents(room.store, [{"kind": "experiment", "tenant": "t", "id": name, "variants": variants}], default_tenant="t")
    assert (await room.experiments.get(name)).experiment.pinned == pinned > 0
    await apply_documents(room.store, [{"kind": "experiment", "tenant": "t", "id": name, "delete": True}], default_tenant="t")
    assert await room.store.every("pins") == []
