"""Names of OpenInference's semantic conventions for span attributes, as far as reading spans needs them.

From https://github.com/Arize-ai/openinference, spec/semantic_conventions.md (0.1.42 of its Python package). What other conventions say for
the same is in `schemas.llm_model`.
"""

from typing import Final

from schemas import llm_model

LEAVES: Final = frozenset(
    {
        "agent.name", "embedding.invocation_parameters", "embedding.model_name", "graph.node.id", "graph.node.name", "graph.node.parent_id",
        "input.mime_type", "input.value", "llm.cost.completion", "llm.cost.prompt", "llm.cost.total", "llm.finish_reason", "llm.function_call",
        "llm.invocation_parameters", "llm.model_name", "llm.prompt_template.template", "llm.prompt_template.version", "llm.provider",
        "llm.request.model_name", "llm.response.model_name", "llm.system", "llm.token_count.completion",
        "llm.token_count.completion_details.audio", "llm.token_count.completion_details.reasoning", "llm.token_count.prompt",
        "llm.token_count.prompt_details.audio", "llm.token_count.prompt_details.cache_input", "llm.token_count.prompt_details.cache_read",
        "llm.token_count.prompt_details.cache_write", "llm.token_count.total", "openinference.span.kind", "output.mime_type", "output.value",
        "prompt.id", "prompt.url", "prompt.vendor", "reranker.model_name", "reranker.query", "reranker.top_k", "session.id", "tool.description",
        "tool.id", "tool.json_schema", "tool.name", "user.id",
    }
)  # fmt: skip
"""Attributes of a span that are one plain value: nothing is nested in them, and no longer name begins with theirs."""
_NESTING: Final = frozenset(
    {
        "annotations", "embedding.embeddings", "evaluations", "input.documents", "input.images", "llm.choices", "llm.cost.completion_details",
        "llm.cost.prompt_details", "llm.input_messages", "llm.output_messages", "llm.prompt_template.variables", "llm.prompts",
        "llm.token_count.prompt_details", "llm.tools", "metadata", "output.documents", "output.images", "reranker.input_documents",
        "reranker.output_documents", "retrieval.documents", "session.annotations", "session.evaluations", "tag.tags", "tool.parameters",
        "trace.annotations", "trace.evaluations",
    }
)  # fmt: skip
_OF_ITEMS: Final = frozenset(
    {
        *(f"{term}.{field}" for term in ("annotation", "evaluation") for field in
          ("annotator_kind", "explanation", "identifier", "label", "metadata", "name", "score")),
        "audio.mime_type", "audio.transcript", "audio.url", "completion.text", "document.content", "document.id", "document.metadata",
        "document.mime_type", "document.name", "document.score", "document.url", "embedding.text", "embedding.vector", "image.url",
        "message.content", "message.contents", "message.function_call_arguments_json", "message.function_call_name", "message.name",
        "message.role", "message.tool_call_id", "message.tool_calls", "message_content.audio", "message_content.data",
        "message_content.document", "message_content.encrypted_content", "message_content.id", "message_content.image",
        "message_content.signature", "message_content.text", "message_content.type", "message_content.video", "prompt.text",
        "tool_call.function.arguments", "tool_call.function.name", "tool_call.id", "tool_call.reasoning_signature", "video.url",
    }
)  # fmt: skip
NAMES: Final = LEAVES | _NESTING | _OF_ITEMS
"""Every name: of a span, and of the items in its lists."""


def sources(name: str) -> tuple[str, ...]:
    """The attributes that tell a name's value, the one that counts first: its own before those of the GenAI conventions."""
    return (name, *llm_model.NAMES.get(name, ()))


def holds_json(name: str) -> bool:
    """Whether a text under this name is a JSON document: metadata, also that of a document, the parameters of a tool and a prompt's variables."""
    return name.endswith(llm_model.JSON_TEXTS)
