"""Spans as tables over HTTP: columns and their types, filters, selected, exploded and joined values, roots, limits and what is refused."""

from typing import Any

import orjson
import pyarrow as pa
import pytest

from tests.flow.llm_client import SECOND, LlmClient, new_trace, now, otlp_span

Json = dict[str, Any]


class Table:
    """A table of an answer, by column without the numbers in front."""

    def __init__(self, text: bytes) -> None:
        whole = orjson.loads(text)
        fields = [field["name"] for field in whole["schema"]["fields"]]
        assert [int(name.partition("_")[0]) for name in fields] == list(range(len(fields)))
        self.index = [name.partition("_")[2] for name in whole["schema"]["primaryKey"]]
        levels = len(self.index)
        self.levels = [whole["data"][name] for name in fields[:levels]]
        self.columns = {name.partition("_")[2]: whole["data"][name] for name in fields[levels:]}
        self.types = {field["name"].partition("_")[2]: field["type"] for field in whole["schema"]["fields"]}


async def tables(llm: LlmClient, project: str, *queries: Json, **body: Any) -> list[Table]:
    headers = {"accept": "application/json", "x-millstream-wait-for": llm.position}
    answer = await llm.http.post("/spans", params={"project_name": project}, json={"queries": queries or [{}], **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    boundary = answer.headers["content-type"].removeprefix("multipart/mixed; boundary=").encode()
    *parts, end = answer.content.split(b"--" + boundary)
    assert parts[0] == b"" and end == b"--\r\n"
    return [Table(part.removeprefix(b"\r\nContent-Type: application/json\r\n\r\n")) for part in parts[1:]]


async def table(llm: LlmClient, project: str, query: Json | None = None, **body: Any) -> Table:
    (one,) = await tables(llm, project, query or {}, **body)
    return one


def where(condition: str, **more: Any) -> Json:
    return {"filter": {"condition": condition}, **more}


def select(*names: str, **more: Any) -> Json:
    return {"select": {name: {"key": name} for name in names}, **more}


async def test_all_columns(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now() - 60 * SECOND
    call: Json = {
        "openinference.span.kind": "LLM", "llm.model_name": "m-1", "llm.token_count.prompt": 7, "metadata": '{"tier": "gold"}', "tag.tags": ["a", "b"],
        "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": 'say "hi"',
        "llm.input_messages.0.message.tool_calls.0.tool_call.function.name": "f", "llm.input_messages.1.message.role": "system",
        "app.user": {"name": "x"}, "app.level": 3, "share": 0.5, "on": True,
    }  # fmt: skip
    other: Json = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m-2",
        "gen_ai.usage.input_tokens": 3,
        "share": 2,
        "retrieval.documents.0.document.id": "d",
    }
    await llm.send(project, otlp_span(trace, "call", start=start, span_id="a1" * 8, **call))
    event = {"name": "thought", "timeUnixNano": str(start), "attributes": [{"key": "k", "value": {"intValue": "1"}}]}
    await llm.send(project, otlp_span(trace, "other", start=start + SECOND, seconds=None, parent="a1" * 8, span_id="b2" * 8, **other) | {"events": [event]})
    found = await table(llm, project)
    assert found.index == ["context.span_id"] and found.levels == [["b2" * 8, "a1" * 8]], "the newest first"
    columns, types = found.columns, found.types
    assert list(columns)[:10] == [
        "name", "span_kind", "parent_id", "start_time", "end_time", "status_code", "status_message", "events", "context.span_id", "context.trace_id",
    ]  # fmt: skip
    assert columns["span_kind"] == ["LLM", "LLM"] and columns["parent_id"] == ["a1" * 8, None] and columns["context.trace_id"] == [trace, trace]
    assert columns["end_time"][0] is None and types["end_time"] == types["start_time"] == "datetime", "one still runs"
    assert columns["start_time"][1].startswith("20") and columns["start_time"][1].endswith("000Z")
    (shown,) = columns["events"][0]
    assert (shown["name"], shown["attributes"]) == ("thought", {"k": 1}) and columns["events"][1] == []
    assert columns["attributes.llm.model_name"] == ["m-2", "m-1"], "names of other conventions are ours too"
    assert columns["attributes.llm.token_count.prompt"] == [3, 7] and types["attributes.llm.token_count.prompt"] == "integer"
    assert columns["attributes.metadata"] == [None, {"tier": "gold"}] and columns["attributes.tag.tags"] == [None, ["a", "b"]]
    messages = [
        {"message.role": "user", "message.content": 'say "hi"', "message.tool_calls": [{"tool_call.function.name": "f"}]},
        {"message.role": "system"},
    ]
    assert columns["attributes.llm.input_messages"] == [None, messages]
    assert columns["attributes.retrieval.documents"] == [[{"document.id": "d"}], None]
    assert columns["attributes.app"] == [None, {"user": {"name": "x"}, "level": 3}]
    assert columns["attributes.share"] == [2, 0.5] and types["attributes.share"] == "number"
    assert columns["attributes.on"] == [None, True] and types["attributes.on"] == "string", "pandas has no boolean with gaps"
    assert columns["attributes.gen_ai"][0]["request"] == {"model": "m-2"}


async def test_filters_selection_and_index(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now() - 60 * SECOND
    await llm.send(
        project,
        otlp_span(trace, "root", start=start, span_id="a1" * 8, seconds=2, openinference__span__kind="AGENT", input__value="The Weather"),
        otlp_span(trace, "child", start=start + SECOND, span_id="b2" * 8, parent="a1" * 8, llm__token_count__prompt=30, metadata='{"a": {"b": 1}}'),
        otlp_span(trace, "orphan", start=start + 2 * SECOND, span_id="c3" * 8, parent="ee" * 8, status=2),
    )
    body = {"name": "quality", "annotator_kind": "CODE", "span_id": "b2" * 8, "result": {"label": "good", "score": 0.9}}
    answer = await llm.http.post("/span_annotations", params={"sync": True}, json={"data": [body]})
    assert answer.status_code == 200, answer.text

    async def names(condition: str, **more: Any) -> list[str]:
        found: list[str] = (await table(llm, project, where(condition, **select("name")), **more)).columns["name"]
        return found

    assert await names("span_kind == 'agent' and 'weather' in input.value and latency_ms > 1999") == ["root"]
    assert await names("parent_span is None") == ["orphan", "root"] == await names("name != 'x'", root_spans_only=True)
    assert await names("parent_id is None") == ["root"] == await names("name != 'x'", root_spans_only=True, orphan_span_as_root_span=False)
    assert await names("evals['quality'].label == 'good' and annotations['quality'].score > 0.5") == ["child"]
    assert await names("status_code == 'ERROR' or metadata['a']['b'] == 1") == ["orphan", "child"]
    assert await names("cumulative_token_count.total == 30") == ["child", "root"]
    assert await names("name != 'x'", limit=2) == ["orphan", "child"] and await names("name != 'x'", limit=0) == []

    query = {
        "select": {
            "context.span_id": {"key": "span_id"}, "name": {"key": "name"}, "b": {"key": "metadata['a']['b']"}, "m": {"key": "metadata"},
            "ms": {"key": "latency_ms"}, "q": {"key": "annotations['quality'].label"}, "gone": {"key": "no.such"}, "all": {"key": "attributes"},
        },
        "index": {"key": "trace_id"}, "rename": {"name": "title"},
    }  # fmt: skip
    found = await table(llm, project, query)
    assert found.index == ["context.trace_id"] and found.levels == [[trace] * 3]
    assert found.columns["context.span_id"] == ["c3" * 8, "b2" * 8, "a1" * 8] and found.columns["title"] == ["orphan", "child", "root"]
    assert found.columns["b"] == [None, 1, None] and found.columns["m"] == [None, {"a": {"b": 1}}, None] and found.types["b"] == "number"
    assert found.columns["ms"] == [1000, 1000, 2000] and found.columns["q"] == [None, "good", None] and found.columns["gone"] == [None] * 3
    assert found.columns["all"][2] == {"openinference": {"span": {"kind": "AGENT"}}, "input": {"value": "The Weather"}}
    first, second = await tables(llm, project, select("name"), where("name == 'root'"), limit=1)
    assert first.columns == {"name": ["orphan"]} and second.columns["name"] == ["root"]
    times = (await table(llm, project)).columns["start_time"]
    assert (await table(llm, project, select("name"), start_time=times[1][:26] + "Z", end_time=times[0][:26] + "Z")).columns["name"] == ["child"]

    answer = await llm.http.delete(f"/spans/{'c3' * 8}")
    assert answer.status_code == 204, answer.text
    assert (await table(llm, project, select("name"))).columns["name"] == ["child", "root"], "what was deleted is gone here too"


async def test_items_of_lists(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now() - 60 * SECOND
    documents: Json = {
        f"retrieval.documents.{number}.document.{name}": value for number in range(3) for name, value in (("content", f"D{number}"), ("score", number))
    }
    await llm.send(
        project,
        otlp_span(trace, "find", start=start, span_id="a1" * 8, **documents, retrieval__documents__1__document__metadata='{"page": 4}'),
        otlp_span(trace, "none", start=start + SECOND, span_id="b2" * 8, tag__tags=["x", "y"]),
    )
    kwargs = {"content": "document.content", "score": "document.score", "page": "document.metadata.page"}
    found = await table(llm, project, {"explode": {"key": "retrieval.documents", "kwargs": kwargs, "primary_index_key": "context.span_id"}, **select("name")})
    assert found.index == ["context.span_id", "document_position"] and found.levels == [["a1" * 8] * 3, [0, 1, 2]]
    assert found.columns == {"name": ["find"] * 3, "content": ["D0", "D1", "D2"], "score": [0, 1, 2], "page": [None, 4, None]}
    found = await table(llm, project, {"explode": {"key": "retrieval.documents"}})
    assert found.columns["document.content"] == ["D0", "D1", "D2"] and found.columns["document.score"] == [0, 1, 2]
    found = await table(llm, project, {"concat": {"key": "retrieval.documents", "kwargs": {"text": "document.content"}, "separator": "|"}, **select("name")})
    assert found.levels == [["a1" * 8]] and found.columns == {"name": ["find"], "text": ["D0|D1|D2"]}
    found = await table(llm, project, {"concat": {"key": "tag.tags"}})
    assert found.levels == [["b2" * 8]] and found.columns == {"tag.tags": ["x\n\ny"]}
    both = {
        "explode": {"key": "retrieval.documents", "kwargs": {"score": "document.score"}},
        "concat": {"key": "retrieval.documents", "kwargs": {"all": "document.content"}},
    }
    found = await table(llm, project, both)
    assert found.columns == {"all": ["D0\n\nD1\n\nD2"] * 3, "score": [0, 1, 2]}


async def test_nothing_found_is_a_table_too(llm: LlmClient, project: str) -> None:
    found = await table(llm, project)
    assert found.index == ["context.span_id"] and found.levels == [[]] and len(found.columns) == 10 and not any(found.columns.values())
    found = await table(llm, project, {"explode": {"key": "retrieval.documents", "kwargs": {"c": "document.content"}}})
    assert found.index == ["context.span_id", "document_position"] and found.columns == {"c": []}


async def test_arrow_for_older_clients(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now() - 60 * SECOND
    await llm.send(project, otlp_span(trace, "a", start=start, span_id="a1" * 8, n=1, tags=["x"]), otlp_span(trace, "b", start=start + SECOND, n=2.5))
    headers = {"x-millstream-wait-for": llm.position}
    answer = await llm.http.post("/spans", params={"project_name": project}, json={"queries": [{}, select("name", "n")]}, headers=headers)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/x-pandas-arrow"
    source = pa.BufferReader(answer.content)
    first, second = pa.ipc.open_stream(source).read_all(), pa.ipc.open_stream(source).read_all()
    assert first.column("name").to_pylist() == ["b", "a"] and first.column("attributes.tags").to_pylist() == [None, ["x"]]
    assert first.schema.field("start_time").type == pa.timestamp("ns", "UTC")
    assert orjson.loads(first.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]
    assert second.column("n").to_pylist() == [2.5, 1] and orjson.loads(second.schema.metadata[b"pandas"])["index_columns"] == ["context.span_id"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (where("span_kind = 'LLM'"), "Invalid filter condition at line 1, column 11: cannot be read from here on (invalid syntax); write `==` to compare"),
        (where("name == 'x' and"), "Invalid filter condition at line 1, column 16: the condition ends too early"),
        (where("span_knd == 'LLM'"), "did you mean `span_kind`?"),
        (where("__import__('os').system('true') == 0"), "cannot be called"),
        (where("[x for x in name] == 1"), "cannot be part of a value"),
        (where("latency_ms > '100'"), "write 100 without quotes"),
        (where("evals['q'].lable == 'x'"), "did you mean `label`?"),
        (where("(" * 300 + "name" + ")" * 300 + " == 'x'"), "Invalid filter condition"),
        (where("name == 'x' or " * 1_000 + "name == 'y'"), "10000 is the most"),
        (select("name +"), "Invalid query: select of name +, line 1, column 7"),
        ({"explode": {"key": "latency_ms"}}, "is no list"),
        ({"select": {"a": {"key": 7}}}, "must be a text"),
    ],
)
async def test_what_cannot_be_understood_is_refused(llm: LlmClient, query: Json, told: str) -> None:
    """Row llm.errors.422."""
    answer = await llm.http.post("/spans", json={"queries": [query]}, headers={"accept": "application/json"})
    assert answer.status_code == 422 and answer.headers["content-type"].startswith("text/plain"), answer.text
    assert told in answer.text, answer.text


async def test_wrong_fields_are_listed(llm: LlmClient) -> None:
    answer = await llm.http.post("/spans", json={"queries": [], "limit": -1})
    assert answer.status_code == 422 and {tuple(fault["loc"]) for fault in answer.json()["detail"]} == {("body", "queries"), ("body", "limit")}
