"""Spans as a DataFrame, and its query language, through the unmodified Python client of Arize Phoenix."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from schemas.global_id import parse
from tests.clients.phoenix_scripts import answer_of
from tests.flow.llm_client import SECOND, llm_client, new_trace, now, otlp_span
from tests.flow.stack import KEY, LiveStack

_CALL: dict[str, Any] = {
    "openinference.span.kind": "LLM", "input.value": "How is the WEATHER?", "llm.model_name": "m-1", "llm.token_count.prompt": 7,
    "llm.token_count.completion": 5, "metadata": '{"tier": "gold", "n": 1}', "share": 0.5,
    "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "How is the WEATHER?",
}  # fmt: skip
_FIND: dict[str, Any] = {
    f"retrieval.documents.{number}.document.{name}": value for number in range(2) for name, value in (("content", f"D{number}"), ("score", number / 2))
}


@pytest.fixture
async def stored(live: LiveStack) -> dict[str, Any]:
    """Three spans of a trace, and what a script needs to find them."""
    project, trace, start = f"frames {uuid.uuid4().hex}", new_trace(), now() - 60 * SECOND
    async with llm_client(live) as llm:
        await llm.send(
            project,
            otlp_span(trace, "turn", start=start, seconds=5, span_id="a1" * 8, openinference__span__kind="CHAIN"),
            otlp_span(trace, "call", start=start + SECOND, parent="a1" * 8, **_CALL),
            otlp_span(trace, "find", start=start + 2 * SECOND, parent="ee" * 8, **_FIND, openinference__span__kind="RETRIEVER", input__value="w"),
        )
        (call,) = [span for span in await llm.listed(f"/projects/{project}/spans") if span["name"] == "call"]
        body = {"name": "quality", "annotator_kind": "CODE", "span_id": call["context"]["span_id"], "result": {"label": "good", "score": 0.9}}
        assert (await llm.http.post("/span_annotations", params={"sync": True}, json={"data": [body]})).status_code == 200
        project_id = (await llm.get(f"/projects/{project}")).json()["data"]["id"]
    assert parse(project_id) is not None
    return {"project": project, "project_id": project_id, "trace": trace, "client": {"base_url": live.url("llm"), "api_key": KEY}}


def test_spans_as_a_dataframe(stored: dict[str, Any], phoenix_python: Path) -> None:
    shown = answer_of(phoenix_python, "dataframe", stored)
    assert shown["rows"] == [3, "context.span_id", ["find", "call", "turn"]]
    assert shown["types"] == {"start_time": "datetime64[ns, UTC]", "attributes.llm.token_count.prompt": "float64", "attributes.share": "float64"}
    assert shown["zone"] == "UTC" and shown["parents"] == [True, True, False]
    assert shown["messages"] == [[{"message.role": "user", "message.content": "How is the WEATHER?"}]]
    assert shown["documents"] == [[{"document.content": "D0", "document.score": 0}, {"document.content": "D1", "document.score": 0.5}]]
    assert shown["metadata"] == [{"tier": "gold", "n": 1}]
    assert shown["where"] == shown["metadata_where"] == shown["evals"] == shown["async"] == ["call"]
    assert shown["tokens"] == ["call", "turn"] and shown["roots"] == [["find", "turn"], ["turn"]] and shown["roots_only"] == ["find", "turn"]
    assert shown["limit"] == ["find"] and shown["times"] == ["turn"] and shown["future"] == 0 == shown["unknown"] and shown["by_id"] == 3 == shown["by_name"]
    columns = ["context.trace_id", "gone", "latency_ms", "llm.model_name", "title"]
    assert shown["selected"] == ["context.span_id", columns, ["find", "call", "turn"], ["m-1"]]
    assert shown["indexed"] == ["context.trace_id", [stored["trace"]]]
    assert shown["exploded"] == [["context.span_id", "document_position"], [[0, "D0", 0.0], [1, "D1", 0.5]]]
    assert shown["bare"] == ["document.content", "document.score", "name"]
    assert shown["joined"] == ["D0\n\nD1"] and shown["merged"] == [0.5]
    assert shown["refused"][0] == 422 and "did you mean `span_kind`?" in shown["refused"][1]
