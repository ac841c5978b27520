"""The evals packages of Arize Phoenix, unmodified, with a model behind a local OpenAI API; their traces arrive here."""

import json
import uuid
from pathlib import Path

import httpx

from tests.clients.openai_server import openai_server
from tests.clients.phoenix_scripts import answer_of
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

ROWS = [{"input": "rain", "output": "rain falls"}, {"input": "rain", "output": "cats"}]


def judged(question: str, other: str) -> str:
    """A judge that knows what rain is."""
    return "relevant" if "rain falls" in question else other


def test_llm_classify(phoenix_evals_2_python: Path) -> None:
    """llm.evals.llm_classify, llm.evals.openai_model, llm.evals.features: labels of the pre-tested template's rails, for every row"""
    with openai_server(lambda question: judged(question, "unrelated"), lambda question: {"response": judged(question, "unrelated")}) as openai:
        given = {"openai": openai, "rows": [{"input": row["input"], "reference": row["output"]} for row in ROWS]}
        found = answer_of(phoenix_evals_2_python, "classify", given, {"OPENAI_API_KEY": "none"}, "phoenix_evals_env")
    assert found == {"rails": ["relevant", "unrelated"], "labels": ["relevant", "unrelated"]}


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
