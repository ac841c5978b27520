"""Comparisons of experiments as files. Row crucible.export.comparison."""

import csv
import io
from typing import Any

import httpx
import pytest

from tests.unit.query_api.surfaces.crucible.conftest import Ask

PATH = "/export/comparison"
BASE = {"type": "ensemble", "models": ["gpt-4", "claude-3"], "seed": 7}


async def created(ask: Ask, name: str, config: dict[str, Any], *moves: str, **fields: Any) -> str:
    answer = await ask("POST", "/experiments", body={"experiment": {"name": name, "config": config, **fields}})
    id: str = answer.json()["data"]["id"]
    for move in moves:
        assert (await ask("POST", f"/experiments/{id}/{move}")).status_code == 200
    return id


@pytest.fixture
async def pair(ask: Ask) -> list[str]:
    """Two experiments that differ; the first has ended, the second waits."""
    first = {**BASE, "voting": {"strategy": "weighted", "rounds": 1}, "dataset": "mmlu"}
    second = {**BASE, "voting": {"strategy": "majority_50%", "rounds": True}, "models": ["gpt-4"], "extra": None}
    return [await created(ask, "A & B", first, "start", "cancel", tags=["x", "y"]), await created(ask, "plain", second)]


async def export(ask: Ask, ids: list[str], form: str, **more: Any) -> httpx.Response:
    answer = await ask("POST", PATH, "viewer", {"experiment_ids": ids, "format": form, **more})
    assert answer.status_code == 200, answer.text
    return answer


async def test_json(ask: Ask, pair: list[str]) -> None:
    """crucible.export.comparison: what is the same in all is left out, what one has alone is not."""
    answer = await export(ask, pair[::-1], "json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''experiment-comparison.json"
    assert "x-millstream-watermark" in answer.headers
    data = answer.json()["data"]
    assert data["differing_settings"] == ["models", "voting.strategy", "voting.rounds", "extra", "dataset"]
    second, first = data["experiments"]
    assert [second["id"], first["id"]] == pair[::-1]
    assert first["config"] == {"voting.strategy": "weighted", "voting.rounds": 1, "models": ["gpt-4", "claude-3"], "dataset": "mmlu"}
    assert second["config"] == {"voting.strategy": "majority_50%", "voting.rounds": True, "models": ["gpt-4"], "extra": None}
    assert data["shared_metrics"] == [] and first["metrics"] == {} and first["runs"] == {"total": 0, "counted": 0, "completed": 0, "failed": 0}
    assert (first["name"], first["status"], first["tags"], second["status"], second["started_at"]) == ("A & B", "cancelled", ["x", "y"], "pending", None)
    stored = (await ask("GET", f"/experiments/{pair[0]}")).json()["data"]
    assert {name: first[name] for name in ("started_at", "completed_at")} == {name: stored[name] for name in ("started_at", "completed_at")}


async def test_csv(ask: Ask, pair: list[str]) -> None:
    answer = await export(ask, pair, "csv", template="publication")
    assert answer.headers["content-type"].startswith("text/csv") and answer.headers["content-disposition"].endswith(".csv")
    first, second = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert list(first)[:6] == ["id", "name", "status", "started_at", "completed_at", "tags"]
    assert first["config.models"] == '["gpt-4","claude-3"]' and first["name"] == "A & B"
    assert (second["config.voting.rounds"], second["config.dataset"], second["started_at"]) == ("true", "", "")
    assert list(first)[-3:] == ["runs.total", "runs.completed", "runs.failed"] and first["runs.total"] == "0"


async def test_markdown(ask: Ask, pair: list[str]) -> None:
    answer = await export(ask, pair, "markdown")
    assert answer.headers["content-type"].startswith("text/markdown") and answer.headers["content-disposition"].endswith(".md")
    titles, rule, first, second = answer.text.splitlines()
    settings = "models | voting.strategy | voting.rounds | dataset | extra"
    assert titles == f"| ID | Name | Status | Started | Completed | Tags | {settings} | Runs | Runs completed | Runs failed |"
    assert titles.count("|") == rule.count("|") == first.count("|") == second.count("|") == 6 + 5 + 3 + 1
    assert "| A \\& B | cancelled |" in first and "| x, y |" in first and "| gpt-4, claude-3 |" in first and "| majority\\_50% |" in second


@pytest.mark.parametrize("template", [None, "plain", "publication"])
async def test_latex(ask: Ask, pair: list[str], template: str | None) -> None:
    answer = await export(ask, pair, "latex", **({"template": template} if template else {}))
    assert answer.headers["content-type"].startswith("text/x-tex") and answer.headers["content-disposition"].endswith(".tex")
    text = answer.text
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 3 and all(row.replace(r"\&", "").count("&") == 6 + 5 + 3 - 1 for row in rows)
    assert rows[0].startswith("ID & Name & Status & Started & Completed & Tags & ")
    assert r" & A \& B & cancelled & " in rows[1] and pair[0].replace("_", r"\_") in rows[1] and r"majority\_50\%" in rows[2]
    published = all(part in text for part in (r"\toprule", r"\caption{Comparison of 2 experiments.}", r"\label{tab:experiment-comparison}", r"\end{table}"))
    assert published == (template == "publication") and (r"\hline" in text) == (template != "publication")


async def test_of_one_experiment_nothing_differs(ask: Ask, pair: list[str]) -> None:
    data = (await export(ask, pair[:1], "json")).json()["data"]
    assert data["differing_settings"] == [] and data["experiments"][0]["config"] == {}
    assert r"\caption{Comparison of 1 experiment.}" in (await export(ask, pair[:1], "latex", template="publication")).text


@pytest.mark.parametrize(
    ("one", "other", "differing"),
    [
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, []),
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"y": 2, "x": 1}]}, []),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a"]),
        ({"a": {}}, {"a": {"b": 1}}, ["a", "a.b"]),
        ({"a": {}}, {}, ["a"]),
        ({"a": None}, {}, ["a"]),
        ({"a.b": 1}, {"a": {"b": 1}}, ['"a.b"', "a.b"]),
        ({"name": "x"}, {"name": "y"}, ["name"]),
    ],
)
async def test_what_differs(ask: Ask, one: dict[str, Any], other: dict[str, Any], differing: list[str]) -> None:
    ids = [await created(ask, "one", one), await created(ask, "other", other)]
    assert (await export(ask, ids, "json")).json()["data"]["differing_settings"] == differing
    rows = list(csv.DictReader(io.StringIO((await export(ask, ids, "csv")).text, newline="")))
    assert [row["name"] for row in rows] == ["one", "other"] and len(rows[0]) == 6 + len(differing) + 3


async def test_as_many_as_twenty(ask: Ask) -> None:
    ids = [await created(ask, f"e{number}", {"number": number}) for number in range(21)]
    shown = (await export(ask, ids[19::-1], "json")).json()["data"]["experiments"]
    assert [each["config"]["number"] for each in shown] == list(range(19, -1, -1))
    refused = await ask("POST", PATH, body={"experiment_ids": ids, "format": "json"})
    assert refused.status_code == 422 and list(refused.json()["error"]["details"]) == ["experiment_ids"]


async def test_experiments_that_do_not_exist_are_named(ask: Ask, pair: list[str]) -> None:
    answer = await ask("POST", PATH, body={"experiment_ids": ["exp_none", pair[0], "exp_gone"], "format": "csv"})
    error = answer.json()["error"]
    assert answer.status_code == 404 and error["code"] == "not_found" and pair[0] not in error["message"]
    assert error["details"]["experiment_ids"] == ["there is no experiment exp_none", "there is no experiment exp_gone"]
    theirs = await ask("POST", PATH, "other", {"experiment_ids": pair, "format": "csv"})
    assert theirs.status_code == 404 and len(theirs.json()["error"]["details"]["experiment_ids"]) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"format": "json"}, "experiment_ids"),
        ({"experiment_ids": [], "format": "json"}, "experiment_ids"),
        ({"experiment_ids": ["exp_1", "exp_1"], "format": "json"}, "experiment_ids"),
        ({"experiment_ids": "exp_1", "format": "json"}, "experiment_ids"),
        ({"experiment_ids": [1], "format": "json"}, "experiment_ids.0"),
        ({"experiment_ids": ["exp_1"]}, "format"),
        ({"experiment_ids": ["exp_1"], "format": "pdf"}, "format"),
        ({"experiment_ids": ["exp_1"], "format": "latex", "template": "thesis"}, "template"),
        ({"experiment_ids": ["exp_1"], "format": "latex", "label": "x"}, "label"),
    ],
)
async def test_a_wrong_body_is_named(ask: Ask, body: dict[str, Any], field: str) -> None:
    answer = await ask("POST", PATH, body=body)
    assert answer.status_code == 422 and list(answer.json()["error"]["details"]) == [field]


async def test_who_may(ask: Ask, pair: list[str]) -> None:
    body = {"experiment_ids": pair, "format": "json"}
    assert (await ask("POST", PATH, None, body)).status_code == 401
    refused = await ask("POST", PATH, "ingest", body)
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "forbidden"
