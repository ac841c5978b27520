"""Results that are kept between two reads say what they would say worked out anew: they change with whatever they follow from, and the time goes on."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from query_api.domain.shown import MAX_KEPT, Shown, ShownResults, Source
from query_api.freshness import Freshness
from query_api.live.latest import LatestWindows
from query_api.readers.ledger import LedgerReader
from query_api.readers.window_state import WindowState
from query_api.readers.windows import WindowReader
from schemas.definition_kinds import Experiment, Metric, Variant
from schemas.metric_arms import arms_from_rows
from tests.unit.query_api.parts import ScriptedRows
from tests.unit.query_api.stored import Service, start

METRIC = Metric(tenant="default", id="met", name="bought", event_type="buy")
EXPERIMENT = Experiment(tenant="default", id="exp", name="e", variants=(Variant("control"), Variant("treatment")), metrics=("met",))


def compared(units: int) -> str:
    figures = arms_from_rows(METRIC, (), ("control", "treatment"))
    items = {name: {**figures.figures("control", name, 0.05), "metric": "met", "variant": name, "treatment_units": units} for name in ("control", "treatment")}
    return json.dumps(items)


def stored_window(sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "ledger" in sql:
        return [{"topic": "events", "partition": 0, "high": 7, "log": "g", "newest_us": 1}]
    items = compared(10) if params["tenant"] == "default" else compared(99)
    window = {"subject": params["subject"], "grain": "all", "start_us": 0, "newest": 1, "computed_us": 1_000_000_000, "reached": {}}
    return [{**window, "items": [(name, json.dumps(item)) for name, item in json.loads(items).items()] if "significance" in sql else []}]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """One whose windows were computed once, and whose updates arrive."""
    service = await start(tmp_path)
    rows = ScriptedRows(stored_window)
    parts = service.parts
    latest = LatestWindows(WindowReader(rows), parts.clock)
    latest.connected = True
    service = Service(replace(parts, rows=rows, latest=latest, freshness=Freshness(LedgerReader(rows), WindowReader(rows), parts.clock)))
    await service.define(METRIC, EXPERIMENT)
    yield service
    await service.parts.control.close()


async def results(service: Service, query: str = "", key: str = "admin") -> dict[str, Any]:
    answer = await service.ask("GET", f"/experiments/exp/results{query}", key)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


async def test_only_the_time_goes_on_while_nothing_changes(service: Service) -> None:
    first, second = await results(service), await results(service)
    assert second.pop("age_s") > first.pop("age_s")
    assert first == second


async def test_an_update_is_in_the_next_read(service: Service) -> None:
    before = await results(service)
    service.parts.latest.publish(WindowState("default", "significance", "exp", "all", 0, 2, 1_000_500_000, {}, compared(11)))
    after = await results(service)
    assert [each["metrics"][0]["results"]["control"]["units"] for each in (before, after)] == [10, 11]
    assert (before["revision"], after["revision"]) == (1, 2) and before["computed_at"] != after["computed_at"]


async def test_exposed_units_are_in_the_next_read(service: Service) -> None:
    assert (await results(service))["sample_size"] == {"control": 0, "treatment": 0}
    items = json.dumps({"control": {"units": 3}, "treatment": {"units": 4}})
    service.parts.latest.publish(WindowState("default", "assignments", "exp", "all", 0, 2, 1, {}, items))
    assert (await results(service))["sample_size"] == {"control": 3, "treatment": 4}


async def test_a_changed_definition_is_in_the_next_read(service: Service) -> None:
    assert (await results(service))["status"] == "ACTIVE"
    await service.define(msgspec.structs.replace(EXPERIMENT, status="paused"))
    assert (await results(service))["status"] == "PAUSED"
    await service.define(msgspec.structs.replace(METRIC, name="paid"))
    assert (await results(service))["metrics"][0]["name"] == "paid"


async def test_another_reading_is_answered_in_its_own_words(service: Service) -> None:
    plain, bayesian = await results(service), await results(service, "?bayesian=true")
    assert "bayesian" not in plain["metrics"][0]["comparisons"][0] and "bayesian" in bayesian["metrics"][0]["comparisons"][0]
    assert "bayesian" not in (await results(service))["metrics"][0]["comparisons"][0]


async def test_an_experiment_of_the_same_name_of_another_tenant_has_its_own_results(service: Service) -> None:
    await service.define(msgspec.structs.replace(METRIC, tenant="other"), msgspec.structs.replace(EXPERIMENT, tenant="other"))
    for _ in range(2):
        assert [(await results(service, key=key))["metrics"][0]["results"]["control"]["units"] for key in ("admin", "other")] == [10, 99]


def test_what_was_read_longest_ago_goes_first() -> None:
    shown = ShownResults()
    sources = [Source(msgspec.structs.replace(EXPERIMENT, id=f"e{number}"), "{}", "{}", False) for number in range(MAX_KEPT + 1)]
    for source in sources[:-1]:
        shown.keep(Shown(source, source.experiment, (), {}))
    assert shown.get(sources[0]) is not None
    shown.keep(Shown(sources[-1], sources[-1].experiment, (), {}))
    assert shown.get(sources[1]) is None and shown.get(sources[0]) is not None and shown.get(sources[-1]) is not None
