"""A threshold that is crossed is told of once, also over restarts, and again after it had recovered."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from infra.runtime.errors import MillstreamError
from query_api.control.audit import Actor
from query_api.control.leadership import Leadership
from query_api.control.models import WebhookEventRow
from query_api.control.webhook_queue import WebhookQueue
from query_api.control.webhooks import WebhookStore
from query_api.domain.evaluation_alerts import EvaluationAlerts
from query_api.readers.window_state import WindowState
from schemas.evaluation_rule import Alert, EvaluationRule
from schemas.evaluation_tally import Tally, judged
from schemas.evaluators.pattern import Regex
from tests.unit.query_api.domain.test_breaker import StoredWindows
from tests.unit.query_api.stored import Service, start

LOW = Alert("mean_score", below=0.5, at_least=10)
FAILING = Alert("failure_share", above=0.2, at_least=10)
RULE = EvaluationRule("default", "r", "polite", Regex("x"), name="Polite", alerts=(LOW, FAILING))
BAD, GOOD, FEW = Tally(count=20, scores=20, score_sum=2.0), Tally(count=20, scores=20, score_sum=18.0), Tally(count=5, scores=5)


class Bench:
    """A service with alerts on it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.windows = StoredWindows()
        self.revision = 0
        self.alerts = self.started()

    def started(self) -> EvaluationAlerts:
        """Alerts as a process has them that just started."""
        parts = self.service.parts
        engine = parts.control.engine
        return EvaluationAlerts(parts.definitions, self.windows, WebhookQueue(engine, parts.clock), Leadership(engine, "evaluation"))

    def window(self, tally: Tally, rule: str = "r") -> WindowState:
        """The cumulative window of a rule whose last minutes hold this."""
        self.revision += 1
        items = {"results": tally.figures(), **{alert.name: judged(alert, tally) for alert in RULE.alerts}}
        return WindowState("default", "evaluation", rule, "all", 0, self.revision, 1_000_000, {}, orjson.dumps(items).decode())

    async def see(self, *tallies: Tally) -> None:
        for tally in tallies:
            self.alerts.publish(self.window(tally))
            await self.alerts.step()

    async def told(self) -> list[dict[str, Any]]:
        """Data of the events so far."""
        async with self.service.parts.control.engine.connect() as connection:
            bodies = (await connection.execute(select(WebhookEventRow.body).order_by(WebhookEventRow.id))).scalars().all()
        events = [json.loads(body) for body in bodies]
        assert {event["type"] for event in events} <= {"evaluation.threshold_crossed"}
        return [event["data"] for event in events]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    service = await start(tmp_path)
    await service.define(RULE)
    store = WebhookStore(service.parts.control.engine, service.parts.clock)
    await store.create("default", {"url": "https://example.com/", "description": "", "events": (), "enabled": True}, Actor("k"))
    yield Bench(service)
    await service.parts.control.close()


async def test_once_a_crossing_and_again_after_recovery(bench: Bench) -> None:
    await bench.see(GOOD, BAD, BAD, FEW, BAD)
    (event,) = await bench.told()
    assert (event["rule_id"], event["name"], event["annotation"], event["alert"]) == ("r", "Polite", "polite", LOW.name)
    assert (event["value"], event["below"], event["count"], event["over_minutes"]) == (0.1, 0.5, 20, 10)
    await bench.see(GOOD, BAD)
    assert len(await bench.told()) == 2


async def test_the_next_process_knows_what_was_told(bench: Bench) -> None:
    await bench.see(BAD)
    bench.alerts = bench.started()
    await bench.see(BAD)
    assert len(await bench.told()) == 1
    bench.alerts = bench.started()
    await bench.see(GOOD)
    bench.alerts = bench.started()
    await bench.see(BAD)
    assert len(await bench.told()) == 2


async def test_each_threshold_by_itself(bench: Bench) -> None:
    await bench.see(Tally(count=40, failures=20, scores=20, score_sum=2.0))
    assert {event["alert"] for event in await bench.told()} == {LOW.name, FAILING.name}


async def test_stored_windows_are_judged_on_start_and_outages_waited_out(bench: Bench) -> None:
    bench.windows.states, bench.windows.away = [bench.window(BAD)], True
    bench.alerts.lost(0)
    with pytest.raises(MillstreamError):
        await bench.alerts.step()
    bench.windows.away = False
    await bench.alerts.step()
    assert len(await bench.told()) == 1


async def test_windows_of_nothing_and_those_that_cannot_be_read_hurt_nobody(bench: Bench) -> None:
    bench.alerts.publish(bench.window(BAD, rule="gone"))
    broken = bench.window(BAD)
    bench.alerts.publish(WindowState(**{**{name: getattr(broken, name) for name in broken.__dataclass_fields__}, "items": "{"}))
    await bench.alerts.step()
    assert await bench.told() == []
    await bench.see(BAD)
    assert len(await bench.told()) == 1


async def test_a_changed_threshold_is_another_one(bench: Bench) -> None:
    await bench.see(BAD)
    changed = Alert("mean_score", below=0.4, at_least=10)
    await bench.service.define(EvaluationRule("default", "r", "polite", Regex("x"), alerts=(changed,)))
    await bench.see(BAD)
    assert len(await bench.told()) == 1, "the window does not speak of it yet"
    window = bench.window(BAD)
    items = {changed.name: judged(changed, BAD)}
    bench.alerts.publish(WindowState(**{**{name: getattr(window, name) for name in window.__dataclass_fields__}, "items": orjson.dumps(items).decode()}))
    await bench.alerts.step()
    assert [event["alert"] for event in await bench.told()] == [LOW.name, changed.name]
