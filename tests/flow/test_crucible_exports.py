"""Experiments as files, from telemetry at the door. Rows crucible.export.*"""

import csv
import io
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from scipy import stats

from tests.flow.crucible_client import CrucibleClient, crucible_client, event
from tests.flow.rows import needs_catalogue, row
from tests.flow.stack import LiveStack

START, EPOCH, STOP, FAILED = (["crucible_train", *rest] for rest in (["training", "start"], ["epoch", "stop"], ["training", "stop"], ["training", "exception"]))


@pytest.fixture
async def crucible(live: LiveStack) -> AsyncIterator[CrucibleClient]:
    async with crucible_client(live) as client:
        yield client


def _at(second: int) -> str:
    return f"2026-01-15T10:00:{second:02d}Z"


def _run(experiment: str, second: int, accuracy: float, end: list[str] = STOP, **hyperparameters: Any) -> list[dict[str, Any]]:
    of = {"experiment_id": experiment, "run_id": f"run_{uuid.uuid4().hex[:12]}"}
    return [
        event(START, _at(second), {}, **of, hyperparameters=hyperparameters),
        event(EPOCH, _at(second + 1), {"epoch": 1, "accuracy": accuracy / 2}, **of),
        event(EPOCH, _at(second + 2), {"epoch": 2, "accuracy": accuracy}, **of),
        event(end, _at(second + 3), {}, **of),
    ]


async def _tested(crucible: CrucibleClient, experiment: str) -> str:
    groups = [run["id"] for run in await crucible.data(f"/experiments/{experiment}/runs")][:2]
    test = {"experiment_id": experiment, "test_type": "two_sample_t_test", "groups": groups, "metric": "accuracy", "options": {"group_by": "run_id"}}
    answer = await crucible.ask("/statistical-results", {"test": test})
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["data"]["id"]
    return id


async def _exported(crucible: CrucibleClient, path: str, body: Any) -> httpx.Response:
    answer = await crucible.ask(path, body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-millstream-watermark"] and answer.headers["content-disposition"].startswith("attachment; ")
    return answer


@needs_catalogue
async def test_an_experiment_is_exported_whole(crucible: CrucibleClient) -> None:
    """crucible.export.experiment"""
    experiment = await crucible.experiment("exported", config={"type": "ensemble"})
    events = [each for number in range(3) for each in _run(experiment, 10 * number, (80 + number) / 100, learning_rate=number / 10)]
    await crucible.send(*reversed(events))
    request = row("crucible.export.experiment")["request"]
    result = await _tested(crucible, experiment)
    whole = (await _exported(crucible, f"/experiments/{experiment}/export", request)).json()
    assert list(whole) == ["experiment", "config", "results", "runs", "telemetry"]
    assert whole["experiment"]["id"] == experiment and whole["config"] == {"type": "ensemble"}
    assert whole["runs"] == await crucible.data(f"/experiments/{experiment}/runs") and len(whole["runs"]) == 3
    assert whole["results"] == [await crucible.data(f"/statistical-results/{result}")]
    assert [each["id"] for each in whole["telemetry"]] == [each["id"] for each in events]
    assert whole["telemetry"][1]["measurements"] == {"epoch": 1, "accuracy": 0.4}
    table = (await _exported(crucible, f"/experiments/{experiment}/export", {"format": "csv"})).text
    lines = list(csv.DictReader(io.StringIO(table, newline="")))
    assert [line["id"] for line in lines] == [run["id"] for run in whole["runs"]]
    assert [(line["hyperparameters.learning_rate"], line["metrics.accuracy"], line["completed_at"]) for line in lines] == [
        ("0.2", "0.82", _at(23)), ("0.1", "0.81", _at(13)), ("0", "0.8", _at(3)),
    ]  # fmt: skip


async def test_telemetry_of_others_stays_out(crucible: CrucibleClient) -> None:
    experiment, other = await crucible.experiment("mine"), await crucible.experiment("other")
    await crucible.send(*_run(other, 0, 0.5))
    whole = (await _exported(crucible, f"/experiments/{experiment}/export", {"include": ["results", "runs", "telemetry"]})).json()
    assert (whole["results"], whole["runs"], whole["telemetry"]) == ([], [], [])


@needs_catalogue
async def test_a_comparison_says_what_the_runs_came_to(crucible: CrucibleClient) -> None:
    """crucible.export.comparison"""
    first, second = [await crucible.experiment(name, config={"voting": name}) for name in ("weighted", "majority")]
    values = {first: [0.9, 0.93, 0.915], second: [0.8]}
    for id, each in values.items():
        await crucible.send(*(sent for number, value in enumerate(each) for sent in _run(id, 10 * number, value, FAILED if number == 2 else STOP)))
    request = {**row("crucible.export.comparison")["request"], "experiment_ids": [first, second]}
    data = (await _exported(crucible, "/export/comparison", {**request, "format": "json"})).json()["data"]
    assert data["shared_metrics"] == ["accuracy"]
    found, other = data["experiments"]
    assert found["runs"] == {"total": 3, "counted": 3, "completed": 2, "failed": 1} and other["runs"]["completed"] == 1
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["n"] == 3 and accuracy["mean"] == pytest.approx(0.915)
    assert accuracy["interval"] == pytest.approx(stats.t.interval(0.95, 2, 0.915, stats.sem(values[first])))
    assert other["metrics"]["accuracy"] == {"n": 1, "mean": 0.8, "interval": None}
    text = (await _exported(crucible, "/export/comparison", request)).text
    assert r"$0.915 \pm 0.037\ (n = 3)$ \\" in text and r"$0.8\ (n = 1)$ \\" in text and r"\toprule" in text
    table = (await _exported(crucible, "/export/comparison", {**request, "format": "markdown"})).text
    assert "| 3 | 2 | 1 | 0.915 ± 0.037 (n=3) |" in table
