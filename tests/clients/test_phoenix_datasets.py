"""The Python client of Arize Phoenix, unmodified: datasets, and experiments from the first run to the last evaluation."""

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.phoenix_scripts import answer_of
from tests.flow.stack import KEY, LiveStack
from tests.support import eventually_sync


@pytest.fixture(params=[("llm", ""), ("main", "/llm")], ids=["port", "prefix"])
def url(live: LiveStack, request: pytest.FixtureRequest) -> str:
    port, prefix = request.param
    return live.url(port) + str(prefix)


def test_datasets(url: str, phoenix_python: Path) -> None:
    """Created, read as a table, by split and by version, appended to, and uploaded from a DataFrame and a file."""
    name = f"sums {uuid.uuid4().hex}"
    first, second = [{"q": "1 + 1"}, {"a": "2"}, {"level": 1}], [{"q": "2 + 2"}, {"a": "4"}, {}]
    for shown in answer_of(phoenix_python, "datasets", {"name": name, "client": {"base_url": url, "api_key": KEY}}):
        assert shown["made"][1:] == ["sums", 2, [first, second], ["one", "two"]]
        assert [(each["example_id"], each["input"], each["metadata"]) for each in shown["frame"]] == [("one", first[0], {"level": 1}), ("two", second[0], {})]
        assert shown["listed"] and shown["by_name"] and shown["same"] and shown["versions"]
        assert shown["hard"] == [second] and shown["before"] == [first, second]
        assert shown["appended"] == [[first, second, [{"q": "3 + 3"}, {"a": "6"}, {}]], True]
        assert shown["from_frame"] == [[{"prompt": "a, b"}, {"response": "x"}, {"score": "0.5"}], [{"prompt": 'say "c"'}, {}, {"score": "1.0"}]]
        assert shown["from_file"][1] == [{"prompt": 'say "c"'}, {}, {"score": "2.0"}]
        assert "Line 3" in shown["ragged"] and "not found" in shown["unknown"].lower()


@pytest.mark.parametrize(("port", "prefix", "kind"), [("llm", "", "Client"), ("main", "/llm", "AsyncClient")])
def test_experiments(live: LiveStack, phoenix_python: Path, port: str, prefix: str, kind: str) -> None:
    """run_experiment with evaluators and repetitions, dry runs, resume_experiment, evaluate_experiment, get_experiment; the task's traces are in
    the project of the experiment, which lists hide."""
    given = {"name": f"sums {uuid.uuid4().hex}", "kind": kind, "client": {"base_url": live.url(port) + prefix, "api_key": KEY}}
    shown = answer_of(phoenix_python, "experiments", given)
    assert shown["dry"] == [1, True]
    assert shown["counts"] == [3, 4, 2, 0] and shown["resumed"] == [3, 6, 0, 0]
    assert shown["outputs"] == ["0", "0", "2", "2", "4", "4"] and shown["traced"]
    assert shown["evaluated"] == 6
    assert shown["after"] == [*(["exact", 1.0] for _ in range(6)), *(["length", 0.1] for _ in range(6))]
    assert shown["made"] == 3 and "not found" in shown["gone"]
    spans = eventually_sync(lambda: _task_spans(live, shown["project"], 8))
    assert len(spans) == 8 and sum(each["status_code"] == "ERROR" for each in spans) == 2
    assert {each["span_kind"] for each in spans} == {"CHAIN"}
    projects = httpx.get(f"{live.url('llm')}/v1/projects", params={"limit": 1000}, headers=live.headers).json()["data"]
    assert shown["project"] not in {each["name"] for each in projects} and "evaluators" in {each["name"] for each in projects}


def _task_spans(live: LiveStack, project: str, least: int) -> Any:
    """The spans of the task, beside which the project holds those of resumed evaluations."""
    spans = httpx.get(f"{live.url('llm')}/v1/projects/{project}/spans", headers=live.headers).json()["data"]
    found = [each for each in spans if each["name"].startswith("Task: ")]
    return found if len(found) >= least else None
