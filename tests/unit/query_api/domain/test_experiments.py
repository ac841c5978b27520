"""Experiments over a control store of their own: what is stored, what the audit log says, and who wins when two change the same."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import Conflict, NotFound, Unavailable, ValidationFailed
from query_api.control.audit import Actor, AuditFilter
from query_api.control.store import ControlStore
from query_api.domain.exclusion_groups import create_group, get_group, update_group, with_slot
from query_api.domain.experiments import Experiments
from query_api.domain.pinning import Pinning
from query_api.domain.stored import StoredDefinitions
from query_api.readers.exposed_units import ExposedUnits
from schemas.definition_kinds import Metric, encode_definition
from schemas.definitions import Definitions
from schemas.exclusion import ExclusionGroup, Slot
from schemas.targeting import Rule
from tests.unit.query_api.parts import ScriptedRows

ACTOR = Actor("k1", "ci", "usr_1")
ARMS = [{"name": "control", "weight": 50}, {"name": "treatment", "weight": 50}]
BOUGHT = {"name": "bought", "event_type": "buy"}


class Room:
    """Experiments of one tenant with everything behind them."""

    def __init__(self, path: Path) -> None:
        self.store = ControlStore(f"sqlite+aiosqlite:///{path}/control.sqlite3")
        self.known = Definitions()
        self.woken = 0
        self.stored = StoredDefinitions(self.store, self.known, SystemClock(), self.wake)
        self.rows = ScriptedRows(lambda sql, params: [{"units": 0}] if "uniq" in sql else [])
        self.pinning = Pinning(self.stored, ExposedUnits(self.rows), SystemClock())
        self.experiments = Experiments(self.stored, "t", ACTOR, self.pinning)

    def wake(self) -> None:
        self.woken += 1

    async def actions(self, name: str | None = None) -> list[str]:
        """What the log says was done, oldest first."""
        log = await self.store.audit_log("t", AuditFilter(id=name))
        return [line.entry.action for line in reversed(log.records)]

    async def follow(self) -> None:
        """What a follower of the control topic would do."""
        for waiting in await self.store.unpublished(1_000):
            self.known.apply(waiting.record)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path)
    await room.store.migrate()
    yield room
    await room.store.close()


async def test_an_experiment_and_its_metrics_are_one_transaction(room: Room) -> None:
    made = await room.experiments.create({"name": "e", "variants": ARMS, "metrics": [BOUGHT]})
    experiment, (metric,) = made.experiment, made.metrics
    assert experiment.id.startswith("exp_") and metric.id.startswith("met_") and all(arm.id.startswith("var_") for arm in experiment.variants)
    assert experiment.metrics == (metric.id,) and (experiment.status, experiment.control) == ("draft", "control")
    assert experiment.created_at == experiment.updated_at and room.woken == 1
    waiting = [(each.record.kind, each.record.id) for each in await room.store.unpublished()]
    assert waiting == [("experiment", experiment.id), ("metric", metric.id)]
    assert await room.actions() == ["experiment.created", "metric.created"]
    assert (await room.experiments.get(experiment.id)).experiment == experiment


async def test_a_refused_experiment_leaves_nothing(room: Room) -> None:
    with pytest.raises(ValidationFailed, match="sum to 90"):
        await room.experiments.create({"name": "e", "variants": [{"name": "a", "weight": 50}, {"name": "b", "weight": 40}], "metrics": [BOUGHT]})
    assert await room.store.unpublished() == [] and await room.actions() == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"variants": [{"name": "a", "weight": 100}]}, "variants: one alone"),
        ({"variants": [{"name": "a", "weight": 50}, {"name": "a", "weight": 50}]}, "variants: two have the same name"),
        ({"variants": [{"name": "a", "weight": 50, "control": True}, {"name": "b", "weight": 50, "control": True}]}, "variants: more than one"),
        ({"variants": [{"name": "a", "weight": 50}, {"name": "b"}]}, r"variants\[1\]\.allocation: is missing"),
        ({"variants": [{"name": "a", "weight": 33.333}, {"name": "b", "weight": 66.666}]}, "sum to 99.999"),
        ({"variants": ARMS, "overrides": {"u": "third"}}, "overrides: 'u'"),
        ({"metrics": [{"name": "m"}]}, r"metrics\[0\]\.event_name: a new metric needs it"),
        ({"metrics": [{"event_type": "m"}]}, r"metrics\[0\]\.name: a new metric needs it"),
        ({"metrics": [{"id": "met_none"}]}, r"metrics\[0\]\.id: there is no metric 'met_none'"),
        ({"metrics": [BOUGHT, BOUGHT]}, r"metrics\[1\]\.name: the metric 'bought' stands twice"),
        ({"metrics": [BOUGHT | {"type": "ratio"}]}, r"metrics\[0\]\.denominator_event_name: a ratio needs it"),
        ({"metrics": [BOUGHT | {"quantile": 2}]}, r"metrics\[0\]\.quantile"),
        ({"starts_at": datetime(2026, 1, 2, tzinfo=UTC), "ends_at": datetime(2026, 1, 1, tzinfo=UTC)}, "end_date: must be after"),
        ({"targeting": Rule("regex", "agent", "(")}, r"targeting\.value"),
        ({"targeting": Rule("and", rules=(Rule("in", "country", "US"),))}, r"targeting\.rules\[0\]\.value"),
        ({"targeting": Rule("equals", "n", 2**70)}, "64 bits"),
        ({"group": "grp_none", "group_share": 10}, "group: there is no exclusion group"),
        ({"group_share": 10}, "group_share: is a share of an exclusion group"),
        ({"status": "paused"}, "status: an experiment begins as DRAFT or ACTIVE"),
    ],
)
async def test_wrong_fields_are_named(room: Room, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationFailed, match=problem) as refused:
        await room.experiments.create({"name": "e", **fields})
    assert refused.value.details["fields"][0]["field"] and await room.actions() == []


async def test_shares_and_control_may_be_left_out(room: Room) -> None:
    made = await room.experiments.create({"name": "e", "variants": [{"name": "a"}, {"name": "b"}, {"name": "control"}]})
    assert sum(arm.weight for arm in made.experiment.variants) == pytest.approx(100) and made.experiment.control == "control"
    made = await room.experiments.create({"name": "e", "variants": [{"name": "z"}, {"name": "b"}]})
    assert made.experiment.control == "z"


async def test_an_update_keeps_what_it_does_not_say(room: Room) -> None:
    metrics = [BOUGHT | {"description": "d", "guardrail": {"action": "pause", "threshold": 0.02}}, {"name": "spent", "event_type": "buy", "type": "mean"}]
    made = await room.experiments.create({"name": "e", "hypothesis": "h", "variants": ARMS, "metrics": metrics})
    name, (bought, spent) = made.experiment.id, made.metrics
    assert bought.use == "guardrail" and made.experiment.guardrails[0].metric == bought.id
    changed = await room.experiments.update(
        name, {"description": "new", "metrics": [{"name": "bought", "event_type": "pay"}, {"name": "left", "event_type": "leave"}]}
    )
    assert changed.experiment.hypothesis == "h" and changed.experiment.variants == made.experiment.variants
    again, left = changed.metrics
    assert (again.id, again.event_type, again.description) == (bought.id, "pay", "d") and changed.experiment.guardrails == made.experiment.guardrails
    assert await room.store.get("metric", "t", spent.id) is None and await room.store.get("metric", "t", left.id) is not None
    assert (await room.actions())[3:] == ["experiment.updated", "metric.updated", "metric.created", "metric.deleted"]
    renamed = await room.experiments.update(name, {"metrics": [{"id": bought.id, "name": "paid", "guardrail": None}]})
    assert renamed.metrics[0].name == "paid" and renamed.metrics[0].event_type == "pay" and renamed.experiment.guardrails == ()
    (line,) = (await room.store.audit_log("t", AuditFilter(id=name, action="experiment.updated"), limit=1)).records
    assert set(line.entry.after) == {"metrics", "guardrails"} and line.entry.actor == ACTOR


async def test_a_variant_keeps_its_id_over_renaming_and_new_shares(room: Room) -> None:
    made = await room.experiments.create({"name": "e", "variants": [ARMS[0] | {"description": "old"}, ARMS[1]]})
    first, second = made.experiment.variants
    wanted = [{"name": "control", "weight": 20}, {"id": second.id, "name": "new design", "weight": 30}, {"name": "third", "weight": 50}]
    arms = (await room.experiments.update(made.experiment.id, {"variants": wanted})).experiment.variants
    assert [arm.id for arm in arms[:2]] == [first.id, second.id] and [arm.weight for arm in arms] == [20, 30, 50]
    assert (arms[0].description, arms[0].control) == ("old", True) and arms[2].id not in (first.id, second.id)
    moved_flag = await room.experiments.update(
        made.experiment.id, {"variants": [{"name": "control"}, {"name": "new design", "control": True}, {"name": "third"}]}
    )
    assert [arm.control for arm in moved_flag.experiment.variants] == [False, True, False]
    assert [arm.weight for arm in moved_flag.experiment.variants] == [20, 30, 50]


async def test_shared_metrics_stay_as_they_are(room: Room) -> None:
    await room.store.put("metric", "t", "house", encode_definition(Metric(tenant="t", id="house", name="House", event_type="buy")))
    one = await room.experiments.create({"name": "one", "variants": ARMS, "metrics": [{"id": "house"}, BOUGHT]})
    bought = one.metrics[1]
    two = await room.experiments.create({"name": "two", "variants": ARMS, "metrics": [{"id": "house"}, {"id": bought.id}]})
    assert [metric.id for metric in two.metrics] == ["house", bought.id]
    with pytest.raises(Conflict, match=f"measured by experiment '{one.experiment.id}'"):
        await room.experiments.update(two.experiment.id, {"metrics": [{"id": "house", "event_type": "pay"}]})
    await room.experiments.update(one.experiment.id, {"metrics": []})
    assert await room.store.get("metric", "t", bought.id) is not None
    await room.experiments.update(two.experiment.id, {"metrics": []})
    assert await room.store.get("metric", "t", bought.id) is None and await room.store.get("metric", "t", "house") is not None


async def test_nothing_is_written_or_logged_when_nothing_changes(room: Room) -> None:
    made = await room.experiments.create({"name": "e", "variants": ARMS, "metrics": [BOUGHT]})
    same = await room.experiments.update(made.experiment.id, {"name": "e", "variants": ARMS, "metrics": [BOUGHT], "status": "draft"})
    assert same == made and len(await room.actions()) == 2
    await room.experiments.move(made.experiment.id, "start")
    await room.experiments.roll_back(made.experiment.id)
    again = await room.experiments.roll_back(made.experiment.id)
    assert again.experiment.rolled_back and (await room.actions(made.experiment.id))[1:] == ["experiment.started", "experiment.rolled_back"]


async def test_the_log_tells_the_whole_life(room: Room) -> None:
    name = (await room.experiments.create({"name": "e", "variants": ARMS, "status": "active"})).experiment.id
    await room.experiments.move(name, "pause", evidence={"p": 0.001})
    await room.experiments.update(name, {"status": "active", "traffic": 100.0, "name": "renamed"})
    await room.experiments.roll_back(name, evidence={"metric": "latency"})
    await room.experiments.restore(name)
    await room.experiments.move(name, "stop")
    await room.experiments.update(name, {"status": "archived"})
    assert await room.actions(name) == [
        f"experiment.{what}" for what in ("created", "started", "paused", "updated", "resumed", "rolled_back", "restored", "stopped", "archived")
    ]
    lines = {line.entry.action: line.entry for line in (await room.store.audit_log("t", AuditFilter(id=name))).records}
    assert lines["experiment.rolled_back"].evidence == {"metric": "latency"} and lines["experiment.paused"].evidence == {"p": 0.001}
    assert (lines["experiment.resumed"].before, lines["experiment.resumed"].after) == ({"status": "paused"}, {"status": "active"})
    assert lines["experiment.updated"].after == {"name": "renamed"}


async def test_a_new_active_experiment_keeps_a_start_in_the_past(room: Room) -> None:
    past = datetime(2023, 10, 16, tzinfo=UTC)
    for starts_at, expected in ((past, True), (datetime.now(UTC) + timedelta(days=1), False), (None, False)):
        made = await room.experiments.create({"name": "e", "variants": ARMS, "status": "active", "starts_at": starts_at, "ends_at": None})
        assert (made.experiment.starts_at == past) == expected and made.experiment.starts_at is not None and made.experiment.starts_at <= datetime.now(UTC)


async def test_a_change_from_an_old_version_is_a_conflict(room: Room) -> None:
    made = await room.experiments.create({"name": "e", "variants": ARMS})
    name = made.experiment.id
    assert made.stored.version == 1 and (await room.experiments.update(name, {"name": "f"}, 1)).stored.version == 2
    with pytest.raises(Conflict, match="at version 2, not 1"):
        await room.experiments.update(name, {"name": "g"}, 1)
    with pytest.raises(Conflict, match="at version 2, not 1"):
        await room.experiments.move(name, "start", 1)
    assert (await room.experiments.get(name)).experiment.status == "draft"


async def test_changes_at_the_same_time_are_all_made(room: Room) -> None:
    name = (await room.experiments.create({"name": "e", "variants": ARMS})).experiment.id
    await asyncio.gather(
        room.experiments.update(name, {"description": "d"}),
        room.experiments.update(name, {"hypothesis": "h"}),
        room.experiments.update(name, {"traffic": 10.0}),
    )
    experiment = (await room.experiments.get(name)).experiment
    assert (experiment.description, experiment.hypothesis, experiment.traffic) == ("d", "h", 10.0)


async def test_lists_are_filtered_and_sorted(room: Room) -> None:
    for name in ("b", "C", "a"):
        await room.experiments.create({"name": name, "variants": ARMS, "status": "active" if name == "a" else "draft"})

    async def names(*wanted: Any) -> list[str]:
        return [each.definition.name for each in await room.experiments.found(*wanted)]

    assert await names(None, "created_at", None) == ["a", "C", "b"] and await names(None, "created_at", "asc") == ["b", "C", "a"]
    assert await names(None, "name", None) == ["a", "b", "C"] and await names(None, "name", "desc") == ["C", "b", "a"]
    assert (await names(None, "status", "asc"))[0] == "a" and await names("draft", "name", "asc") == ["b", "C"]


async def test_reads_go_on_without_the_store_and_changes_say_so(room: Room) -> None:
    made = await room.experiments.create({"name": "e", "variants": ARMS, "metrics": [BOUGHT], "status": "active"})
    await room.follow()
    away = StoredDefinitions(ControlStore("postgresql+asyncpg://nobody@127.0.0.1:1/nothing"), room.known, SystemClock(), room.wake)
    experiments = Experiments(away, "t", ACTOR, room.pinning)
    found = await experiments.get(made.experiment.id)
    assert (found.experiment, found.metrics, found.stored.version) == (made.experiment, made.metrics, None)
    assert [each.definition for each in await experiments.found("active", "name", None)] == [made.experiment]
    with pytest.raises(Unavailable):
        await experiments.move(made.experiment.id, "stop")
    with pytest.raises(NotFound):
        await experiments.get("exp_none")


async def test_tenants_do_not_see_each_other(room: Room) -> None:
    made = await room.experiments.create({"name": "e", "variants": ARMS})
    other = Experiments(room.stored, "other", ACTOR, room.pinning)
    assert await other.found(None, "name", None) == []
    with pytest.raises(NotFound):
        await other.update(made.experiment.id, {"name": "mine"})


async def test_a_group_gives_slots_and_moves_nobody(room: Room) -> None:
    group = (await create_group(room.stored, "t", ACTOR, {"name": "checkout", "holdout": 10.0})).definition
    first = await room.experiments.create({"name": "a", "variants": ARMS, "group": group.id, "group_share": 50.0, "status": "active"})
    second = await room.experiments.create({"name": "b", "variants": ARMS, "group": group.id, "group_share": 40.0})
    assert first.group_share == 50 and (await room.experiments.get(second.experiment.id)).group_share == 40
    with pytest.raises(Conflict, match="has 0 % left"):
        await room.experiments.create({"name": "c", "variants": ARMS, "group": group.id, "group_share": 20.0})
    for fields in ({"group": ""}, {"group_share": 10.0}):
        with pytest.raises(Conflict, match="units would move"):
            await room.experiments.update(second.experiment.id, fields)
    with pytest.raises(Conflict, match="holdout"):
        await update_group(room.stored, "t", ACTOR, group.id, {"holdout": 5.0}, None)
    assert (await update_group(room.stored, "t", ACTOR, group.id, {"name": "cart"}, None)).definition.name == "cart"
    await room.experiments.move(first.experiment.id, "stop")
    third = await room.experiments.create({"name": "c", "variants": ARMS, "group": group.id, "group_share": 20.0})
    slots = (await get_group(room.stored, "t", group.id)).definition.slots
    assert [(slot.experiment, slot.share) for slot in slots] == [
        (third.experiment.id, 20),
        (first.experiment.id, 30),
        (second.experiment.id, 40),
    ]


def test_a_share_that_fits_nowhere_says_how_much_is_left() -> None:
    group = ExclusionGroup("t", "g", slots=(Slot("a", 60.0), Slot("b", 30.0)))
    assert with_slot(group, "c", 10.0, ()).slots[-1] == Slot("c", 10.0)
    assert with_slot(group, "c", 60.0, ("a",)).slots == (Slot("c", 60.0), Slot("b", 30.0))
    with pytest.raises(Conflict, match="has 10 % left") as refused:
        with_slot(group, "c", 40.0, ("b",))
    assert refused.value.details == {"left": 10.0}
