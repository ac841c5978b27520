"""Runs of experiments: from telemetry at the door to what the surface says of them. Rows crucible.runs.*"""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.flow.crucible_client import CrucibleClient, crucible_client, event
from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack

START, STOP, EPOCH, SAVED = (["crucible_train", *rest] for rest in (["training", "start"], ["training", "stop"], ["epoch", "stop"], ["checkpoint", "saved"]))
LOG = ["crucible", "log"]
HYPER = {"learning_rate": 0.001, "batch_size": 32, "epochs": 100}


@pytest.fixture
async def crucible(live: LiveStack) -> AsyncIterator[CrucibleClient]:
    async with crucible_client(live) as client:
        yield client


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


def _at(minute: int, second: int = 0) -> str:
    return f"2026-01-15T10:{minute:02d}:{second:02d}Z"


def _training(run: str, experiment: str) -> list[dict[str, Any]]:
    of: dict[str, Any] = {"run_id": run, "experiment_id": experiment}
    return [
        event(START, _at(30), {"system_time": 1}, **of, hyperparameters=HYPER),
        event(EPOCH, _at(32), {"epoch": 2, "train_loss": 0.3, "val_accuracy": 0.91}, **of),
        event(EPOCH, _at(33), {"epoch": 45, "train_loss": 0.234, "val_loss": 0.256, "val_accuracy": 0.89}, **of),
        # Sent late: an earlier step with a later time must not stand for the newest.
        event(EPOCH, _at(35), {"epoch": 44, "train_loss": 0.5, "val_accuracy": 0.1, "only_early": 7}, **of),
        event(SAVED, _at(34), {"epoch": 40, "val_accuracy": 0.88}, **of, checkpoint_id="ckpt_1", path=f"/checkpoints/{run}/epoch_40.pt"),
        event(LOG, _at(34, 1), {}, **of, message="Epoch 45/100 - loss: 0.234", level="info"),
        event(LOG, _at(34, 3), {}, **of, message="gradient is large", level="WARN"),
        event(LOG, _at(34, 2), {}, **of, message="no level told"),
    ]


@needs_catalogue
async def test_a_run_is_what_its_telemetry_says(crucible: CrucibleClient) -> None:
    """crucible.runs.get, crucible.runs.checkpoints.list, crucible.runs.logs"""
    run, experiment = _id("run"), await crucible.experiment("Ensemble Comparison v1")
    events = _training(run, experiment)
    await crucible.send(*events[4:])
    await crucible.send(*events[:4])
    answer = await crucible.read(f"/runs/{run}")
    assert answer.status_code == 200 and answer.headers["x-millstream-watermark"]
    assert not missing_keys(answer.json(), row("crucible.runs.get")["response_keys"])
    found = answer.json()["data"]
    assert found["id"] == run and found["experiment_id"] == experiment and found["status"] == "running" and found["completed_at"] is None
    assert found["progress"] == 0.45 and found["hyperparameters"] == HYPER and found["started_at"] == _at(30)
    assert found["metrics"] == {"current_epoch": 45, "train_loss": 0.234, "val_loss": 0.256, "val_accuracy": 0.89, "only_early": 7}
    checkpoint = {"id": "ckpt_1", "epoch": 40, "step": None, "val_accuracy": 0.88, "path": f"/checkpoints/{run}/epoch_40.pt", "created_at": _at(34)}
    assert found["checkpoints"] == [checkpoint] == await crucible.data(f"/runs/{run}/checkpoints")
    lines = await crucible.data(f"/runs/{run}/logs")
    assert [(line["level"], line["message"]) for line in lines] == [
        ("info", "Epoch 45/100 - loss: 0.234"), ("info", "no level told"), ("warning", "gradient is large"),
    ]  # fmt: skip
    assert [line["timestamp"] for line in await crucible.data(f"/runs/{run}/logs", tail=2)] == [_at(34, 2), _at(34, 3)]
    assert [line["timestamp"] for line in await crucible.data(f"/runs/{run}/logs", since=_at(34, 2), level="info")] == [_at(34, 2)]
    # Everything once more, and the end: nothing counts twice.
    await crucible.send(*events, event(STOP, _at(50), {"duration": 5}, run_id=run, experiment_id=experiment))
    ended = await crucible.data(f"/runs/{run}")
    assert ended["status"] == "completed" and ended["progress"] == 1.0 and ended["completed_at"] == _at(50) and ended["started_at"] == _at(30)
    assert ended["checkpoints"] == [checkpoint] and len(await crucible.data(f"/runs/{run}/logs")) == 3
    whole = await crucible.read(f"/experiments/{experiment}")
    assert not missing_keys(whole.json(), [key for key in row("crucible.experiments.get")["response_keys"] if not key.startswith("data.config.")])
    assert whole.json()["data"]["runs"] == [{"id": run, "status": "completed", "progress": 1.0}]
    assert whole.json()["data"]["results_summary"] == {"best_accuracy": 0.91, "total_runs": 1}


@pytest.mark.parametrize(
    ("name", "metadata", "status"),
    [
        (["run", "created"], {}, "pending"),
        ("crucible.run.start", {}, "running"),
        (["crucible_framework", "pipeline", "stop"], {}, "completed"),
        (["crucible_framework", "pipeline", "stop"], {"status": "failed"}, "failed"),
        (["crucible_train", "training", "exception"], {}, "failed"),
        (["crucible_framework", "stage", "stop"], {}, "running"),
        (["model", "inference"], {}, "running"),
    ],
)
async def test_states(crucible: CrucibleClient, name: list[str] | str, metadata: dict[str, Any], status: str) -> None:
    """crucible.runs.status_values"""
    run = _id("run")
    await crucible.send(event(name, _at(40), {}, run_id=run, **metadata))
    found = await crucible.data(f"/runs/{run}")
    assert found["status"] == status and found["experiment_id"] is None
    assert found["progress"] == (1.0 if status == "completed" else None)
    assert (found["completed_at"] == _at(40)) == (status in ("completed", "failed"))


async def test_lists(crucible: CrucibleClient) -> None:
    """crucible.runs.list, crucible.runs.list_by_experiment"""
    experiment, other = await crucible.experiment("listed"), await crucible.experiment("another")
    runs = [_id("run") for _ in range(5)]
    for number, run in enumerate(runs):
        # Two of them begin at the same instant.
        begin = event(START, _at(max(1, number)), {}, run_id=run, experiment_id=experiment)
        await crucible.send(begin, *([event(STOP, _at(30), {}, run_id=run, experiment_id=experiment)] if number == 2 else []))
    stray = _id("run")
    await crucible.send(event(START, _at(59), {}, run_id=stray, experiment_id=other), event(START, _at(58), {}, run_id=7_000_001, experiment_id=other))
    newest = [*reversed(runs[2:]), *sorted(runs[:2], reverse=True)]
    for path, params in ((f"/experiments/{experiment}/runs", {}), ("/runs", {"filter[experiment_id]": experiment})):
        whole = (await crucible.read(path, **params)).json()
        assert [each["id"] for each in whole["data"]] == newest
        assert whole["meta"] == {"total": 5, "page": 1, "per_page": 25, "next_cursor": None, "has_more": False}
        assert [each["id"] for each in await crucible.data(path, per_page=2, page=2, **params)] == newest[2:4]
        seen: list[str] = []
        more: dict[str, Any] = {}
        while True:
            page = (await crucible.read(path, per_page=2, **params, **more)).json()
            seen += [each["id"] for each in page["data"]]
            if not page["meta"]["has_more"]:
                break
            more = {"cursor": page["meta"]["next_cursor"]}
        assert seen == newest
        done = (await crucible.read(path, **{**params, "filter[status]": "completed"})).json()
        assert [each["id"] for each in done["data"]] == [runs[2]] and done["meta"]["total"] == 1
    assert [each["id"] for each in await crucible.data("/runs", **{"filter[experiment_id]": other})] == [stray, "7000001"]
    everything = await crucible.data("/runs", per_page=100)
    assert {*runs, stray} <= {each["id"] for each in everything}


async def test_what_is_not_there(crucible: CrucibleClient) -> None:
    for path in ("/runs/none", "/runs/none/logs", "/runs/none/checkpoints", "/runs/none/checkpoints/c/download", "/experiments/exp_none/runs"):
        answer = await crucible.read(path)
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found", path
    for query in ({"filter[status]": "paused"}, {"filter[name]": "x"}, {"cursor": "bm90"}):
        assert (await crucible.read("/runs", **query)).status_code == 422, query
    for query in ({"level": "loud"}, {"since": "yesterday"}, {"tail": "0"}, {"tail": "10001"}):
        assert (await crucible.read("/runs/none/logs", **query)).status_code == 422, query


async def test_downloads(crucible: CrucibleClient) -> None:
    """crucible.runs.checkpoints.download: where no folder is shared, only what has an address of its own"""
    run = _id("run")
    of = {"run_id": run}
    address = "https://models.example/weights.pt"
    await crucible.send(
        event(SAVED, _at(1), {"step": 10}, **of, checkpoint_id="far", path=address),
        event(SAVED, _at(2), {"step": 20}, **of, checkpoint_id="near", path="/checkpoints/weights.pt"),
        event(SAVED, _at(3), {"step": 30}, **of, checkpoint_id="nowhere"),
    )
    assert [each["step"] for each in await crucible.data(f"/runs/{run}/checkpoints")] == [10, 20, 30]
    far = await crucible.read(f"/runs/{run}/checkpoints/far/download")
    assert far.status_code == 302 and far.headers["location"] == address
    near = await crucible.read(f"/runs/{run}/checkpoints/near/download")
    assert near.status_code == 404 and "MILLSTREAM_QUERY_CHECKPOINT_DIR" in near.json()["error"]["message"]
    nowhere = await crucible.read(f"/runs/{run}/checkpoints/nowhere/download")
    assert nowhere.status_code == 404 and "`path`" in nowhere.json()["error"]["message"]


async def test_a_tenant_sees_its_own_runs(crucible: CrucibleClient, live: LiveStack) -> None:
    run = _id("run")
    await crucible.send(event(START, _at(1), {}, run_id=run))
    await crucible.data(f"/runs/{run}")
    rows = live.clickhouse()
    try:
        stored = await rows.query("SELECT DISTINCT tenant FROM runs WHERE run_id = {run:String}", {"run": run})
    finally:
        await rows.aclose()
    assert [each["tenant"] for each in stored] == ["default"]


async def test_quarantined_events_make_no_run(crucible: CrucibleClient) -> None:
    run = _id("run")
    await crucible.send(event(START, "1971-01-01T00:00:00Z", {}, run_id=run))
    assert (await crucible.read(f"/runs/{run}")).status_code == 404
