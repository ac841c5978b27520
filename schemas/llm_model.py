"""One model of LLM spans, whichever convention a program speaks: OpenInference's names, with what came kept beside them.

Attributes of OpenTelemetry's conventions for generative AI (https://github.com/open-telemetry/semantic-conventions-genai) are given the
names of OpenInference (https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md) in addition to their own; where a
span carries both, OpenInference's wins. `schemas/tables/spans.py` reads the same table of names for its columns.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from schemas.any_value import Value

KIND_OF_OPERATION: Final = {
    "chat": "LLM",
    "text_completion": "LLM",
    "generate_content": "LLM",
    "embeddings": "EMBEDDING",
    "execute_tool": "TOOL",
    "retrieval": "RETRIEVER",
    "invoke_agent": "AGENT",
    "create_agent": "AGENT",
    "invoke_workflow": "CHAIN",
}
"""Span kind that `gen_ai.operation.name` stands for."""

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "session.id": ("gen_ai.conversation.id",),
    "user.id": ("enduser.id",),
    "llm.provider": ("gen_ai.provider.name", "gen_ai.system"),
    "llm.model_name": ("gen_ai.response.model", "gen_ai.request.model"),
    "llm.finish_reason": ("gen_ai.response.finish_reasons",),
    "llm.token_count.prompt": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "llm.token_count.completion": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "llm.token_count.prompt_details.cache_read": ("gen_ai.usage.cache_read.input_tokens",),
    "llm.token_count.prompt_details.cache_write": ("gen_ai.usage.cache_creation.input_tokens",),
    "llm.token_count.completion_details.reasoning": ("gen_ai.usage.reasoning.output_tokens",),
    "agent.name": ("gen_ai.agent.name",),
    "tool.name": ("gen_ai.tool.name",),
    "tool.description": ("gen_ai.tool.description",),
    "tool.id": ("gen_ai.tool.call.id",),
    "tool.parameters": ("gen_ai.tool.call.arguments",),
}
"""Attribute of OpenInference, and those that mean the same, the first one present counting."""

_OF_KIND: Final[Mapping[str, Mapping[str, str]]] = {
    "TOOL": {"input.value": "gen_ai.tool.call.arguments", "output.value": "gen_ai.tool.call.result"},
    "RETRIEVER": {"input.value": "gen_ai.retrieval.query.text"},
    "EMBEDDING": {"embedding.model_name": "gen_ai.request.model"},
}
"""The same, for spans of one kind only."""

_PARAMETERS: Final = {
    f"gen_ai.request.{name}": meaning
    for name, meaning in {
        **{each: each for each in ("temperature", "top_p", "top_k", "max_tokens", "frequency_penalty", "presence_penalty", "seed", "stream")},
        "choice.count": "n",
        "stop_sequences": "stop",
        "encoding_formats": "encoding_formats",
    }.items()
}
_PROVIDERS: Final = {
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistralai",
    "x_ai": "xai",
}
_EARLIER: Final = (("gen_ai.prompt.", "llm.input_messages."), ("gen_ai.completion.", "llm.output_messages."))
"""Messages as numbered attributes, the way instrumentations wrote them before there were structured ones."""
JSON_TEXTS: Final = ("metadata", "tool.parameters", "llm.prompt_template.variables", "document.metadata")
"""Attributes, by the end of their names, whose JSON text stands for what it says where a program sent it through OTLP."""
_COUNTS: Final = tuple(f"llm.token_count.{part}" for part in ("prompt", "completion", "total"))


def openinference(attributes: Mapping[str, Value], *, json_texts: bool = True) -> dict[str, Any]:
    """Attributes of a span as flat JSON-able values with the names of OpenInference beside the original ones.

    `json_texts` reads the text of `JSON_TEXTS`: `{"metadata": '{"a": 1}'}` becomes `{"metadata.a": 1}`; text that is no JSON object stays.
    """
    found = flat(attributes)
    if any(name.startswith(("gen_ai.", "enduser.")) for name in found):
        found = {**_from_gen_ai(found), **found}
    for name in _COUNTS:
        count = found.get(name)
        if isinstance(count, str | float) and (whole := _whole(count)) is not None:
            found[name] = whole
    return dict(_read(found)) if json_texts and any(name.endswith(JSON_TEXTS) for name in found) else found


def kind_of(attributes: Mapping[str, Any], default: str = "") -> str:
    """Kind of a span, in capitals, by its attributes."""
    named = attributes.get("openinference.span.kind") or KIND_OF_OPERATION.get(str(attributes.get("gen_ai.operation.name")), default)
    return str(named).upper()


def provider_names(shown: str) -> tuple[str, ...]:
    """The names that the GenAI conventions have for a provider."""
    return (shown, *(name for name, ours in _PROVIDERS.items() if ours == shown))


def flat(attributes: Mapping[str, Value]) -> dict[str, Any]:
    """Attributes without nested mappings: `{"a": {"b": 1}, "c": [{"d": 2}]}` is `{"a.b": 1, "c.0.d": 2}`. Bytes become base64, since JSON has none."""
    return {name: plain for name, value in attributes.items() for name, plain in _leaves(name, value)}


def jsonable(value: Value) -> Any:
    """A value with its bytes as base64."""
    match value:
        case bytes():
            return b64encode(value).decode()
        case list():
            return [jsonable(item) for item in value]
        case dict():
            return {key: jsonable(item) for key, item in value.items()}
    return value


def _leaves(name: str, value: Value) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(f"{name}.{key}", item)
    elif isinstance(value, list) and value and all(isinstance(item, dict) and item for item in value):
        for number, item in enumerate(value):
            yield from _leaves(f"{name}.{number}", item)
    else:
        yield name, jsonable(value)


def _read(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in found.items():
        if name.endswith(JSON_TEXTS) and isinstance(parsed := _parsed(value), dict):
            yield from _leaves(name, parsed)
        else:
            yield name, value


def _parsed(value: Any) -> Any:
    """What a JSON text says; any other value as it is."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _whole(count: str | float) -> int | None:
    try:
        return int(count)
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _from_gen_ai(found: Mapping[str, Any]) -> dict[str, Any]:
    kind = kind_of(found)
    names = {**NAMES, **{name: (source,) for name, source in _OF_KIND.get(kind, {}).items()}}
    made = {name: next(found[source] for source in sources if source in found) for name, sources in names.items() if not found.keys().isdisjoint(sources)}
    if kind and "openinference.span.kind" not in found:
        made["openinference.span.kind"] = kind
    if isinstance(provider := made.get("llm.provider"), str):
        made["llm.provider"] = _PROVIDERS.get(provider.lower(), provider)
    if isinstance(reasons := made.get("llm.finish_reason"), list) and len(reasons) == 1:
        made["llm.finish_reason"] = reasons[0]
    if all(isinstance(made.get(name), int) for name in _COUNTS[:2]):
        made[_COUNTS[2]] = made[_COUNTS[0]] + made[_COUNTS[1]]
    parameters = {meaning: found[name] for name, meaning in _PARAMETERS.items() if found.get(name) is not None}
    if parameters:
        prefix = "embedding" if kind == "EMBEDDING" else "llm"
        made[f"{prefix}.invocation_parameters"] = _text(parameters)
    made |= {
        f"{to}{number}.message.{rest}": value
        for start, to in _EARLIER
        for name, value in found.items()
        if name.startswith(start) and (number := name.removeprefix(start).partition(".")[0]).isdecimal()
        if (rest := name.removeprefix(f"{start}{number}.")) in ("role", "content")
    }
    made |= _messages("llm.input_messages", [*_instructions(found), *_items(found, "gen_ai.input.messages")])
    made |= _messages("llm.output_messages", _items(found, "gen_ai.output.messages"))
    for at, tool in enumerate(_items(found, "gen_ai.tool.definitions")):
        made[f"llm.tools.{at}.tool.json_schema"] = _text(_schema(tool))
    for at, document in enumerate(_items(found, "gen_ai.retrieval.documents")):
        made |= {f"retrieval.documents.{at}.document.{name}": value for name, value in document.items() if name in ("id", "score", "content", "metadata")}
    return made


def _items(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list that came as JSON text, or as numbered attributes once it was flattened."""
    value = _parsed(found.get(name))
    if value is None:
        value = _unflat(found, f"{name}.")
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _unflat(found: Mapping[str, Any], prefix: str) -> Any:
    """What was flattened to attributes that begin so: numbered keys make a list, others an object."""
    tree: dict[str, Any] = {}
    for name, value in found.items():
        if name.startswith(prefix):
            *path, last = name.removeprefix(prefix).split(".")
            branch = tree
            for step in path:
                below = branch.setdefault(step, {})
                branch = below if isinstance(below, dict) else {}
            branch[last] = value
    return _lists(tree)


def _lists(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if tree and all(key.isdecimal() for key in tree):
        return [_lists(value) for _, value in sorted(tree.items(), key=lambda item: int(item[0]))]
    return {key: _lists(value) for key, value in tree.items()}


def _instructions(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts = _items(found, "gen_ai.system_instructions")
    if not parts and isinstance(text := found.get("gen_ai.system_instructions"), str) and text:
        parts = [{"type": "text", "content": text}]
    return [{"role": "system", "parts": parts}] if parts else []


def _messages(prefix: str, messages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{prefix}.{number}.message.{name}": value for number, message in enumerate(messages) for name, value in _message(message)}


def _message(message: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("role", "name", "finish_reason"):
        if message.get(name):
            yield name, message[name]
    listed = message.get("parts")
    parts = [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
    if isinstance(message.get("content"), str):
        yield "content", message["content"]
    for part in parts:
        if part.get("type") == "tool_call_response":
            yield "content", _text(part.get("response", part.get("result")))
            if part.get("id"):
                yield "tool_call_id", part["id"]
    calls = [part for part in parts if part.get("type") == "tool_call"]
    for number, call in enumerate(calls):
        fields = {"id": call.get("id"), "function.name": call.get("name"), "function.arguments": call.get("arguments")}
        yield from ((f"tool_calls.{number}.tool_call.{name}", _text(value)) for name, value in fields.items() if value is not None)
    said = [part for part in parts if part.get("type") not in ("tool_call", "tool_call_response")]
    if said and all(part.get("type") == "text" for part in said):
        yield "content", "".join(_text(part.get("content", "")) for part in said)
    else:
        for number, part in enumerate(said):
            yield from ((f"contents.{number}.message_content.{name}", value) for name, value in _content(part))


def _content(part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if part.get("type") in ("text", "reasoning"):
        yield "type", part["type"]
        yield "text", _text(part.get("content", ""))
    elif part.get("type") in ("uri", "blob"):
        data = f"data:{part.get('mime_type') or 'application/octet-stream'};base64,{part.get('content', part.get('data', ''))}"
        yield "type", "image"
        yield "image.image.url", part.get("uri") or data
    else:
        yield "type", str(part.get("type", "unknown"))


def _schema(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as the JSON schema that OpenInference shows, in the form of OpenAI's."""
    if "function" in tool:
        return dict(tool)
    parameters = tool.get("parameters", tool.get("input_schema"))
    function = {"name": tool.get("name"), "description": tool.get("description"), "parameters": parameters}
    return {"type": tool.get("type", "function"), "function": {name: value for name, value in function.items() if value is not None}}
