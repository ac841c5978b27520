"""The one model of LLM spans, from both conventions."""

import json
from typing import Any

import pytest

from schemas.any_value import Value
from schemas.llm_model import KIND_OF_OPERATION, NAMES, flat, kind_of, openinference, provider_names


def added(attributes: dict[str, Value]) -> dict[str, Any]:
    """What the model says beside what came."""
    found = openinference(attributes)
    assert attributes.items() <= found.items(), "the originals are kept"
    return {name: value for name, value in found.items() if name not in attributes}


@pytest.mark.parametrize(("name", "sources"), NAMES.items())
def test_every_name_of_the_table(name: str, sources: tuple[str, ...]) -> None:
    for at, source in enumerate(sources):
        assert added({source: "x"})[name] == "x"
        assert added({each: f"x{number}" for number, each in enumerate(sources[at:])})[name] == "x0", "the first one present counts"
        assert name not in added({source: "x", name: "own"}), "what a span says in OpenInference's terms wins"


def test_a_span_without_the_genai_conventions_stays_as_it_is() -> None:
    plain: dict[str, Value] = {"input.value": "x", "http.status": 200, "llm.token_count.prompt": 3}
    assert openinference(plain) == plain


@pytest.mark.parametrize(("operation", "kind"), KIND_OF_OPERATION.items())
def test_kinds(operation: str, kind: str) -> None:
    assert kind_of({"gen_ai.operation.name": operation}) == kind == added({"gen_ai.operation.name": operation})["openinference.span.kind"]
    assert kind_of({"gen_ai.operation.name": operation, "openinference.span.kind": "guardrail"}) == "GUARDRAIL"


def test_no_kind() -> None:
    assert kind_of({}) == "" and kind_of({"gen_ai.operation.name": "unheard of"}, "CHAIN") == "CHAIN"


def test_tokens() -> None:
    assert added({"gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 4}) == {
        "llm.token_count.prompt": 3, "llm.token_count.completion": 4, "llm.token_count.total": 7
    }  # fmt: skip
    assert openinference({"llm.token_count.prompt": "12", "llm.token_count.total": 3.0, "llm.token_count.completion": "many"}) == {
        "llm.token_count.prompt": 12, "llm.token_count.total": 3, "llm.token_count.completion": "many"
    }  # fmt: skip


def test_providers() -> None:
    assert added({"gen_ai.provider.name": "aws.bedrock"}) == {"llm.provider": "aws"} and added({"gen_ai.system": "openai"}) == {"llm.provider": "openai"}
    assert set(provider_names("google")) == {"google", "gcp.gemini", "gcp.gen_ai", "gcp.vertex_ai"} and provider_names("openai") == ("openai",)


MESSAGES = [
    {"role": "user", "parts": [{"type": "text", "content": "one "}, {"type": "text", "content": "two"}]},
    {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "search", "arguments": {"q": "x"}}], "finish_reason": "tool_call"},
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"found": 1}}]},
    {
        "role": "user",
        "parts": [{"type": "text", "content": "see"}, {"type": "uri", "uri": "http://x/y.png"}, {"type": "blob", "mime_type": "image/png", "content": "AA=="}],
    },
    {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}]},
]


def said(number: int, **fields: str) -> dict[str, str]:
    return {f"llm.input_messages.{number}.message.{name.replace('__', '.')}": value for name, value in fields.items()}


def test_messages_as_text_and_as_values() -> None:
    expected = {
        **said(0, role="system", content="be brief"),
        **said(1, role="user", content="one two"),
        **said(2, role="assistant", finish_reason="tool_call", tool_calls__0__tool_call__id="c1", tool_calls__0__tool_call__function__name="search"),
        **said(2, tool_calls__0__tool_call__function__arguments='{"q":"x"}'),
        **said(3, role="tool", content='{"found":1}', tool_call_id="c1"),
        **said(4, role="user", contents__0__message_content__type="text", contents__0__message_content__text="see"),
        **said(4, contents__1__message_content__type="image", contents__1__message_content__image__image__url="http://x/y.png"),
        **said(4, contents__2__message_content__type="image", contents__2__message_content__image__image__url="data:image/png;base64,AA=="),
        **said(5, role="assistant", contents__0__message_content__type="reasoning", contents__0__message_content__text="hm"),
    }
    text = json.dumps(MESSAGES)
    assert added({"gen_ai.system_instructions": '[{"type": "text", "content": "be brief"}]', "gen_ai.input.messages": text}) == expected
    values = openinference({"gen_ai.system_instructions": "be brief", "gen_ai.input.messages": MESSAGES})
    assert expected.items() <= values.items(), "a list of objects says the same as its text"


@pytest.mark.parametrize("text", ["", "[", "nonsense", "{}", "[1, null, []]", '[{"parts": 1}]', '[{"parts": [1, {"type": null}]}]', '[{"role": {}}]', "1"])
def test_messages_that_are_none_break_nothing(text: str) -> None:
    for name in ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.retrieval.documents"):
        assert openinference({name: text})[name] == text


def test_numbered_messages_of_earlier_instrumentations() -> None:
    assert added({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi", "gen_ai.completion.0.content": "ho", "gen_ai.prompt.x.role": "no"}) == {
        "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "hi", "llm.output_messages.0.message.content": "ho"
    }  # fmt: skip


def test_tools_and_documents() -> None:
    tools = '[{"name": "f", "description": "d", "input_schema": {"type": "object"}}, {"type": "function", "function": {"name": "g"}}]'
    shown = added({"gen_ai.tool.definitions": tools})
    assert json.loads(shown["llm.tools.0.tool.json_schema"]) == {
        "type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}
    }  # fmt: skip
    assert json.loads(shown["llm.tools.1.tool.json_schema"]) == {"type": "function", "function": {"name": "g"}}
    documents = '[{"id": "7", "score": 0.5, "content": "text"}]'
    found = added({"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.query.text": "q", "gen_ai.retrieval.documents": documents})
    assert found == {
        "openinference.span.kind": "RETRIEVER", "input.value": "q", "retrieval.documents.0.document.id": "7",
        "retrieval.documents.0.document.score": 0.5, "retrieval.documents.0.document.content": "text",
    }  # fmt: skip


def test_a_tool_call() -> None:
    found = added({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "f", "gen_ai.tool.call.arguments": '{"a": 1}', "gen_ai.tool.call.result": "ok"})
    assert found == {"openinference.span.kind": "TOOL", "tool.name": "f", "tool.parameters.a": 1, "input.value": '{"a": 1}', "output.value": "ok"}


def test_parameters() -> None:
    found = added({"gen_ai.request.temperature": 0.5, "gen_ai.request.stop_sequences": ["a"], "gen_ai.request.choice.count": 2})
    assert json.loads(found["llm.invocation_parameters"]) == {"temperature": 0.5, "stop": ["a"], "n": 2}
    found = added({"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e", "gen_ai.request.encoding_formats": ["float"]})
    assert found["embedding.model_name"] == "e" and json.loads(found["embedding.invocation_parameters"]) == {"encoding_formats": ["float"]}


def test_json_text() -> None:
    carried: dict[str, Value] = {
        "metadata": '{"a": {"b": 1}, "c": [1, 2]}', "tool.parameters": "{}", "llm.prompt_template.variables": '{"x": "y"}',
        "retrieval.documents.0.document.metadata": '{"page": 3}', "input.value": '{"kept": 1}', "llm.invocation_parameters": '{"kept": 1}',
    }  # fmt: skip
    assert openinference(carried) == {
        "metadata.a.b": 1, "metadata.c": [1, 2], "tool.parameters": {}, "llm.prompt_template.variables.x": "y",
        "retrieval.documents.0.document.metadata.page": 3, "input.value": '{"kept": 1}', "llm.invocation_parameters": '{"kept": 1}',
    }  # fmt: skip
    for text in ("no JSON", "[1]", '"text"', "3", "{", ""):
        assert openinference({"metadata": text}) == {"metadata": text}
    assert openinference(carried, json_texts=False) == carried


def test_flat() -> None:
    assert flat({"a.b": 1, "a": {"c": 2}, "d": [{"e": 1}, {"f": b"\xff"}], "g": [1, {"h": 2}], "i": {}, "j": []}) == {
        "a.b": 1, "a.c": 2, "d.0.e": 1, "d.1.f": "/w==", "g": [1, {"h": 2}], "i": {}, "j": []
    }  # fmt: skip
