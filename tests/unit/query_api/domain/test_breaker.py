"""A broken guardrail acts once, with its evidence, and a result is announced once."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from sqlalchemy import select

from infra.runtime.errors import Unavailable
from query_api.control.audit import Actor, AuditFilter, AuditRecord
from query_api.control.leadership import Leadership
from query_api.control.models import WebhookEventRow
from query_api.control.webhook_queue import WebhookQueue
from query_api.control.webhooks import WebhookStore
from query_api.domain.breaker import Breaker
from query_api.readers.window_state import WindowState
from query_api.readers.windows import WindowFilter, WindowReader
from schemas.definition_kinds import Correction, Experiment, Guardrail, Metric, Variant
from schemas.guardrail import guarded
from schemas.metric_arms import MetricArms
from schemas.moments import Moments
from tests.unit.query_api.parts import AwayRows
from tests.unit.query_api.stored import Service, start

CHECKOUT = Experiment(
    tenant="default",
    id="checkout",
    name="Checkout",
    variants=(Variant("control"), Variant("treatment")),
    metrics=("conversion", "errors"),
    guardrails=(Guardrail("errors", "roll_back"),),
)
METRICS = (
    Metric(tenant="default", id="conversion", name="Conversion", event_type="purchase"),
    Metric(tenant="default", id="errors", event_type="error", direction="decrease", use="guardrail"),
)
HARM, CALM = (300, 600), (300, 305)
"""Units of 10,000 that had an error, in control and in treatment."""


class StoredWindows(WindowReader):
    """The tables hold these windows."""

    def __init__(self) -> None:
        super().__init__(AwayRows())
        self.states: list[WindowState] = []
        self.away = False

    async def newest(
        self, kind: str, tenant: str, wanted: WindowFilter, *, limit: int, after_revision: int = -1, computed_since_us: int = 0
    ) -> list[WindowState]:
        if self.away:
            raise Unavailable("ClickHouse cannot be reached; try again")
        return [state for state in self.states if (state.kind, state.tenant, state.grain) == (kind, tenant, wanted.grain)]


@dataclass
class Bench:
    """A service with a breaker on it."""

    service: Service
    windows: StoredWindows = field(default_factory=StoredWindows)
    revision: int = 0

    def __post_init__(self) -> None:
        self.breaker = self.started()

    def started(self) -> Breaker:
        """A breaker as a process has it that just started."""
        parts = self.service.parts
        engine = parts.control.engine
        return Breaker(parts.stored, parts.definitions, self.windows, WebhookQueue(engine, parts.clock), Leadership(engine, "breaker"))

    def window(self, errors: tuple[int, int] = CALM, conversions: tuple[int, int] = (1_000, 1_005), **changes: Any) -> WindowState:
        """The window of the stored experiment with these counts."""
        experiment = self.service.parts.definitions.experiment("default", "checkout")
        assert experiment is not None
        items = {}
        for metric, counts in (("errors", errors), ("conversion", conversions)):
            arms = MetricArms("proportion", {name: Moments.proportion(count, 10_000) for name, count in zip(("control", "treatment"), counts, strict=True)})
            for variant in ("control", "treatment"):
                guards = guarded(experiment, metric, variant, functools.partial(arms.compare, "control", variant))
                figures = arms.figures("control", variant, experiment.alpha)
                items[f"{metric}/{variant}"] = {"metric": metric, "variant": variant, "control": "control", **figures, **guards}
        self.revision += 1
        state = WindowState("default", "significance", "checkout", "all", 0, self.revision, 1_000_000, {}, orjson.dumps(items).decode())
        return WindowState(**({name: getattr(state, name) for name in state.__dataclass_fields__} | changes))

    async def see(self, *states: WindowState) -> None:
        """Windows arrive and are judged; what that changes is followed."""
        for state in states:
            self.breaker.publish(state)
        await self.breaker.step()
        await self.service.follow()

    async def change(self, **fields: Any) -> None:
        await self.service.define(msgspec.structs.replace(self.experiment, **fields))

    @property
    def experiment(self) -> Experiment:
        found = self.service.parts.definitions.experiment("default", "checkout")
        assert found is not None
        return found

    async def trips(self) -> list[AuditRecord]:
        """Audit entries of trips, oldest first."""
        page = await self.service.parts.control.audit_log("default", AuditFilter(action="experiment.guardrail_tripped"))
        return page.records[::-1]

    async def events(self) -> list[dict[str, Any]]:
        """Bodies of the events that were made so far."""
        await WebhookQueue(self.service.parts.control.engine, self.service.parts.clock).take_changes()
        async with self.service.parts.control.engine.connect() as connection:
            return [json.loads(body) for body in (await connection.execute(select(WebhookEventRow.body).order_by(WebhookEventRow.id))).scalars().all()]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    service = await start(tmp_path)
    await service.define(*METRICS, CHECKOUT)
    store = WebhookStore(service.parts.control.engine, service.parts.clock)
    await store.create("default", {"url": "https://example.com/", "description": "", "events": (), "enabled": True}, Actor("k"))
    yield Bench(service)
    await service.parts.control.close()


async def test_harm_rolls_back_with_the_evidence_in_the_log_and_a_webhook(bench: Bench) -> None:
    await bench.see(bench.window(CALM))
    assert not bench.experiment.rolled_back and await bench.trips() == []
    await bench.see(bench.window(HARM))
    assert bench.experiment.rolled_back and bench.experiment.status == "active"
    (trip,) = bench.experiment.trips
    assert (trip.guardrail.metric, trip.variant) == ("errors", "treatment")
    (line,) = await bench.trips()
    assert line.entry.actor.key_name == "circuit breaker" and line.entry.after["rolled_back"] is True
    evidence = line.entry.evidence
    assert evidence is not None
    assert (evidence["metric"], evidence["variants"], evidence["control_value"], evidence["treatment_value"]) == ("errors", ["treatment"], 0.03, 0.06)
    assert evidence["p_value"] < evidence["level"] == 0.05 and evidence["interval"][0] > 0 and evidence["revision"] == 2
    (event,) = await bench.events()
    assert event["type"] == "experiment.guardrail_tripped"
    assert event["data"]["rolled_back"] is True and event["data"]["evidence"]["metric"] == "errors" and event["data"]["status"] == "ACTIVE"


async def test_a_trip_happens_once_until_somebody_restores_the_experiment(bench: Bench) -> None:
    await bench.see(bench.window(HARM))
    await bench.see(bench.window(HARM), bench.window((310, 640)))
    await bench.started().judge(bench.window(HARM))
    assert len(await bench.trips()) == 1
    await bench.change(rolled_back=False)
    await bench.see(bench.window(HARM))
    assert len(await bench.trips()) == 2 and len(bench.experiment.trips) == 1
    assert bench.experiment.rolled_back


async def test_pausing_pauses_and_a_resumed_experiment_is_guarded_again(bench: Bench) -> None:
    await bench.change(guardrails=(Guardrail("errors", "pause"),))
    await bench.see(bench.window(HARM), bench.window(HARM))
    assert (bench.experiment.status, bench.experiment.rolled_back, len(await bench.trips())) == ("paused", False, 1)
    await bench.change(status="active")
    await bench.see(bench.window(HARM))
    assert (bench.experiment.status, len(await bench.trips())) == ("paused", 2)


async def test_a_notification_is_sent_once_and_again_for_a_guardrail_that_was_changed(bench: Bench) -> None:
    await bench.change(guardrails=(Guardrail("errors", "notify"),))
    for _ in range(3):
        await bench.see(bench.window(HARM))
    assert (bench.experiment.status, bench.experiment.rolled_back, len(await bench.trips())) == ("active", False, 1)
    await bench.change(guardrails=(Guardrail("errors", "notify", threshold=0.1),))
    for _ in range(2):
        await bench.see(bench.window(HARM))
    assert len(await bench.trips()) == 2


async def test_the_hardest_action_comes_first_and_each_guardrail_acts(bench: Bench) -> None:
    await bench.change(guardrails=(Guardrail("errors", "notify"), Guardrail("conversion", "roll_back")))
    await bench.see(bench.window(HARM, (1_000, 500)))
    assert [line.entry.evidence["action"] for line in await bench.trips() if line.entry.evidence] == ["roll_back", "notify"]
    assert bench.experiment.rolled_back


@pytest.mark.parametrize("status", ["draft", "paused", "completed", "archived"])
async def test_only_a_running_experiment_trips(bench: Bench, status: str) -> None:
    await bench.change(status=status)
    await bench.see(bench.window(HARM))
    assert await bench.trips() == []


async def test_other_windows_and_unknown_experiments_are_left_alone(bench: Bench) -> None:
    await bench.see(
        bench.window(HARM, grain="1h"), bench.window(HARM, kind="assignments"), bench.window(HARM, subject="unknown"), bench.window(HARM, tenant="other")
    )
    assert await bench.trips() == []


async def test_what_was_stored_while_nobody_listened_is_judged_at_the_start(bench: Bench) -> None:
    bench.windows.states = [bench.window(HARM)]
    ready = asyncio.Event()
    ready.set()

    async def reads() -> None:
        bench.breaker.connected = True
        await asyncio.Event().wait()

    async def known() -> None:
        await ready.wait()

    running = asyncio.create_task(bench.breaker.run(reads, known))
    async with asyncio.timeout(10):
        while not await bench.trips():
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_process_that_does_not_lead_reads_nothing(bench: Bench) -> None:
    leader = Leadership(bench.service.parts.control.engine, "breaker")
    assert await leader.held()
    asked = 0

    async def reads() -> None:
        nonlocal asked
        asked += 1

    async def known() -> None:
        return None

    running = asyncio.create_task(bench.breaker.run(reads, known))
    for _ in range(20):
        await asyncio.sleep(0)
    assert asked == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await leader.release()


async def test_a_gap_in_the_updates_is_made_up_from_the_tables(bench: Bench) -> None:
    bench.windows.states = [bench.window(HARM)]
    bench.breaker.lost(0)
    bench.windows.away = True
    with pytest.raises(Unavailable):
        await bench.breaker.step()
    bench.windows.away = False
    await bench.see()
    assert len(await bench.trips()) == 1


async def test_an_older_window_does_not_take_the_place_of_a_newer_one(bench: Bench) -> None:
    harm, calm = bench.window(HARM), bench.window(CALM)
    await bench.see(calm, harm)
    assert await bench.trips() == []


async def test_a_window_waits_while_the_store_is_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:

        async def away(*_: object, **__: object) -> None:
            raise Unavailable("The control store cannot be used.")

        patched.setattr(type(bench.service.parts.control), "write", away)
        bench.breaker.publish(bench.window(HARM))
        with pytest.raises(Unavailable):
            await bench.breaker.step()
    await bench.see()
    assert len(await bench.trips()) == 1


async def test_a_window_that_cannot_be_read_does_not_stop_the_others(bench: Bench) -> None:
    await bench.service.define(msgspec.structs.replace(CHECKOUT, id="other"))
    broken = bench.window(subject="other", items='{"errors/treatment": {"metric": "errors", "variant": "treatment"}}')
    await bench.see(broken, bench.window(HARM))
    assert len(await bench.trips()) == 1


async def test_somebody_elses_change_in_between_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    store = bench.service.parts.control
    plain, done = store.write, False

    async def slow(*drafts: Any) -> Any:
        nonlocal done
        if not done:
            done = True
            await bench.change(description="changed by somebody")
        return await plain(*drafts)

    monkeypatch.setattr(store, "write", slow)
    await bench.see(bench.window(HARM))
    assert bench.experiment.rolled_back and bench.experiment.description == "changed by somebody"
    assert len(await bench.trips()) == 1


async def test_an_experiment_deleted_in_between_trips_nothing(bench: Bench) -> None:
    await bench.service.parts.control.delete("experiment", "default", "checkout")
    await bench.see(bench.window(HARM))
    assert await bench.trips() == []


async def test_a_significant_goal_is_announced_once_also_by_the_next_process(bench: Bench) -> None:
    await bench.see(bench.window(conversions=(1_000, 1_400)), bench.window(conversions=(1_000, 1_410)))
    bench.breaker = bench.started()
    await bench.see(bench.window(conversions=(1_000, 1_500)))
    (event,) = await bench.events()
    assert event["type"] == "experiment.significant"
    data = event["data"]
    assert (data["experiment_id"], data["metric_id"], data["metric"], data["variant"]) == ("checkout", "conversion", "Conversion", "treatment")
    assert data["p_value"] <= data["alpha"] == 0.05 and data["relative_interval"][0] > 0


async def test_a_guardrail_metric_is_not_announced_as_a_result(bench: Bench) -> None:
    await bench.change(guardrails=())
    await bench.see(bench.window(HARM))
    assert await bench.events() == []


@pytest.mark.parametrize(("correction", "announced"), [("none", 2), ("holm", 0)])
async def test_significance_is_announced_as_corrected(bench: Bench, correction: Correction, announced: int) -> None:
    await bench.service.define(msgspec.structs.replace(METRICS[1], use="goal"))
    await bench.change(guardrails=(), correction=correction)
    # Both p-values lie between 0.025 and 0.05: enough alone, not together.
    await bench.see(bench.window((300, 382), (1_000, 1_142)))
    assert len(await bench.events()) == announced
