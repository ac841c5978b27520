"""Experiments as files, from telemetry at the door. Rows crucible.export.*"""

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


async def _exported(crucible: CrucibleClient, path: str, body: Any) -> httpx.Response:
    answer = await crucible.ask(path, body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-millstream-watermark"] and answer.headers["content-disposition"].startswith("attachment; ")
    return answer


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
