"""Assignments stay when allocations change: asked for over HTTP, exposed by events, changed by PUT."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
from scipy import stats

from schemas.assignment import assigner
from schemas.definition_kinds import Experiment, Variant
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

EXPERIMENTS = "/api/v1/experiments"
USERS = [f"user-{n}" for n in range(400)]


@pytest.fixture
def client(live: LiveStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url("experimentation"), headers=live.headers, timeout=30) as client:
        yield client


def arms(first: float) -> list[dict[str, Any]]:
    return [{"name": "control", "allocation": first}, {"name": "treatment", "allocation": 100 - first}]


def assigned(client: httpx.Client, name: str, user: str, record: bool = True) -> dict[str, Any]:
    answer = client.get("/api/v1/assignments", params={"experiment_id": name, "user_id": user, "record": str(record).lower()})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def variants(client: httpx.Client, name: str, users: Sequence[str]) -> dict[str, str]:
    return {user: assigned(client, name, user)["variant"] for user in users}


def by_weights(name: str, first: float, user: str) -> str:
    """What the weights alone give."""
    given = Experiment("default", name, variants=(Variant("control", first), Variant("treatment", 100 - first)))
    variant = assigner(given, None)(user, {}).variant
    assert variant is not None
    return variant.name


def start(client: httpx.Client) -> str:
    """A started experiment that ingest knows."""
    answer = client.post(EXPERIMENTS, json={"name": "sticky", "variants": arms(50), "status": "ACTIVE"})
    assert answer.status_code == 201, answer.text
    name: str = answer.json()["data"]["id"]
    eventually_sync(lambda: client.get("/api/v1/assignments", params={"experiment_id": name, "user_id": "u", "record": "false"}).status_code == 200)
    return name


def stored(live: LiveStack, name: str, units: int) -> None:
    """Wait until so many units of the experiment are in the table."""

    async def count() -> int:
        clickhouse = live.clickhouse()
        try:
            sql = "SELECT uniqExact(unit) AS units FROM events WHERE experiment = {name:String} AND variant != ''"
            return int((await clickhouse.query(sql, {"name": name}))[0]["units"])
        finally:
            await clickhouse.aclose()

    eventually_sync(lambda: asyncio.run(count()) >= units)


def change(client: httpx.Client, name: str, old: float, new: float) -> None:
    """Give the first variant another share and wait until ingest assigns by it."""
    answer = client.put(f"{EXPERIMENTS}/{name}", json={"variants": arms(new)})
    assert answer.status_code == 200 and "pinned" not in answer.json()["data"], answer.text
    moving = next(user for user in (f"probe-{n}" for n in itertools.count()) if by_weights(name, old, user) != by_weights(name, new, user))
    eventually_sync(lambda: assigned(client, name, moving, record=False)["variant"] == by_weights(name, new, moving))


def test_assigned_units_stay_and_new_ones_follow_the_new_allocations(live: LiveStack, client: httpx.Client) -> None:
    """exp.assignments.get, exp.experiments.update"""
    name = start(client)
    shown = variants(client, name, USERS)
    stored(live, name, len(USERS))
    change(client, name, 50, 80)
    assert variants(client, name, USERS) == shown
    moving = [user for user in USERS if by_weights(name, 80, user) != shown[user]]
    assert {assigned(client, name, user)["reason"] for user in moving} == {"sticky"}
    newcomers = variants(client, name, [f"new-{n}" for n in range(400)])
    assert stats.binomtest(list(newcomers.values()).count("control"), 400, 0.8).pvalue > 1e-4
    assert newcomers == {user: by_weights(name, 80, user) for user in newcomers}
    log = client.get("/api/v1/audit-log", params={"id": name}).json()["data"]
    assert len(moving) in [line["after"].get("pinned") for line in log]

    stored(live, name, 800)
    change(client, name, 80, 30)
    assert variants(client, name, list(shown)) == shown and variants(client, name, list(newcomers)) == newcomers


def test_units_exposed_by_events_keep_the_variant_they_saw_first(live: LiveStack, client: httpx.Client) -> None:
    """exp.events.batch"""
    name = start(client)
    times = ("2026-01-01T00:00:02Z", "2026-01-01T00:00:01Z")
    # What the client showed counts, whatever the weights say; the later of two variants was sent first.
    events = [
        {"experiment_id": name, "user_id": user, "event_type": "view", "variant": variant, "timestamp": time}
        for user in USERS[:50]
        for variant, time in zip(("control", "treatment"), times, strict=True)
    ]
    answer = client.post("/api/v1/events/batch", json={"events": events})
    assert answer.status_code in (200, 201, 202), answer.text
    stored(live, name, 50)
    change(client, name, 50, 70)
    assert {assigned(client, name, user, record=False)["variant"] for user in USERS[:50]} == {"treatment"}


def test_units_on_their_way_during_the_change_are_pinned_a_moment_later(live: LiveStack, client: httpx.Client) -> None:
    name = start(client)
    change(client, name, 50, 90)
    late = [user for user in USERS if (by_weights(name, 50, user), by_weights(name, 90, user)) == ("treatment", "control")][:20]
    events = [{"experiment_id": name, "user_id": user, "event_type": "exposure", "variant": "treatment"} for user in late]
    assert client.post("/api/v1/events/batch", json={"events": events}).status_code in (200, 201, 202)
    eventually_sync(lambda: {assigned(client, name, user, record=False)["variant"] for user in late} == {"treatment"})
