"""Experiments as files: what is in them, read part by part, and what is refused. Row crucible.export.experiment."""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.runtime.errors import Unavailable
from tests.unit.query_api.parts import ScriptedRows
from tests.unit.query_api.stored import Service, start
from tests.unit.query_api.surfaces.crucible.conftest import Ask

RUNS = 250


class Stored:
    """`RUNS` runs that began one each microsecond and telemetry of two events; what is away cannot be read."""

    def __init__(self) -> None:
        self.experiment = ""
        self.away: str | None = None
        self.parts: list[int] = []
        """How many runs were read each time."""

    def answer(self, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self.away is not None and self.away in sql:
            raise Unavailable("ClickHouse cannot be reached; try again", retry_after_s=1)
        if "FROM telemetry" in sql:
            return self._telemetry(sql, params)
        if "runs" in params:
            return self._runs(sql, params["runs"])
        if "count() AS total" in sql:
            return [{"total": RUNS}]
        if "LIMIT {limit:UInt32}" in sql and params["experiment"] == self.experiment:
            last = params.get("after_us", RUNS)
            return [{"began_us": number, "run_id": f"run_{number}"} for number in range(last - 1, max(-1, last - 1 - params["limit"]), -1)]
        return []

    def _runs(self, sql: str, ids: list[str]) -> list[dict[str, Any]]:
        if "run_events" in sql:
            return []
        if "run_metrics" in sql:
            return [{"run_id": id, "name": "loss", "value": 0.5, "most": 1.0} for id in ids if id.endswith("7")]
        self.parts.append(len(ids))
        rest = {"of_experiment": self.experiment, "began_us": 0, "said": "completed", "started_us": 0, "ended_us": 1, "done": None, "last_step": None}
        return [{"run_id": id, **rest, "last_epoch": None, "named": ['{"rate":0.1,"layers":[1,2]}'] if id == "run_249" else []} for id in ids]

    def _telemetry(self, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert params["experiment"] == self.experiment and params["tenant"] == "default"
        if "limit" not in params:
            return [{"total": 2, "latest_us": 2}]
        event = {"event_name": "a.b", "experiment": self.experiment, "measurements": '{"x": 1}', "metadata": "", "extra": ""}
        return [{**event, "event_id": str(number), "time_us": number} for number in (1, 2)]


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
async def service(tmp_path: Path, stored: Stored) -> AsyncIterator[Service]:
    service = await start(tmp_path, ScriptedRows(stored.answer))
    yield service
    await service.parts.control.close()


@pytest.fixture
async def experiment(ask: Ask, stored: Stored) -> str:
    config = {"type": "ensemble", "voting": {"rounds": 3}}
    answer = await ask("POST", "/experiments", body={"experiment": {"name": "Größe & Maß/1", "config": config}})
    stored.experiment = answer.json()["data"]["id"]
    return stored.experiment


async def export(ask: Ask, id: str, **body: Any) -> httpx.Response:
    answer = await ask("POST", f"/experiments/{id}/export", "viewer", body)
    assert answer.status_code == 200, answer.text
    return answer


async def test_json(ask: Ask, stored: Stored, experiment: str) -> None:
    answer = await export(ask, experiment)
    assert answer.headers["content-type"] == "application/json" and "x-millstream-watermark" in answer.headers
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%26%20Ma%C3%9F%2F1.json"
    whole = answer.json()
    assert list(whole) == ["experiment", "config", "results", "runs"]
    shown = (await ask("GET", f"/experiments/{experiment}")).json()["data"]
    assert whole["config"] == shown["config"] and whole["experiment"] == {name: shown[name] for name in whole["experiment"]}
    assert shown.keys() - whole["experiment"].keys() == {"config", "runs", "results_summary"}
    assert whole["results"] == [] and [run["id"] for run in whole["runs"]] == [f"run_{number}" for number in range(RUNS - 1, -1, -1)]
    assert stored.parts[:3] == [100, 100, 50]
    assert whole["runs"][0]["hyperparameters"] == {"rate": 0.1, "layers": [1, 2]} and whole["runs"][2]["metrics"] == {"loss": 0.5}


@pytest.mark.parametrize("include", [[], ["telemetry"], ["runs", "config"], ["telemetry", "results", "runs", "config", "runs"]])
async def test_only_what_is_included(ask: Ask, stored: Stored, experiment: str, include: list[str]) -> None:
    whole = (await export(ask, experiment, format="json", include=include)).json()
    assert list(whole) == ["experiment", *(name for name in ("config", "results", "runs", "telemetry") if name in include)]
    assert bool(stored.parts) == ("runs" in include)
    if "telemetry" in include:
        assert [event["id"] for event in whole["telemetry"]] == ["1", "2"] and whole["telemetry"][0]["measurements"] == {"x": 1}


async def test_csv(ask: Ask, stored: Stored, experiment: str) -> None:
    answer = await export(ask, experiment, format="csv")
    assert answer.headers["content-type"].startswith("text/csv") and answer.headers["content-disposition"].endswith("1.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    fields = ["id", "status", "progress", "started_at", "completed_at", "hyperparameters.layers", "hyperparameters.rate", "metrics.loss"]
    assert list(rows[0]) == fields and [row["id"] for row in rows] == [f"run_{number}" for number in range(RUNS - 1, -1, -1)]
    assert list(rows[0].values())[1:] == ["completed", "1.0", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z", "[1,2]", "0.1", ""]
    assert [row["id"] for row in rows if row["metrics.loss"] == "0.5"] == [f"run_{number}" for number in range(RUNS - 1, -1, -1) if number % 10 == 7]
    assert max(stored.parts) == 100
    settled = list(csv.DictReader(io.StringIO((await export(ask, experiment, format="csv", include=["config", "runs"])).text, newline="")))
    assert {(row["config.type"], row["config.voting.rounds"]) for row in settled} == {("ensemble", "3")}


async def test_an_experiment_without_runs(ask: Ask) -> None:
    id = (await ask("POST", "/experiments", body={"experiment": {"name": "empty"}})).json()["data"]["id"]
    assert (await export(ask, id)).json()["runs"] == []
    assert (await export(ask, id, format="csv")).text == "id,status,progress,started_at,completed_at\n"


@pytest.mark.parametrize(("away", "body"), [("FROM runs", {}), ("FROM telemetry", {"include": ["runs", "telemetry"]}), ("FROM runs", {"format": "csv"})])
async def test_what_cannot_be_read_is_an_error_and_no_broken_file(ask: Ask, stored: Stored, experiment: str, away: str, body: dict[str, Any]) -> None:
    stored.away = away
    answer = await ask("POST", f"/experiments/{experiment}/export", body=body)
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "unavailable"


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"format": "parquet"}, "format", "'json' or 'csv'"),
        ({"include": ["models"]}, "include.0", "'config', 'results', 'runs' or 'telemetry'"),
        ({"include": "runs"}, "include", "list"),
        ({"format": "csv", "include": ["telemetry"]}, "include", "/telemetry/export"),
        ({"format": "csv", "include": ["config", "results"]}, "include", "/statistical-results"),
        ({"fields": ["id"]}, "fields", "not permitted"),
    ],
)
async def test_a_wrong_body_is_named(ask: Ask, experiment: str, body: dict[str, Any], field: str, says: str) -> None:
    answer = await ask("POST", f"/experiments/{experiment}/export", body=body)
    error = answer.json()["error"]
    assert answer.status_code == 422 and error["code"] == "validation_error"
    assert list(error["details"]) == [field] and any(says in message for message in error["details"][field])


async def test_who_may(ask: Ask, experiment: str) -> None:
    path = f"/experiments/{experiment}/export"
    assert (await ask("POST", path, None, {})).status_code == 401
    refused = await ask("POST", path, "ingest", {})
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "forbidden"
    for key, where in (("other", path), ("viewer", "/experiments/exp_none/export")):
        missing = await ask("POST", where, key, {"include": ["telemetry"]})
        assert missing.status_code == 404 and missing.json()["error"]["code"] == "not_found"
