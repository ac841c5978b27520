"""From the audit log to deliveries, on every database the control store runs on: nothing is lost and nothing is told twice."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from infra.runtime.errors import Conflict
from query_api.control.audit import Actor, AuditFilter, audited
from query_api.control.models import Base, WebhookDeliveryRow, WebhookEventRow
from query_api.control.store import ControlStore, Draft
from query_api.control.webhook_queue import Ended, WebhookQueue
from query_api.control.webhooks import MAX_WEBHOOKS, OLD_SECRET_US, Webhook, WebhookStore
from schemas.definition_kinds import Experiment, ExperimentStatus, encode_definition
from schemas.flag import Flag, Variation
from tests.clock import HandClock

ANNA = Actor("key_1", "laptop", "usr_anna")
VARIATIONS = (Variation("v1", "on", True), Variation("v2", "off", False))
MORNING_US = 1_767_225_600_000_000


@dataclass
class Desk:
    """The stores with a clock of their own."""

    store: ControlStore
    webhooks: WebhookStore
    clock: HandClock

    def queue(self) -> WebhookQueue:
        """As a process has it that just started."""
        return WebhookQueue(self.store.engine, self.clock)

    async def webhook(self, tenant: str = "shop", **values: Any) -> Webhook:
        fields = {"url": "https://example.com/", "description": "", "events": (), "enabled": True} | values
        self.clock.us += 1_000_000
        return (await self.webhooks.create(tenant, fields, ANNA))[0]

    async def experiment(self, status: ExperimentStatus, name: str = "checkout", tenant: str = "shop") -> None:
        """Bring an experiment into a state, with its line in the audit log."""
        record = await self.store.get("experiment", tenant, name)
        before = msgspec.json.decode(record.payload, type=Experiment) if record else None
        after = Experiment(tenant=tenant, id=name, name="Checkout", status=status)
        self.clock.us += 1_000_000
        await self.store.write([Draft("experiment", tenant, name, encode_definition(after))], [audited(ANNA, f"experiment.{status}", before, after)])

    async def flag(self, enabled: bool) -> None:
        before = Flag(tenant="shop", id="flag_1", key="new", name="New", enabled=not enabled, variations=VARIATIONS)
        after = msgspec.structs.replace(before, enabled=enabled)
        self.clock.us += 1_000_000
        await self.store.write([Draft("flag", "shop", "flag_1", encode_definition(after))], [audited(ANNA, "flag.toggled", before, after)])

    async def bodies(self) -> list[dict[str, Any]]:
        async with self.store.engine.connect() as connection:
            rows = (await connection.execute(select(WebhookEventRow.body).order_by(WebhookEventRow.at_us))).scalars().all()
        return [json.loads(body) for body in rows]

    async def deliveries(self) -> list[tuple[str, str]]:
        """Webhook and type of each."""
        query = select(WebhookDeliveryRow.webhook, WebhookEventRow.type).join(WebhookEventRow, WebhookEventRow.id == WebhookDeliveryRow.event)
        async with self.store.engine.connect() as connection:
            return sorted((row[0], row[1]) for row in (await connection.execute(query)).all())


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    clock = HandClock(MORNING_US)
    store = ControlStore(database, clock)
    await store.migrate()
    yield Desk(store, WebhookStore(store.engine, clock), clock)
    async with store.engine.begin() as connection:
        # Everything but the audit log, which refuses; the next test goes on behind it, as the stored place says.
        for table in reversed(Base.metadata.sorted_tables):
            if table.name not in ("audit_log", "webhook_progress"):
                await connection.execute(table.delete())
    await store.close()


async def test_changes_become_events_that_say_what_happened_and_who_did_it(desk: Desk) -> None:
    await desk.webhook()
    await desk.experiment("draft")
    await desk.experiment("active")
    await desk.flag(True)
    await desk.experiment("paused")
    await desk.experiment("completed")
    assert not await desk.queue().take_changes()
    started, toggled, stopped = await desk.bodies()
    assert [each["type"] for each in (started, toggled, stopped)] == ["experiment.started", "flag.toggled", "experiment.stopped"]
    by = {"key_id": "key_1", "key_name": "laptop", "user_id": "usr_anna"}
    assert started["data"] == {
        "experiment_id": "checkout", "name": "Checkout", "status": "ACTIVE", "previous_status": "DRAFT", "rolled_back": False, "changed_by": by
    }  # fmt: skip
    assert toggled["data"] == {"flag_id": "flag_1", "key": "new", "name": "New", "enabled": True, "changed_by": by}
    assert (stopped["data"]["previous_status"], stopped["data"]["status"]) == ("PAUSED", "COMPLETED")


async def test_a_process_that_died_before_it_looked_is_made_up_for_and_nothing_is_told_twice(desk: Desk) -> None:
    await desk.webhook()
    await desk.experiment("draft")
    await desk.experiment("active")
    for _ in range(3):
        await desk.queue().take_changes()
    queue = desk.queue()
    await queue.take_changes()
    await queue.take_changes()
    assert [body["type"] for body in await desk.bodies()] == ["experiment.started"]
    assert len(await desk.deliveries()) == 1


async def test_each_webhook_gets_what_it_asked_for_from_its_own_tenant(desk: Desk) -> None:
    everything = await desk.webhook()
    flags = await desk.webhook(events=("flag.toggled",))
    await desk.webhook(enabled=False)
    await desk.webhook("other")
    await desk.experiment("draft")
    await desk.experiment("active")
    await desk.flag(True)
    late = await desk.webhook()
    await desk.queue().take_changes()
    assert await desk.deliveries() == sorted([(everything.id, "experiment.started"), (everything.id, "flag.toggled"), (flags.id, "flag.toggled")])
    assert late.id not in {webhook for webhook, _ in await desk.deliveries()}


async def test_a_result_is_announced_once_for_all_time(desk: Desk) -> None:
    await desk.webhook(events=("experiment.significant",))
    place = ("shop", "checkout", "conversion", "treatment")
    assert await desk.queue().significant(*place, {"p_value": 0.01})
    assert not await desk.queue().significant(*place, {"p_value": 0.001})
    assert await desk.queue().significant("shop", "checkout", "conversion", "other", {"p_value": 0.02})
    assert [body["data"] for body in await desk.bodies()] == [{"p_value": 0.01}, {"p_value": 0.02}]
    assert place in await desk.queue().announced()


async def test_deliveries_are_due_until_they_ended_and_one_webhook_does_not_crowd_out_others(desk: Desk) -> None:
    busy, quiet = await desk.webhook(), await desk.webhook(events=("flag.toggled",))
    for enabled in (True, False, True):
        await desk.flag(enabled)
    queue = desk.queue()
    await queue.take_changes()
    due = await queue.due(100, 2, ())
    assert sorted(each.target.id for each in due) == sorted([busy.id, busy.id, quiet.id, quiet.id])
    assert len(await queue.due(1, 2, {due[0].id})) == 1
    await queue.end(due[0], Ended("delivered", None, 200, "", 5))
    await queue.end(due[1], Ended("pending", desk.clock.us + 5_000_000, 500, "the receiver answered 500", 5))
    waiting = {each.id: each.attempts for each in await desk.queue().due(100, 10, ())}
    assert not {due[0].id, due[1].id} & waiting.keys() and len(waiting) == 4
    desk.clock.us += 5_000_000
    assert {each.id: each.attempts for each in await desk.queue().due(100, 10, ())}[due[1].id] == 1


async def test_what_waits_for_a_disabled_webhook_is_kept(desk: Desk) -> None:
    webhook = await desk.webhook()
    await desk.flag(True)
    queue = desk.queue()
    await queue.take_changes()
    (due,) = await queue.due(100, 10, ())
    await queue.end(due, Ended("failed", None, 410, "gone", 5), "gone")
    found = await desk.webhooks.get("shop", webhook.id)
    assert found is not None and (found.enabled, found.disabled_reason) == (False, "gone")
    assert await desk.webhooks.retry("shop", webhook.id, due.id)
    assert await queue.due(100, 10, ()) == []
    enabled = await desk.webhooks.update("shop", webhook.id, {"enabled": True}, ANNA)
    assert enabled is not None and (enabled.enabled, enabled.disabled_reason) == (True, "")
    assert [each.id for each in await queue.due(100, 10, ())] == [due.id]


async def test_a_rotated_secret_signs_beside_the_old_one_for_a_day(desk: Desk) -> None:
    webhook, first = await desk.webhooks.create("shop", {"url": "https://example.com/", "description": "", "events": (), "enabled": True}, ANNA)
    second = await desk.webhooks.rotate("shop", webhook.id, ANNA)
    target = await desk.webhooks.target("shop", webhook.id)
    assert target is not None and target.secrets == (second, first)
    assert first not in repr(target)
    desk.clock.us += OLD_SECRET_US
    target = await desk.webhooks.target("shop", webhook.id)
    assert target is not None and target.secrets == (second,)
    assert await desk.webhooks.rotate("other", webhook.id, ANNA) is None


async def test_old_events_are_forgotten_unless_one_still_waits(desk: Desk) -> None:
    await desk.webhook()
    for enabled in (True, False):
        await desk.flag(enabled)
    queue = desk.queue()
    await queue.take_changes()
    first, second = await queue.due(100, 10, ())
    await queue.end(first, Ended("delivered", None, 200, "", 5))
    await queue.forget(desk.clock.us + 1)
    assert [each.id for each in await queue.due(100, 10, ())] == [second.id]
    assert len(await desk.bodies()) == 1


async def test_a_deleted_webhook_takes_its_log_with_it(desk: Desk) -> None:
    webhook = await desk.webhook()
    await desk.flag(True)
    await desk.queue().take_changes()
    assert not await desk.webhooks.remove("other", webhook.id, ANNA)
    assert await desk.webhooks.remove("shop", webhook.id, ANNA)
    assert await desk.deliveries() == []


async def test_the_audit_log_tells_of_webhooks_and_never_a_secret(desk: Desk) -> None:
    seen = (await desk.store.audit_log("shop", AuditFilter())).total
    webhook, secret = await desk.webhooks.create("shop", {"url": "https://example.com/", "description": "", "events": (), "enabled": True}, ANNA)
    new = await desk.webhooks.rotate("shop", webhook.id, ANNA)
    await desk.webhooks.update("shop", webhook.id, {"description": "moved"}, ANNA)
    await desk.webhooks.update("shop", webhook.id, {"description": "moved"}, ANNA)
    await desk.webhooks.remove("shop", webhook.id, ANNA)
    lines = await desk.store.audit_log("shop", AuditFilter())
    fresh = lines.records[: lines.total - seen]
    assert [line.entry.action for line in fresh] == ["webhook.deleted", "webhook.updated", "webhook.secret_rotated", "webhook.created"]
    text = repr(fresh)
    assert secret not in text and str(new) not in text


async def test_there_is_a_limit(desk: Desk) -> None:
    for _ in range(MAX_WEBHOOKS):
        await desk.webhook()
    with pytest.raises(Conflict):
        await desk.webhook()
    assert await desk.webhook("other")
