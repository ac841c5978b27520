"""Experiments on datasets over HTTP, row by row of the requirements catalogue, with the traces of their tasks and compared with each other."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest
from scipy import stats

from schemas.global_id import global_id, number_of
from tests.flow.llm_spans import sent
from tests.flow.rows import needs_catalogue, row
from tests.flow.stack import LiveStack
from tests.flow.test_llm_datasets import is_text, lacks, upload

START, END = "2026-01-01T12:00:00+00:00", "2026-01-01T12:00:01.500000+00:00"


@pytest.fixture(params=[("llm", ""), ("main", "/llm")], ids=["port", "prefix"])
async def client(live: LiveStack, request: pytest.FixtureRequest) -> Any:
    port, prefix = request.param
    async with httpx.AsyncClient(base_url=live.url(port) + prefix + "/v1", headers=live.headers, timeout=30) as client:
        yield client


async def created(client: httpx.AsyncClient, dataset: str, **fields: Any) -> dict[str, Any]:
    """A new experiment."""
    answer = await client.post(f"/datasets/{dataset}/experiments", json=fields)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def nodes(client: httpx.AsyncClient, dataset: str) -> list[str]:
    """The ids of the examples of a dataset."""
    return [each["node_id"] for each in (await client.get(f"/datasets/{dataset}/examples")).json()["data"]["examples"]]


async def ran(client: httpx.AsyncClient, experiment: str, example: str, repetition: int = 1, **fields: Any) -> httpx.Response:
    """The answer to a run."""
    body = {"dataset_example_id": example, "output": {"text": "out"}, "repetition_number": repetition, "start_time": START, "end_time": END, **fields}
    return await client.post(f"/experiments/{experiment}/runs", json=body)


async def judged(client: httpx.AsyncClient, run: httpx.Response, name: str, **result: Any) -> httpx.Response:
    """The answer to an evaluation of a run."""
    body = {"experiment_run_id": run.json()["data"]["id"], "name": name, "annotator_kind": "CODE", "start_time": START, "end_time": END, "result": result}
    return await client.post("/experiment_evaluations", json=body)


async def scored(client: httpx.AsyncClient, dataset: str, scores: Mapping[str, Sequence[float]], **fields: Any) -> dict[str, Any]:
    """A new experiment whose runs have these scores, one for each repetition, by example."""
    repetitions = max(len(each) for each in scores.values())
    made = await created(client, dataset, repetitions=repetitions, **fields)
    for example, values in scores.items():
        for number, score in enumerate(values, 1):
            run = await ran(client, made["id"], example, number)
            assert (await judged(client, run, "exact", score=score)).status_code == 200
    return made


@needs_catalogue
async def test_llm_experiments_create_get_list(client: httpx.AsyncClient) -> None:
    """llm.experiments.create, llm.experiments.get, llm.experiments.list_by_dataset"""
    dataset = await upload(client)
    documented = row("llm.experiments.create")
    body = {**documented["request"], "version_id": dataset["version_id"], "repetitions": 3}
    answer = await client.post(f"/datasets/{dataset['dataset_id']}/experiments", json=body)
    assert not lacks(answer, documented)
    made = answer.json()["data"]
    assert number_of(made["id"], "Experiment") and made["dataset_id"] == dataset["dataset_id"] and made["dataset_version_id"] == dataset["version_id"]
    assert (made["name"], made["description"], made["repetitions"], made["metadata"]) == ("text", "text", 3, {"ANY_ADDITIONAL_PROPERTY": "anything"})
    prefix, _, hexadecimal = made["project_name"].partition("-")
    assert prefix == "Experiment" and len(bytes.fromhex(hexadecimal)) == 12
    assert [made[f"{kind}_count"] for kind in ("example", "successful_run", "failed_run", "missing_run")] == [2, 0, 0, 6]
    got = await client.get(f"/experiments/{made['id']}")
    assert not lacks(got, row("llm.experiments.get")) and got.json()["data"] == made
    least = await created(client, dataset["dataset_id"])
    assert least["name"].startswith(dataset["name"][:8]) and least["repetitions"] == 1
    listed = await client.get(f"/datasets/{dataset['dataset_id']}/experiments")
    assert not lacks(listed, row("llm.experiments.list_by_dataset"))
    assert listed.json() == {"data": [least, made], "next_cursor": None}
    page = (await client.get(f"/datasets/{dataset['dataset_id']}/experiments", params={"limit": 1})).json()
    assert page["data"] == [least] and page["next_cursor"] == made["id"]
    names = {each["name"] for each in (await client.get("/projects", params={"limit": 1000})).json()["data"]}
    assert made["project_name"] not in names
    shown = (await client.get("/projects", params={"limit": 1000, "include_experiment_projects": True})).json()["data"]
    assert made["project_name"] in {each["name"] for each in shown}


@needs_catalogue
async def test_llm_experiments_refusals(client: httpx.AsyncClient) -> None:
    """llm.errors.404, llm.errors.422"""
    dataset, other = await upload(client), await upload(client)
    path = f"/datasets/{dataset['dataset_id']}/experiments"
    assert is_text(await client.post(path, json={"version_id": other["version_id"]}), 404)
    assert is_text(await client.post(path, json={"version_id": "rubbish"}), 422)
    assert is_text(await client.post(path, json={"splits": ["nowhere"]}), 404)
    assert is_text(await client.post(f"/datasets/{global_id('Dataset', 2**40)}/experiments", json={}), 404)
    for repetitions in (0, -1, "x", 10**12):
        answer = await client.post(path, json={"repetitions": repetitions})
        assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "repetitions"]
    assert (await client.get(path)).json()["data"] == []
    for part in ("", "/runs", "/json", "/csv", "/incomplete-runs", "/incomplete-evaluations?evaluation_name=x", "/diff?baseline=rubbish"):
        assert is_text(await client.get(f"/experiments/rubbish{part}"), 422), part
        assert is_text(await client.get(f"/experiments/{global_id('Experiment', 2**40)}{part}"), 404), part


async def test_runs_fail_are_run_again_and_succeed_once(client: httpx.AsyncClient) -> None:
    dataset = await upload(client)
    made = await created(client, dataset["dataset_id"], repetitions=2)
    first, second = await nodes(client, dataset["dataset_id"])
    failed = await ran(client, made["id"], first, error="ValueError('boom')", output=None)
    assert failed.status_code == 200 and failed.json()["data"].keys() == {"id"}
    again = await ran(client, made["id"], first, trace_id="ab" * 16)
    assert again.json() == failed.json()
    refused = await ran(client, made["id"], first)
    assert is_text(refused, 409) and "already exists with a successful result" in refused.text
    await ran(client, made["id"], second, 2, error="boom")
    counts = (await client.get(f"/experiments/{made['id']}")).json()["data"]
    assert [counts[f"{kind}_run_count"] for kind in ("successful", "failed", "missing")] == [1, 1, 2]
    runs = (await client.get(f"/experiments/{made['id']}/runs", params={"limit": 1})).json()
    assert [each["dataset_example_id"] for each in runs["data"]] == [second] and runs["next_cursor"] == failed.json()["data"]["id"]
    (rest,) = (await client.get(f"/experiments/{made['id']}/runs", params={"limit": 5, "cursor": runs["next_cursor"]})).json()["data"]
    assert rest["output"] == {"text": "out"} and rest["error"] is None and rest["trace_id"] == "ab" * 16 and rest["repetition_number"] == 1
    missing = (await client.get(f"/experiments/{made['id']}/incomplete-runs")).json()
    assert [(each["dataset_example"]["node_id"], each["repetition_numbers"]) for each in missing["data"]] == [(first, [2]), (second, [1, 2])]
    page = (await client.get(f"/experiments/{made['id']}/incomplete-runs", params={"limit": 1})).json()
    assert len(page["data"]) == 1 and page["next_cursor"] == second
    assert is_text(await ran(client, made["id"], global_id("DatasetExample", 1)), 404)
    assert is_text(await ran(client, made["id"], "rubbish"), 422)
    assert is_text(await ran(client, made["id"], second, 3), 422)
    assert (await ran(client, made["id"], second, 0)).json()["detail"][0]["loc"] == ["body", "repetition_number"]


async def test_evaluations_replace_each_other_and_what_lacks_them_is_listed(client: httpx.AsyncClient) -> None:
    dataset = await upload(client)
    made = await created(client, dataset["dataset_id"])
    runs = [await ran(client, made["id"], each) for each in await nodes(client, dataset["dataset_id"])]
    first = await judged(client, runs[0], "exact", score=0.5, label="half", explanation="why")
    assert first.json()["data"].keys() == {"id"} and number_of(first.json()["data"]["id"], "ExperimentEvaluation")
    assert (await judged(client, runs[0], "exact", label="none")).json() == first.json()
    failed = {"experiment_run_id": runs[1].json()["data"]["id"], "name": "exact", "annotator_kind": "LLM", "start_time": START, "end_time": END}
    assert (await client.post("/experiment_evaluations", json={**failed, "error": "boom"})).status_code == 200
    assert (await client.post("/experiment_evaluations", json=failed)).status_code == 422
    assert (await client.post("/experiment_evaluations", json={**failed, "annotator_kind": "DOG", "error": "e"})).status_code == 422
    unknown = {**failed, "experiment_run_id": global_id("ExperimentRun", 2**40), "error": "e"}
    assert is_text(await client.post("/experiment_evaluations", json=unknown), 404)
    path = f"/experiments/{made['id']}/incomplete-evaluations"
    assert is_text(await client.get(path), 400)
    lacking = (await client.get(path, params={"evaluation_name": ["exact", "other"]})).json()["data"]
    assert [(each["experiment_run"]["id"], each["evaluation_names"]) for each in lacking] == [
        (runs[0].json()["data"]["id"], ["other"]),
        (runs[1].json()["data"]["id"], ["exact", "other"]),
    ]
    page = (await client.get(path, params={"evaluation_name": "other", "limit": 1})).json()
    assert len(page["data"]) == 1 and page["next_cursor"] == runs[1].json()["data"]["id"]


@needs_catalogue
async def test_llm_experiments_downloads(client: httpx.AsyncClient) -> None:
    """llm.experiments.json, llm.experiments.csv; with the tokens of the task's traces"""
    dataset = await upload(client)
    made = await created(client, dataset["dataset_id"], name="naïve / name")
    for extension in ("json", "csv"):
        assert is_text(await client.get(f"/experiments/{made['id']}/{extension}"), 404)
    spans = await sent(client, made["project_name"], {"llm.token_count.prompt": 30, "llm.token_count.completion": 5}, {"llm.token_count.prompt": 3})
    seen = await client.get(f"/projects/{made['project_name']}/spans", headers={"X-Millstream-Wait-For": spans.position})
    assert len(seen.json()["data"]) == 2
    first, second = await nodes(client, dataset["dataset_id"])
    run = await ran(client, made["id"], first, trace_id=spans.trace_id)
    await ran(client, made["id"], second, output="plain, text", error="boom")
    await judged(client, run, "exact", score=1.0, label="right")
    answer = await client.get(f"/experiments/{made['id']}/json")
    assert answer.status_code == row("llm.experiments.json")["status"] and answer.headers["content-type"].startswith("text/plain")
    assert "na%C3%AFve%20%2F%20name.json" in answer.headers["content-disposition"]
    good, bad = json.loads(answer.text)
    assert (good["example_id"], good["repetition_number"], good["latency_ms"], good["error"]) == (first, 1, 1500.0, None)
    assert good["input"] == {"question": "0 + 0"} and good["reference_output"] == {"answer": "0"} and good["output"] == {"text": "out"}
    assert (good["prompt_token_count"], good["completion_token_count"], good["start_time"], good["end_time"]) == (33, 5, START, END)
    (annotation,) = good["annotations"]
    assert (annotation["name"], annotation["score"], annotation["label"], annotation["annotator_kind"]) == ("exact", 1.0, "right", "CODE")
    assert bad["error"] == "boom" and bad["annotations"] == [] and bad["prompt_token_count"] is None
    table = await client.get(f"/experiments/{made['id']}/csv")
    assert table.status_code == row("llm.experiments.csv")["status"] and table.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(table.text)))
    assert [each["output"] for each in lines] == ['{"text":"out"}', "plain, text"]
    assert [each["annotation_exact_score"] for each in lines] == ["1.0", ""]


async def test_experiments_are_changed_and_deleted(client: httpx.AsyncClient) -> None:
    dataset = await upload(client)
    made = await created(client, dataset["dataset_id"], name="first", description="about", metadata={"a": 1})
    path = f"/experiments/{made['id']}"
    changed = (await client.patch(path, json={"name": "second", "description": None})).json()["data"]
    assert changed == {**made, "name": "second", "description": None, "updated_at": changed["updated_at"]}
    assert (await client.patch(path, json={"metadata": {"b": 2}})).json()["data"]["metadata"] == {"b": 2}
    for wrong in ({"name": None}, {"metadata": None}, {"name": 7}):
        assert (await client.patch(path, json=wrong)).json()["detail"][0]["loc"][0] == "body"
    assert is_text(await client.patch(path, json={}), 422) and is_text(await client.patch(path, json={"name": " "}), 422)
    spans = await sent(client, made["project_name"], {})
    await client.get("/projects", headers={"X-Millstream-Wait-For": spans.position})
    assert (await client.delete(path, params={"delete_project": True})).status_code == 204
    assert is_text(await client.get(path), 404) and is_text(await client.delete(path), 404)
    assert (await client.get(f"/projects/{made['project_name']}")).status_code == 404
    kept = await created(client, dataset["dataset_id"])
    assert (await client.delete(f"/experiments/{kept['id']}")).status_code == 204
    assert (await client.get(f"/projects/{kept['project_name']}")).status_code == 200
    last = await created(client, dataset["dataset_id"])
    assert (await client.delete(f"/datasets/{dataset['dataset_id']}")).status_code == 204
    assert is_text(await client.get(f"/experiments/{last['id']}"), 404)
    assert (await client.get(f"/projects/{last['project_name']}")).status_code == 404


async def test_experiments_are_compared_by_pairs(client: httpx.AsyncClient) -> None:
    """Against scipy: an example counts once, with the mean of its repetitions, and only where both experiments scored it."""
    dataset = await upload(client, 23)
    examples = await nodes(client, dataset["dataset_id"])
    before = {each: [0.25 + 0.05 * (number % 3)] for number, each in enumerate(examples[:22])}
    after = {each: [0.5 + 0.07 * (number % 4)] for number, each in enumerate(examples[1:])}
    after |= {examples[1]: before[examples[1]], examples[2]: [0.0], examples[3]: [0.4, 0.9]}
    baseline, made = await scored(client, dataset["dataset_id"], before), await scored(client, dataset["dataset_id"], after)
    path, params = f"/experiments/{made['id']}/compare", {"baseline": baseline["id"], "evaluation": "exact", "alpha": 0.1}
    found = (await client.get(path, params=params)).json()["data"]
    shared = examples[1:22]
    means = [sum(after[each]) / len(after[each]) for each in shared]
    expected = stats.ttest_rel(means, [before[each][0] for each in shared])
    interval = expected.confidence_interval(0.9)
    assert found["examples"] == {"compared": 21, "changed": 0, "experiment_only": 1, "baseline_only": 1}
    assert (found["wins"], found["losses"], found["ties"]) == (19, 1, 1)
    assert found["fixed"]["p_value"] == pytest.approx(expected.pvalue) and found["fixed"]["interval"] == pytest.approx([interval.low, interval.high])
    assert found["difference"] == pytest.approx(found["experiment_mean"] - found["baseline_mean"])
    low, high = found["anytime"]["interval"]
    assert low < interval.low < interval.high < high and found["anytime"]["p_value"] > found["fixed"]["p_value"]
    assert found["significant"] == (found["anytime"]["p_value"] <= 0.1)
    unknown = await client.get(path, params={**params, "evaluation": "wrong"})
    assert is_text(unknown, 404) and "exact" in unknown.text
    assert (await client.get(path, params={**params, "alpha": 1})).json()["detail"][0]["loc"] == ["query", "alpha"]
    other = await created(client, (await upload(client))["dataset_id"])
    assert is_text(await client.get(path, params={**params, "baseline": other["id"]}), 422)


async def test_experiments_are_shown_side_by_side(client: httpx.AsyncClient) -> None:
    dataset = await upload(client, 3, example_ids=["a", "b", "c"])
    examples = await nodes(client, dataset["dataset_id"])
    baseline = await scored(client, dataset["dataset_id"], {examples[0]: [0.25], examples[1]: [1.0]})
    body = {"action": "append", "name": dataset["name"], "inputs": [{"question": "changed"}], "example_ids": ["b"]}
    await client.post("/datasets/upload", params={"sync": True}, json=body)
    made = await scored(client, dataset["dataset_id"], {examples[0]: [0.5, 1.0], examples[1]: [1.0], examples[2]: [0.0]})
    items = (await client.get(f"/experiments/{made['id']}/diff", params={"baseline": baseline["id"]})).json()["data"]
    assert [(each["id"], each["changed"], len(each["experiment"]), len(each["baseline"])) for each in items] == [
        ("a", False, 2, 1),
        ("b", True, 1, 1),
        ("c", False, 1, 0),
    ]
    assert items[0]["differences"] == {"exact": 0.5} and items[2]["differences"] == {}
    assert items[1]["input"] == {"question": "changed"} and items[0]["experiment"][1]["output"] == {"text": "out"}
    assert items[0]["experiment"][0]["evaluations"]["exact"]["score"] == 0.5
    page = (await client.get(f"/experiments/{made['id']}/diff", params={"baseline": baseline["id"], "limit": 2})).json()
    rest = (await client.get(f"/experiments/{made['id']}/diff", params={"baseline": baseline["id"], "cursor": page["next_cursor"]})).json()
    assert [*page["data"], *rest["data"]] == items
    compared = (await client.get(f"/experiments/{made['id']}/compare", params={"baseline": baseline["id"], "evaluation": "exact"})).json()["data"]
    assert compared["examples"] == {"compared": 1, "changed": 1, "experiment_only": 1, "baseline_only": 0}
    assert compared["anytime"]["reason"] == "too_few_pairs" and compared["anytime"]["meaning"]
