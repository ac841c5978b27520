"""What a client that joins an experiment hears of what happens while it joins."""

from pathlib import Path
from typing import Any

from infra.runtime.clock import SystemClock
from query_api.control.audit import Actor
from query_api.control.ml_experiments import MlExperiment, MlExperimentStore
from query_api.control.store import ControlStore
from query_api.live.channels import ExperimentChannel
from query_api.live.experiment_watch import ExperimentWatch
from query_api.readers.runs import Run

ME = Actor("key", "key", "")
FIELDS: dict[str, Any] = {"name": "n", "description": "", "status": "pending", "config": {}, "tags": [], "started_at_us": None, "completed_at_us": None}


def _run(id: str, status: str, progress: float | None = None) -> Run:
    return Run(id, "exp", 0, status, None, None, progress, None, None, {})


async def test_a_state_that_others_were_told_of_while_somebody_joined(tmp_path: Path) -> None:
    control = ControlStore(f"sqlite+aiosqlite:///{tmp_path}/control.sqlite3")
    await control.migrate()
    store = MlExperimentStore(control.engine, SystemClock())
    watch = ExperimentWatch(store, control)
    heard: list[tuple[str, Any]] = []
    experiment = await store.create("t", "exp", FIELDS, ME)
    watch.listen(_channel(experiment, []))
    assert await store.change(experiment, {"status": "running"}, ME)
    await watch.look()
    # It read the experiment before the change and listens only now.
    watch.listen(_channel(experiment, heard))
    await watch.look()
    assert [(event, payload["status"]) for event, payload in heard] == [("status_changed", "running")]
    await watch.look()
    assert len(heard) == 1
    await control.close()


def test_runs_that_go_on_while_they_are_read() -> None:
    heard: list[tuple[str, Any]] = []
    channel = _channel(MlExperiment(1, "t", "exp", "n", "", "running", {}, [], None, None, 0, 0), heard)
    channel.runs([_run("a", "completed"), _run("b", "running", 0.5)])
    assert heard == []
    channel.begin([_run("a", "running"), _run("b", "running", 0.5), _run("c", "completed")])
    assert [(event, payload["run_id"]) for event, payload in heard] == [("progress_updated", "a"), ("run_completed", "a")]
    channel.runs([_run("c", "completed"), _run("b", "failed", 0.5)])
    assert [(event, payload["run_id"]) for event, payload in heard[2:]] == [("error", "b")]


def _channel(experiment: MlExperiment, heard: list[tuple[str, Any]]) -> ExperimentChannel:
    return ExperimentChannel(lambda event, payload: heard.append((event, payload)), experiment, SystemClock())
