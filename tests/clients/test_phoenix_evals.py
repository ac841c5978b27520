"""The evals packages of Arize Phoenix, unmodified, with a model behind a local OpenAI API; their traces and data arrive here."""

import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.benchmark_storage import benchmark_storage
from tests.clients.openai_server import openai_server
from tests.clients.phoenix_scripts import answer_of
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

ROWS = [{"input": "rain", "output": "rain falls"}, {"input": "rain", "output": "cats"}]
TASK, DATASET = "binary-relevance-classification", "wiki_qa-train"
# What the judge takes for relevant, and what is: of four that it takes, three are, and one that is it leaves out.
BENCHMARK = [
    *({"query_text": f"rain {index}", "document_text": f"rain falls {index}", "relevant": index != 3} for index in range(4)),
    {"query_text": "rain 4", "document_text": "wet streets", "relevant": True},
    *({"query_text": f"rain {index}", "document_text": f"cats {index}", "relevant": False} for index in range(5, 10)),
]


def judged(question: str, other: str) -> str:
    """A judge that knows what rain is."""
    return "relevant" if "rain falls" in question else other


@pytest.fixture(scope="module")
def classified(phoenix_evals_2_python: Path) -> dict[str, Any]:
    """What the script finds about every row of the benchmark."""
    with (
        benchmark_storage(TASK, DATASET, BENCHMARK) as storage,
        openai_server(lambda question: judged(question, "unrelated"), lambda question: {"response": judged(question, "unrelated")}) as openai,
    ):
        given = {"task": TASK, "dataset": DATASET, "sample": len(BENCHMARK), "openai": openai}
        found: dict[str, Any] = answer_of(phoenix_evals_2_python, "classify", given, {"OPENAI_API_KEY": "none", **storage}, "phoenix_evals_env")
    return found


def test_llm_classify(classified: dict[str, Any]) -> None:
    """llm.evals.llm_classify, llm.evals.openai_model, llm.evals.features: labels of the pre-tested template's rails, for every row"""
    assert classified["rails"] == ["relevant", "unrelated"]
    labels = {row["reference"]: row["eval_relevance"] for row in classified["rows"]}
    assert labels == {row["document_text"]: judged(str(row["document_text"]), "unrelated") for row in BENCHMARK}


def test_a_benchmark_dataset(classified: dict[str, Any]) -> None:
    """llm.evals.benchmark_dataset: it is downloaded whole, its golden answers measure the labels, and one that is not there is refused"""
    golden = {(row["input"], row["reference"], row["relevant"]) for row in classified["rows"]}
    assert golden == {(row["query_text"], row["document_text"], row["relevant"]) for row in BENCHMARK}
    # The document maps False to a word that is none of the rails, so nothing is both.
    assert classified["measures"] == {
        "precision": {"relevant": 0.75, "unrelated": 0.0},
        "recall": {"relevant": 0.75, "irrelevant": 0.0},
        "support": {"relevant": 4, "irrelevant": 6},
    }
    assert classified["refusal"] == f'Dataset "no-such-dataset" for "{TASK}" task does not exist.'


def test_a_classified_benchmark_is_a_dataset_here(live: LiveStack, classified: dict[str, Any]) -> None:
    """llm.evals.benchmark_dataset: its rows, uploaded with their labels, are read back in their order"""
    rows = classified["rows"]
    upload = {
        "action": "create",
        "name": f"benchmark-{uuid.uuid4().hex}",
        "inputs": [{"input": row["input"], "reference": row["reference"]} for row in rows],
        "outputs": [{"relevant": row["relevant"]} for row in rows],
        "metadata": [{"eval_relevance": row["eval_relevance"]} for row in rows],
    }
    with httpx.Client(base_url=live.url("llm"), headers=live.headers, timeout=20) as http:
        made = http.post("/v1/datasets/upload", params={"sync": True}, json=upload).raise_for_status().json()["data"]["dataset_id"]
        examples = http.get(f"/v1/datasets/{made}/examples").raise_for_status().json()["data"]["examples"]
    assert [{**each["input"], **each["output"], **each["metadata"]} for each in examples] == rows


def test_the_newest_evals_and_their_traces(live: LiveStack, phoenix_python: Path) -> None:
    """llm.evals.features: a judge and code over a frame, and a span for each judgement"""
    project = f"evals-{uuid.uuid4().hex}"
    with openai_server(lambda question: json.dumps({"explanation": "by its words", "label": judged(question, "irrelevant")})) as openai:
        given = {"openai": openai, "rows": ROWS, "project": project, "endpoint": f"{live.url('llm')}/v1/traces"}
        found = answer_of(phoenix_python, "evaluate", given)
    assert found["relevance"] == [{"label": "relevant", "score": 1.0}, {"label": "irrelevant", "score": 0.0}]
    assert [score["score"] for score in found["short"]] == [0.0, 1.0]

    def spans() -> str:
        return httpx.get(f"{live.url('llm')}/v1/projects/{project}/spans", headers=live.headers).text

    eventually_sync(lambda: "by its words" in spans())
