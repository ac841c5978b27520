"""A published experiment through the HTTP door: the published figures come out, in whatever order and however often it is sent."""

import asyncio
import csv
import gzip
import json
import math
import random
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from schemas.position import encode
from tests.flow.stack import LiveStack
from tests.support import eventually

DATA = Path("../shared/data/cookie_cats.csv.gz")
BATCH = 2_000
METRICS = ("retention_1", "retention_7", "gamerounds")
EXPERIMENTS = ("cookie-cats-ordered", "cookie-cats-shuffled", "cookie-cats-repeated")
_PATH = "/experimentation/api/v1/events/batch"
_YES = ("TRUE", "1")

pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is not here")


class Player(NamedTuple):
    """One row of the data."""

    id: str
    version: str
    rounds: int
    retention_1: bool
    retention_7: bool


@pytest.fixture(scope="module")
def players() -> list[Player]:
    with gzip.open(DATA, "rt") as file:
        return [
            Player(row["userid"], row["version"], int(row["sum_gamerounds"]), row["retention_1"].upper() in _YES, row["retention_7"].upper() in _YES)
            for row in csv.DictReader(file)
        ]


async def test_the_published_result_comes_out_each_time(live: LiveStack, players: list[Player]) -> None:
    await _define(live)
    results: list[dict[str, dict[str, Any]]] = []
    for experiment in EXPERIMENTS:
        dice = random.Random(7)
        events = _events(experiment, players)
        if experiment != EXPERIMENTS[0]:
            dice.shuffle(events)
        batches = [events[begin : begin + BATCH] for begin in range(0, len(events), BATCH)]
        if experiment == EXPERIMENTS[2]:
            again = dice.sample(events, len(events) // 10)
            for number, begin in enumerate(range(0, len(again), BATCH)):
                batches.insert(dice.randrange(number, len(batches)), again[begin : begin + BATCH])
        position = await _send(live, batches)
        results.append(await _significance(live, experiment, position))
    for figures in results:
        _published(figures)
        _computed(figures, players)
    for other in results[1:]:
        assert other.keys() == results[0].keys()
        for item, figures in other.items():
            _agree(figures, results[0][item], item)


def _published(figures: dict[str, dict[str, Any]]) -> None:
    week, day = figures["retention_7/gate_40"], figures["retention_1/gate_40"]
    assert (week["control_units"], week["treatment_units"]) == (44_700, 45_489)
    assert round(100 * week["control_value"], 2) == 19.02 and round(100 * week["treatment_value"], 2) == 18.20
    assert round(100 * week["difference"], 2) == -0.82
    assert round(week["fixed"]["p_value"], 4) == 0.0016
    assert round(day["fixed"]["p_value"], 3) == 0.074
    for item in figures.values():
        assert item["sample_ratio"]["flag"] and round(item["sample_ratio"]["chi_square_p"], 4) == 0.0086
        assert item["control"] == "gate_30" and item["excluded_units"] == 0


def _computed(figures: dict[str, dict[str, Any]], players: list[Player]) -> None:
    """The mean metric has no published figure, so it is held against numpy."""
    control, treatment = (np.array([player.rounds for player in players if player.version == version], float) for version in ("gate_30", "gate_40"))
    item = figures["gamerounds/gate_40"]
    assert math.isclose(item["control_value"], control.mean(), rel_tol=1e-9) and math.isclose(item["treatment_value"], treatment.mean(), rel_tol=1e-9)
    error = math.sqrt(control.var(ddof=1) / len(control) + treatment.var(ddof=1) / len(treatment))
    assert math.isclose(item["standard_error"], error, rel_tol=1e-9)


def _agree(one: Any, other: Any, path: str) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for name in one:
            _agree(one[name], other[name], f"{path}.{name}")
    elif isinstance(one, float) and isinstance(other, float):
        assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9), (path, one, other)
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            _agree(left, right, f"{path}[{index}]")
    else:
        assert one == other, (path, one, other)


def _events(experiment: str, players: list[Player]) -> list[dict[str, Any]]:
    """Exposures spread over ten minutes, what came of them on later days."""
    events: list[dict[str, Any]] = []

    def add(player: Player, kind: str, time: str, **fields: Any) -> None:
        events.append(
            {"id": f"{experiment}/{player.id}/{kind}", "user_id": player.id, "event_type": kind, "experiment_id": experiment, "timestamp": time, **fields}
        )

    for index, player in enumerate(players):
        add(player, "exposure", f"2026-03-01T12:0{index % 10}:00Z", variant=player.version)
        if player.retention_1:
            add(player, "retention_1", "2026-03-02T12:00:00Z")
        if player.retention_7:
            add(player, "retention_7", "2026-03-08T12:00:00Z")
        if player.rounds:
            add(player, "gamerounds", "2026-03-15T12:00:00Z", metadata={"value": player.rounds})
    return events


async def _define(live: LiveStack) -> None:
    variants = [{"name": "gate_30", "control": True}, {"name": "gate_40"}]
    await asyncio.to_thread(
        live.define,
        {"kind": "metric", "id": "retention_1", "event_type": "retention_1", "type": "proportion"},
        {"kind": "metric", "id": "retention_7", "event_type": "retention_7", "type": "proportion"},
        {"kind": "metric", "id": "gamerounds", "event_type": "gamerounds", "type": "mean"},
        *({"kind": "experiment", "id": name, "variants": variants, "metrics": list(METRICS)} for name in EXPERIMENTS),
    )
    async with httpx.AsyncClient(base_url=live.main_url, headers=live.headers) as client:

        async def known() -> bool:
            answer = await client.get("/platform/v1/definitions", params={"kind": "experiment", "limit": 100})
            return set(EXPERIMENTS) <= {item["id"] for item in answer.json()["data"]}

        await eventually(known)


async def _send(live: LiveStack, batches: list[list[dict[str, Any]]]) -> str:
    """Post all batches over four connections; the position that includes all of them."""
    waiting = iter(batches)
    positions: dict[str, int] = {}

    async def client() -> None:
        async with httpx.AsyncClient(base_url=live.main_url, headers=live.headers, timeout=60.0) as http:
            for batch in waiting:
                answer = await http.post(_PATH, content=json.dumps({"events": batch}), headers={"Content-Type": "application/json"})
                assert answer.status_code == 200 and answer.json()["data"]["failed"] == 0, answer.text[:500]
                place, _, offset = answer.headers["x-millstream-position"].rpartition(":")
                positions[place] = max(positions.get(place, -1), int(offset))

    await asyncio.gather(*(client() for _ in range(4)))
    return encode(positions)


async def _significance(live: LiveStack, experiment: str, position: str) -> dict[str, dict[str, Any]]:
    headers = {**live.headers, "X-Millstream-Wait-For": position, "X-Millstream-Wait-Timeout": "90"}
    async with httpx.AsyncClient(base_url=live.main_url, headers=headers, timeout=120.0) as client:
        answer = await client.get("/platform/v1/windows/significance", params={"subject": experiment, "grain": "all"})
    assert answer.status_code == 200, answer.text
    items = {item["item"]: item["figures"] for item in answer.json()["data"]}
    assert {f"{metric}/gate_40" for metric in METRICS} <= items.keys()
    return items
