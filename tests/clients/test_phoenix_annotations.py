"""Annotations through the unmodified Phoenix client, scores of the unmodified evaluation package written back, and evaluations read as frames."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from schemas.global_id import parse
from tests.clients.phoenix_scripts import answer_of
from tests.flow.llm_spans import span_json
from tests.flow.stack import KEY, LiveStack
from tests.support import eventually_sync


class Traced(NamedTuple):
    """Two spans of a session that are stored."""

    url: str
    project: str
    trace_id: str
    span_ids: list[str]
    session_id: str

    @property
    def given(self) -> dict[str, Any]:
        return {"client": {"base_url": self.url, "api_key": KEY}, **self._asdict()}


@pytest.fixture
def traced(live: LiveStack) -> Traced:
    there = Traced(live.url("llm"), f"client {os.urandom(4).hex()}", os.urandom(16).hex(), [os.urandom(8).hex() for _ in range(2)], os.urandom(4).hex())
    attributes = {"session.id": there.session_id, **{f"retrieval.documents.{number}.document.content": "x" for number in range(2)}}
    spans = [span_json(there.trace_id, span_id, attributes) for span_id in there.span_ids]
    headers = {**live.headers, "x-project-name": there.project}
    httpx.post(f"{there.url}/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}, headers=headers).raise_for_status()
    return there


def id_of(found: Any, kind: str) -> str:
    """The one id in an answer, of this type."""
    (one,) = found if isinstance(found, list) else [found]
    named = parse(one["id"])
    assert named is not None and named.type == kind
    return str(one["id"])


def test_annotations(traced: Traced, phoenix_python: Path) -> None:
    shown = answer_of(phoenix_python, "annotations", traced.given)
    first, second = traced.span_ids
    assert shown["none"] is None
    assert shown["missing"] == [404, "Spans with IDs ffffffffffffffff do not exist."] and shown["missing_note"][0] == 404
    expected = {
        (first, "one"): {"label": "good", "score": 1.0, "explanation": "why"},
        (first, "later"): {"label": "x", "score": None, "explanation": None},
        (first, "several"): {"label": None, "score": 0.5, "explanation": None},
        (second, "several"): {"label": None, "score": 0.5, "explanation": None},
        (first, "framed"): {"label": "a", "score": 0.0, "explanation": None},
        (second, "framed"): {"label": "b", "score": 2.0, "explanation": None},
        (first, "indexed"): {"label": "i", "score": None, "explanation": None},
        (second, "indexed"): {"label": "j", "score": None, "explanation": None},
    }
    listed = {(span_id, name): (annotation, result) for span_id, name, annotation, result in shown["listed"]}
    assert {key: result for key, (_, result) in listed.items()} == expected
    assert listed[first, "one"][0] == id_of(shown["one"], "SpanAnnotation")
    for name in ("several", "framed", "indexed"):
        assert [each["id"] for each in shown[name]] == [listed[first, name][0], listed[second, name][0]]
    of_first = sorted(name for span_id, name in expected if span_id == first)
    assert shown["paged"] == of_first and shown["with_notes"] == sorted([*of_first, "note"])
    assert shown["frame"]["index"] == sorted([first, first, second]) and shown["frame"]["labels"] == ["a", "b", "good"]
    assert {"annotation_name", "annotator_kind", "result.score", "result.explanation", "metadata", "identifier", "id"} <= set(shown["frame"]["columns"])
    assert shown["unknown"] == [404, "None of the supplied span_ids exist in this project"]
    assert shown["async"] == ["async"]
    assert id_of(shown["note"], "SpanAnnotation") and id_of(shown["document"], "DocumentAnnotation") != id_of(shown["documents"], "DocumentAnnotation")
    assert len({each["id"] for each in shown["document_frame"]}) == 2
    assert id_of(shown["session"], "ProjectSessionAnnotation") != id_of(shown["session_frame"], "ProjectSessionAnnotation")
    assert id_of(shown["trace"], "TraceAnnotation") != id_of(shown["trace_frame"], "TraceAnnotation")


def test_evals_write_their_results_back(traced: Traced, phoenix_python: Path) -> None:
    """llm.evals.features"""
    given = {**traced.given, "outputs": ["yes please do that", "no"]}
    found = {(span_id, name): rest for span_id, name, *rest in answer_of(phoenix_python, "evals", given)}
    first, second = traced.span_ids
    assert found.keys() == {(span_id, name) for span_id in traced.span_ids for name in ("polite", "words")}
    assert {kind for kind, _, _ in found.values()} == {"CODE"}
    assert found[first, "words"][1] == {"score": 0.4, "label": "long", "explanation": "4 words"}
    assert found[second, "polite"][1]["score"] == 0.0 and found[first, "polite"][1]["score"] == 1.0
    assert found[first, "words"][2]["direction"] == "maximize"


def test_feedback_recorded_with_openinference(live: LiveStack, traced: Traced, phoenix_python: Path) -> None:
    ids = answer_of(phoenix_python, "feedback", traced.given)

    def found(target: str) -> list[dict[str, Any]]:
        params = {f"{target}_ids": ids[f"{target}_id"]}
        answer = httpx.get(f"{traced.url}/v1/projects/{traced.project}/{target}_annotations", params=params, headers=live.headers)
        return list(answer.json()["data"]) if answer.status_code == 200 else []

    def of_span() -> dict[str, dict[str, Any]]:
        annotations = {each["name"]: each for each in found("span")}
        assert annotations.keys() == {"tone", "verdict"}
        return annotations

    annotations = eventually_sync(of_span)
    tone, verdict = annotations["tone"], annotations["verdict"]
    assert (tone["result"]["label"], tone["annotator_kind"], tone["identifier"], tone["metadata"]) == ("kind", "LLM", "judge", {"rubric": 2})
    assert verdict["result"] == {"label": None, "score": 1.0, "explanation": "holds"} and {tone["source"], verdict["source"]} == {"SPAN"}
    (whole,) = found("trace")
    assert whole["name"] == "whole" and whole["result"]["score"] == 0.5


def test_evaluations_are_frames(live: LiveStack, traced: Traced, phoenix_python: Path) -> None:
    """llm.evaluations.list"""
    first, second = traced.span_ids
    spans = [{"name": "tone", "annotator_kind": "LLM", "span_id": span_id, "result": {"score": 1}} for span_id in traced.span_ids]
    documents = [{"name": "fits", "annotator_kind": "LLM", "span_id": first, "document_position": place, "result": {"label": "a"}} for place in (0, 1)]
    for target, data in (("span", spans), ("document", documents)):

        def written(target: str = target, data: list[dict[str, Any]] = data) -> bool:
            answer = httpx.post(f"{traced.url}/v1/{target}_annotations", params={"sync": "true"}, json={"data": data}, headers=live.headers)
            return answer.status_code == 200

        assert eventually_sync(written)
    shown = answer_of(phoenix_python, "evaluations", {**traced.given, "headers": live.headers})
    results = ["score", "label", "explanation"]
    assert shown == {
        "tone": {"index": ["context.span_id"], "columns": results, "rows": sorted([first, second])},
        "fits": {"index": ["context.span_id", "document_position"], "columns": results, "rows": [f"('{first}', {place})" for place in (0, 1)]},
    }
