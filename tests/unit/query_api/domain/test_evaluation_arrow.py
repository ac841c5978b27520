"""Streams of evaluations: what is read from them, what is refused, and that what is written reads back."""

import contextlib
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.runtime.errors import MillstreamError, TooLarge, ValidationFailed
from query_api.domain.annotations import Draft
from query_api.domain.evaluation_arrow import EvaluationStream, read
from schemas.annotation import Annotation, Key, Target

IDS = ["a" * 16, "B" * 16]
ROWS, BYTES = 1_000, 1_000_000


def body(columns: dict[str, Any], *, meaning: Any = None, compression: str | None = None) -> bytes:
    told = {"eval_id": "x", "eval_name": "tone", "eval_type": "SpanEvaluations"} if meaning is None else meaning
    table = pa.table(columns).replace_schema_metadata({"arize": json.dumps(told)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def of(kind: str) -> dict[str, str]:
    return {"eval_name": "tone", "eval_type": kind}


def test_spans() -> None:
    found = read(body({"context.span_id": IDS, "score": [1, None], "label": ["x", None], "explanation": [None, "y"], "extra": [[1], [2]]}), ROWS, BYTES)
    assert found == ("span", [Draft("a" * 16, "tone", "LLM", "x", 1.0), Draft("b" * 16, "tone", "LLM", None, None, "y")])


def test_traces_and_documents_by_either_name() -> None:
    assert read(body({"trace_id": ["c" * 32], "score": [True]}, meaning=of("TraceEvaluations")), ROWS, BYTES) == (
        "trace",
        [Draft("c" * 32, "tone", "LLM", None, 1.0)],
    )
    found = read(body({"span_id": IDS, "position": [0, 3], "label": ["x", "y"]}, meaning=of("DocumentEvaluations")), ROWS, BYTES)
    assert [(draft.target_id, draft.position) for draft in found.drafts] == [("a" * 16, 0), ("b" * 16, 3)] and found.target == "document"


def test_categories_and_rows_that_say_nothing() -> None:
    labels = pa.array(["x", None]).dictionary_encode()
    found = read(body({"span_id": IDS, "label": labels, "score": [float("nan"), float("nan")]}), ROWS, BYTES)
    assert found.drafts == [Draft("a" * 16, "tone", "LLM", "x")]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"nonsense",
        body({"span_id": IDS, "score": [1, 2]})[:200],
        body({"span_id": IDS, "score": [1, 2]}, meaning={}),
        body({"span_id": IDS, "score": [1, 2]}, meaning=[]),
        body({"span_id": IDS, "score": [1, 2]}, meaning={"eval_name": " ", "eval_type": "SpanEvaluations"}),
        body({"span_id": IDS, "score": [1, 2]}, meaning=of("Evaluations")),
        body({"span_id": IDS}),
        body({"score": [1, 2]}),
        body({"span_id": [1, 2], "score": [1, 2]}),
        body({"span_id": IDS, "score": ["a", "b"]}),
        body({"span_id": IDS, "label": [["a"], ["b"]]}),
        body({"span_id": [None, None], "score": [1, 2]}),
        body({"span_id": IDS, "score": [1, 2]}, meaning=of("DocumentEvaluations")),
        body({"span_id": IDS, "score": [1, 2]}, compression="zstd"),
        body({"span_id": IDS, "label": pa.array(["a", "b"]).dictionary_encode()}, compression="lz4"),
    ],
    ids=range(16),
)
def test_what_is_no_stream_of_evaluations_is_refused(bad: bytes) -> None:
    with pytest.raises(ValidationFailed):
        read(bad, ROWS, BYTES)


def test_what_unfolds_beyond_the_limits_is_refused() -> None:
    with pytest.raises(TooLarge):
        read(body({"span_id": pa.nulls(10**9), "score": pa.nulls(10**9)}), ROWS, BYTES)
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array(["x" * (BYTES // 100)]))
    with pytest.raises(TooLarge):
        read(body({"span_id": ["a" * 16] * ROWS, "label": shared}), ROWS, BYTES)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_streams_raise_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(body({"span_id": IDS, "label": pa.array(["a", "b"]).dictionary_encode(), "explanation": ["x", "y"]}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MillstreamError):
        read(bytes(whole), ROWS, BYTES)


@pytest.mark.parametrize("target", ["span", "trace", "document"])
def test_what_is_written_reads_back(target: Target) -> None:
    position = 4 if target == "document" else -1
    pages = [[Annotation(Key(target, f"{number:032x}", position, "tone", ""), "LLM", "l", float(number), None, "API", 1, 2)] for number in range(3)]
    stream = EvaluationStream(target, "tone")
    written = b"".join(stream.piece(page) for page in pages) + stream.end()
    found = read(written, ROWS, BYTES)
    assert found.target == target
    assert found.drafts == [Draft(f"{number:032x}", "tone", "LLM", "l", float(number), position=position) for number in range(3)]
