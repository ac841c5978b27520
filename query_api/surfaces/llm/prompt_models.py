"""The bodies of `prompts`. What decides nothing here, such as the parameters of a provider, is taken as it comes and served unchanged."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from query_api.domain.prompts import IDENTIFIER_FORM

PROVIDERS = Literal[
    "OPENAI", "AZURE_OPENAI", "ANTHROPIC", "GOOGLE", "DEEPSEEK", "XAI", "OLLAMA", "AWS", "CEREBRAS", "FIREWORKS", "GROQ", "MOONSHOT", "MINIMAX",
    "PERPLEXITY", "TOGETHER", "ZAI", "META",
]  # fmt: skip
PARAMETER_TYPES = Literal[
    "openai", "azure_openai", "anthropic", "google", "deepseek", "xai", "ollama", "aws", "cerebras", "fireworks", "groq", "moonshot", "minimax",
    "perplexity", "together", "zai", "meta",
]  # fmt: skip

Identifier = Annotated[str, Field(pattern=IDENTIFIER_FORM, max_length=300, examples=["support-reply"])]
"""The name of a prompt or of a tag."""
Text = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=10_000)]


class Taken(BaseModel):
    """A JSON object: fields beside the named ones are kept, and no type is converted."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())


class TextPart(Taken):
    """Text within a message."""

    type: Literal["text"]
    text: str


class ToolCallPart(Taken):
    """A call that the model asked for."""

    type: Literal["tool_call"]
    tool_call_id: str
    tool_call: dict[str, Any]


class ToolResultPart(Taken):
    """What a call gave."""

    type: Literal["tool_result"]
    tool_call_id: str
    tool_result: Any


class Message(Taken):
    """One message of a chat template."""

    role: Literal["user", "assistant", "model", "ai", "tool", "system", "developer"]
    content: str | Annotated[list[Annotated[TextPart | ToolCallPart | ToolResultPart, Field(discriminator="type")]], Field(min_length=1)]


class ChatTemplate(Taken):
    """Messages with placeholders."""

    type: Literal["chat"]
    messages: list[Message]


class StringTemplate(Taken):
    """One text with placeholders."""

    type: Literal["string"]
    template: str


class InvocationParameters(Taken):
    """Parameters of the call, as the provider names them, under the name of the provider."""

    type: PARAMETER_TYPES

    @model_validator(mode="after")
    def _given(self) -> "InvocationParameters":
        if not isinstance((self.model_extra or {}).get(self.type), dict):
            raise ValueError(f"the parameters stand in an object named {self.type}; send {{}} for none")
        return self


class Function(Taken):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Taken):
    """A function."""

    type: Literal["function"]
    function: Function


class RawTool(Taken):
    """A tool in the provider's own form."""

    type: Literal["raw"]
    raw: dict[str, Any]


class ToolChoice(Taken):
    """Which tools the model has to call."""

    type: Literal["none", "zero_or_more", "one_or_more", "specific_function"]
    function_name: str | None = Field(None, description="Only with `specific_function`.")

    @model_validator(mode="after")
    def _named(self) -> "ToolChoice":
        if (self.type == "specific_function") != (self.function_name is not None):
            raise ValueError("function_name is given with specific_function, and only then")
        return self


class Tools(Taken):
    """The tools of a call."""

    type: Literal["tools"]
    tools: list[Annotated[FunctionTool | RawTool, Field(discriminator="type")]] = Field(min_length=1)
    tool_choice: ToolChoice | None = None
    disable_parallel_tool_calls: bool | None = None


class JsonSchema(Taken):
    """A JSON schema with a name."""

    name: str
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Taken):
    """The form that the answer must have."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class VersionData(Taken):
    """A version of a prompt: a template, and how to call a model with it."""

    description: str | None = None
    model_provider: PROVIDERS
    model_name: str = Field(examples=["gpt-4o"])
    template: Annotated[ChatTemplate | StringTemplate, Field(discriminator="type")]
    template_type: Literal["CHAT", "STR"]
    template_format: Literal["MUSTACHE", "F_STRING", "NONE"] = Field(description="How placeholders look: `{{name}}`, `{name}` or not at all.")
    invocation_parameters: InvocationParameters
    tools: Tools | None = None
    response_format: ResponseFormat | None = None
    metadata: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_type(self) -> "VersionData":
        if (self.template_type == "CHAT") != isinstance(self.template, ChatTemplate):
            raise ValueError("template_type CHAT goes with a template of type chat, STR with one of type string")
        return self

    def sent(self) -> dict[str, Any]:
        """What was sent, and nothing else; an id is given here and not taken."""
        return self.model_dump(exclude_unset=True, by_alias=True, exclude={"id"})


class PromptData(BaseModel):
    """The prompt that a version is for."""

    name: Identifier
    description: Text | None = None
    source_prompt_id: str | None = Field(None, description="Id of the prompt it was copied from.")
    metadata: dict[str, Any] | None = None


class NewVersion(BaseModel):
    """A version, with the name of its prompt."""

    prompt: PromptData = Field(description="All but the name counts only for a new prompt.")
    version: VersionData


class TagData(BaseModel):
    """A name for a version."""

    name: Identifier
    description: Text | None = None


class NextVersion(BaseModel):
    """A version of an existing prompt."""

    version: VersionData
    tags: list[TagData] | None = Field(None, max_length=100)


class PromptChanges(BaseModel):
    """The fields to change; at least one."""

    description: Text | None = Field(None, description="Null clears it.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Replaces all of it.")

    @model_validator(mode="after")
    def _some(self) -> "PromptChanges":
        if not self.model_fields_set & {"description", "metadata"}:
            raise ValueError("send description, metadata or both")
        return self


class Prompt(BaseModel):
    """A prompt."""

    id: str
    name: str
    description: str | None
    source_prompt_id: str | None
    metadata: dict[str, Any]


class PromptVersion(VersionData):
    """A stored version."""

    id: str


class Tag(BaseModel):
    """A stored tag."""

    id: str
    name: str
    description: str | None


class OnePrompt(BaseModel):
    """One prompt."""

    data: Prompt


class OneVersion(BaseModel):
    """One version."""

    data: PromptVersion


class Prompts(BaseModel):
    """A page of prompts."""

    data: list[Prompt]
    next_cursor: str | None


class PromptVersions(BaseModel):
    """A page of versions."""

    data: list[PromptVersion]
    next_cursor: str | None


class Tags(BaseModel):
    """A page of tags."""

    data: list[Tag]
    next_cursor: str | None
