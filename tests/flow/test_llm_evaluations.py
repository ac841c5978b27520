"""Evaluations of the LLM surface, as earlier clients post and read them."""

import gzip
import io
import os
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pyarrow as pa
import pytest

from schemas.evaluation_wire import Evaluation
from tests.flow.llm_spans import sent
from tests.flow.rows import needs_catalogue, row
from tests.flow.stack import LiveStack

PROTOBUF = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
ARROW = {"content-type": "application/x-pandas-arrow"}


@pytest.fixture
async def client(live: LiveStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=live.url("llm"), headers=live.headers, timeout=20) as client:
        yield client


def message(name: str, score: float | None = None, label: str = "", **subject: Any) -> bytes:
    evaluation = Evaluation(name=name, subject_id=subject)
    if score is not None:
        evaluation.result.score.value = score
    if label:
        evaluation.result.label.value = label
    return gzip.compress(evaluation.SerializeToString())


def frame(name: str, kind: str, columns: dict[str, list[Any]]) -> bytes:
    meaning = {"eval_id": "0", "eval_name": name, "eval_type": kind}
    table = pa.table(columns).replace_schema_metadata({"arize": orjson.dumps(meaning)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def streams(body: bytes) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The rows of each stream by kind and name."""
    found = {}
    source = io.BytesIO(body)
    while source.tell() < len(body):
        with pa.ipc.open_stream(source) as reader:
            meaning = orjson.loads(reader.schema.metadata[b"arize"])
            found[meaning["eval_type"], meaning["eval_name"]] = ordered(reader.read_all().to_pylist())
    return found


def ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: sorted(map(str, row.items())))


@needs_catalogue
async def test_llm_evaluations_create_and_list(live: LiveStack, client: httpx.AsyncClient) -> None:
    """llm.evaluations.create, llm.evaluations.list"""
    creating, listing = row("llm.evaluations.create"), row("llm.evaluations.list")
    there = await sent(client_at_v1(client), "evaluated", {"retrieval.documents.0.document.content": "x"}, {})
    first, second = there.span_ids
    evaluations = "/llm/v1/evaluations"
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (message("tone", 0.0, span_id=first), PROTOBUF),
        (message("tone", label="rude", span_id=second.upper()), PROTOBUF),
        (message("speed", 1.5, trace_id=there.trace_id), PROTOBUF),
        (message("relevance", label="fits", document_retrieval_id={"span_id": first, "document_position": 0}), PROTOBUF),
        (frame("correct", "SpanEvaluations", {"context.span_id": [first, second], "score": [1, 0], "label": ["yes", "no"]}), ARROW),
        (gzip.compress(frame("whole", "TraceEvaluations", {"trace_id": [there.trace_id], "explanation": ["e"]})), {**ARROW, "content-encoding": "gzip"}),
    ]
    positions = [there.position]
    for body, headers in bodies:
        answer = await client.post(creating["path"], content=body, headers=headers)
        assert answer.status_code in creating["status_accept"], answer.text
        assert answer.content == b""
        positions.append(answer.headers["x-millstream-position"])
    waiting = {"x-millstream-wait-for": ",".join(positions)}
    (plain,) = (
        await client.get("/v1/projects/evaluated/span_annotations", params={"span_ids": second, "exclude_annotation_names": "correct"}, headers=waiting)
    ).json()["data"]
    assert (plain["annotator_kind"], plain["identifier"], plain["result"]["label"]) == ("LLM", "", "rude")
    answer = await client.get(listing["path"], params={"project_name": "evaluated"})
    assert answer.status_code in listing["status_accept"] and answer.headers["content-type"] == "application/x-pandas-arrow"
    assert (await client.get(live.url("main") + evaluations, params={"project_name": "evaluated"})).status_code == 200
    nothing = {"label": None, "score": None, "explanation": None}
    of_first, of_second = {**nothing, "context.span_id": first}, {**nothing, "context.span_id": second}
    assert streams(answer.content) == {
        ("TraceEvaluations", "speed"): [{**nothing, "context.trace_id": there.trace_id, "score": 1.5}],
        ("TraceEvaluations", "whole"): [{**nothing, "context.trace_id": there.trace_id, "explanation": "e"}],
        ("SpanEvaluations", "correct"): ordered([{**of_first, "score": 1.0, "label": "yes"}, {**of_second, "score": 0.0, "label": "no"}]),
        ("SpanEvaluations", "tone"): ordered([{**of_first, "score": 0.0}, {**of_second, "label": "rude"}]),
        ("DocumentEvaluations", "relevance"): [{**of_first, "document_position": 0, "label": "fits"}],
    }
    none = await client.get(listing["path"], params={"project_name": "no such project"})
    assert none.status_code == 404 and none.headers["content-type"].startswith("text/plain")
    await sent(client_at_v1(client), "not evaluated")
    assert (await client.get(listing["path"], params={"project-name": "not evaluated"})).status_code == 404
    assert (await client.post(creating["path"], headers={**PROTOBUF, "Authorization": "Bearer wrong"}, content=b"")).status_code == 401


def client_at_v1(client: httpx.AsyncClient) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{client.base_url}/v1", headers=client.headers, timeout=20)


@needs_catalogue
@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "application/json"}, {"content-type": "text/csv"}, {**PROTOBUF, "content-encoding": "br"}, {**ARROW, "content-encoding": "zstd"}],
)
async def test_other_content_is_refused(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """llm.evaluations.create, llm.errors.415"""
    answer = await client.post("/v1/evaluations", content=message("tone", 1.0, span_id="0" * 16), headers=headers)
    assert answer.status_code == 415 and answer.headers["content-type"].startswith("text/plain")
    assert answer.text == row("llm.evaluations.create")["errors"][1]["when"]


SOUND = message("tone", 1.0, span_id="0" * 16)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", PROTOBUF),
        (b"not gzip", PROTOBUF),
        (SOUND[:-9], PROTOBUF),
        (SOUND[:-8] + b"\0" * 8, PROTOBUF),
        (SOUND + b"tail", PROTOBUF),
        (zlib.compress(b"x"), PROTOBUF),
        (gzip.compress(b"\xff" * 20), PROTOBUF),
        (gzip.compress(b""), PROTOBUF),
        (message(" ", 1.0, span_id="0" * 16), PROTOBUF),
        (message("tone", 1.0), PROTOBUF),
        (message("tone", span_id="0" * 16), PROTOBUF),
        (message("tone", 1.0, span_id="text"), PROTOBUF),
        (message("tone", float("nan"), span_id="0" * 16), PROTOBUF),
        (message("tone", 1.0, document_retrieval_id={"span_id": "0" * 16, "document_position": -1}), PROTOBUF),
        (b"ARROW", ARROW),
        (frame("tone", "SpanEvaluations", {"span_id": ["text"], "score": [1]}), ARROW),
        (frame("tone", "SpanEvaluations", {"span_id": ["0" * 16], "score": [float("inf")]}), ARROW),
    ],
    ids=range(17),
)
async def test_what_cannot_be_read_is_refused(client: httpx.AsyncClient, body: bytes, headers: dict[str, str]) -> None:
    answer = await client.post("/v1/evaluations", content=body, headers=headers)
    assert answer.status_code == 422 and answer.headers["content-type"].startswith("text/plain"), (answer.status_code, answer.text)
    assert answer.text


async def test_a_body_that_inflates_beyond_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    for headers in (PROTOBUF, {**ARROW, "content-encoding": "gzip"}):
        assert (await client.post("/v1/evaluations", content=bomb, headers=headers)).status_code == 413
    large = os.urandom(21_000_000)
    assert (await client.post("/v1/evaluations", content=large, headers=PROTOBUF)).status_code == 413


async def test_of_many_evaluations_a_wrong_one_stores_none(client: httpx.AsyncClient) -> None:
    there = await sent(client_at_v1(client), "all or none")
    body = frame("tone", "SpanEvaluations", {"span_id": [there.span_ids[0], "text"], "score": [1, 1]})
    assert (await client.post("/v1/evaluations", content=body, headers=ARROW)).status_code == 422
    found = await client.get(
        "/v1/projects/all or none/span_annotations", params={"span_ids": there.span_ids[0]}, headers={"x-millstream-wait-for": there.position}
    )
    assert found.json()["data"] == []
