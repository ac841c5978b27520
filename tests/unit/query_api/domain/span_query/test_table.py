"""Pages of decoded attributes become columns, and columns a table: nesting, types, gaps, and values that are no JSON."""

import math
from base64 import b64encode
from typing import Any

import orjson
import pyarrow as pa
import pytest

from infra.runtime.errors import QueryLimit, ValidationFailed
from query_api.domain.span_query import frame as frames
from query_api.domain.span_query.columns import Attributes, Column
from query_api.domain.span_query.frame import Frame
from query_api.domain.span_query.query import understood
from query_api.domain.span_query.shapes import Hole, Shape
from schemas.any_value import Value, encode


def page(*spans: dict[str, Value]) -> Attributes:
    """As the reader gives the attributes of spans."""
    shapes, values = [], []
    for span in spans:
        raw = {name: encode(value) for name, value in span.items()}
        shapes.append(orjson.dumps(list(span)).decode() + "".join(chr(value[0]) if value else "0" for value in raw.values()))
        values.append([b64encode(raw[name]).decode() if raw[name][:1] >= b"*" else shown(value) for name, value in span.items()])
    return Attributes(pa.table({"shape": shapes, "values": pa.array(values, pa.list_(pa.string()))}))


def shown(value: Value) -> str:
    return "null" if isinstance(value, float) and not math.isfinite(value) else orjson.dumps(value).decode()


def read(column: Column) -> list[Any]:
    return [None if text is None else orjson.loads(text) for text in column.texts.to_pylist()]


def test_columns_of_several_shapes() -> None:
    columns = page({"a": 1}, {"b": "x", "a": "y"}, {}, {"a": 2.5}, {"a": math.inf}, {"a": None}).everything()
    assert {name: read(column) for name, column in columns.items()} == {"a": [1, "y", None, 2.5, None, None], "b": [None, "x", None, None, None, None]}
    assert columns["a"].kinds == {"integer", "text", "number"} and columns["b"].kinds == {"text"}


@pytest.mark.parametrize(
    ("attributes", "columns"),
    [
        ({"llm.tools.1.tool.name": "b", "llm.tools.0.tool.name": "a"}, {"llm.tools": [{"tool.name": "a"}, {"tool.name": "b"}]}),
        ({"my.list.0": "a", "my.list.1": "b"}, {"my": {"list": {"0": "a", "1": "b"}}}),
        ({"my.list.0.x": 1, "my.list.name": 2}, {"my": {"list": {"0": {"x": 1}, "name": 2}}}),
        ({"a": 1, "a.b": 2}, {"a": 1, "a.b": 2}),
        ({"x.a": 1, "x.a.b": 2}, {"x": {"a": 1, "a.b": 2}}),
        ({"metadata": '{"k": [1]}'}, {"metadata": {"k": [1]}}),
        ({"metadata": "no JSON"}, {"metadata": "no JSON"}),
        ({"input.value": '{"k": 1}'}, {"input.value": '{"k": 1}'}),
        ({"raw": b"\xff", "kv": {"a": [1, {"b": None}]}, "none": []}, {"raw": "/w==", "kv": {"a": [1, {"b": None}]}, "none": []}),
        ({"gen_ai.request.model": "m", "gen_ai.operation.name": "chat"}, {"llm.model_name": "m", "openinference.span.kind": "LLM", "gen_ai": {"request": {"model": "m"}, "operation": {"name": "chat"}}}),
    ],
)  # fmt: skip
def test_all_columns(attributes: dict[str, Value], columns: dict[str, Any]) -> None:
    assert {name: read(column)[0] for name, column in page(attributes).everything().items()} == columns


def test_what_is_at_a_path() -> None:
    attributes = page({"metadata": '{"a": {"b": [5]}}', "docs.0.document.id": "x", "kv": {"k": "v"}, "n": 1})
    paths: dict[tuple[str | int, ...], Any] = {
        ("metadata", "a", "b", 0): 5, ("docs",): [{"document": {"id": "x"}}], ("docs", 0, "document", "id"): "x", ("kv", "k"): "v", ("n", "x"): None, ("gone",): None
    }  # fmt: skip
    assert {path: read(attributes.find(path))[0] for path in paths} == paths
    assert read(page({"a.b": 1}, {}).nested()) == [{"a": {"b": 1}}, {}]


def test_a_shape_is_read_from_its_text() -> None:
    shape = Shape.of('["a]","b"]\n0')
    assert (shape.names, shape.kinds) == (("a]", "b"), "\n0") and shape.everything() == {"a]": (Hole(0),)}


def _column(*values: Any, kinds: set[str]) -> Column:
    return Column(pa.array([None if value is None else orjson.dumps(value).decode() for value in values], pa.string()), kinds)


def test_a_table_grows_by_columns_and_rows() -> None:
    table = Frame(["id"])
    table.add([_column("s1", "s2", kinds={"text"})], {"n": _column(1, 2, kinds={"integer"})}, 2)
    table.add(
        [_column("s3", kinds={"text"})], {"n": _column(None, kinds=set()), "late": _column(True, kinds={"boolean"}), "id": _column("s3", kinds={"text"})}, 1
    )
    whole = orjson.loads(b"".join(table.json()))
    assert whole["data"] == {"0_id": ["s1", "s2", "s3"], "1_n": [1, 2, None], "2_late": [None, None, True], "3_id": [None, None, "s3"]}
    assert [field["type"] for field in whole["schema"]["fields"]] == ["string", "number", "string", "string"] and whole["schema"]["primaryKey"] == ["0_id"]
    assert table.table().column("n").to_pylist() == [1, 2, None] and table.table().column_names == ["__index_level_0__", "n", "late", "id"]
    table.close()


def test_a_table_has_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_CELLS", 3)
    table = Frame(["id"])
    with pytest.raises(QueryLimit, match="3 cells"):
        table.add([_column("a", "b", kinds={"text"})], {"n": _column(1, 2, kinds={"integer"})}, 2)
    table.close()


def test_queries_are_understood() -> None:
    query = understood(
        {"select": {"span_id": {"key": "context.span_id"}}, "explode": {"key": "retrieval.documents", "primary_index_key": "trace_id"}, "concat": {"key": ""}}
    )
    assert (query.index, query.position, query.concat, query.everything) == ("context.trace_id", "document_position", None, False)
    assert list(query.select) == ["context.span_id"] and understood({"filter": {"condition": " "}}).everything
    for wrong in ({"select": [1]}, {"rename": {"a": 1}}, {"explode": {"key": 5}}, {"select": {"a": {"key": "1 + 1"}}}, {"filter": {"condition": 5}}):
        with pytest.raises(ValidationFailed, match="Invalid query"):
            understood(wrong)
