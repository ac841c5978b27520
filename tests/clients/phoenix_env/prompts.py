"""Makes, gets, formats, tags, changes and deletes a prompt with the client as its environment says; prints what it got."""

import asyncio
import json
import sys
from typing import Any

from phoenix.client import AsyncClient, Client
from phoenix.client.types import PromptVersion

given = json.load(sys.stdin)
name: str = given["name"]
client = Client(**given["client"])
shown: dict[str, Any] = {}

messages = [{"role": "system", "content": "Answer in {{language}}."}, {"role": "user", "content": "Write a haiku about {{topic}}"}]
first = client.prompts.create(
    name=name, version=PromptVersion(messages, model_name="gpt-4o-mini", description="first"), prompt_description="A haiku", prompt_metadata={"a": 1}
)
call = {
    "model": "gpt-4o",
    "temperature": 0.5,
    "messages": [{"role": "user", "content": "{{topic}}?"}],
    "tools": [
        {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}, "strict": True}}
    ],
    "tool_choice": "required",
    "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True}},
}
second = client.prompts.create(name=name, version=PromptVersion.from_openai(call))
client.prompts.tags.create(prompt_version_id=first.id, name="production", description="the good one")

formatted = client.prompts.get(prompt_identifier=name, tag="production").format(variables={"topic": "rain", "language": "French"})
shown["first"] = dict(formatted)
shown["latest"] = dict(client.prompts.get(prompt_identifier=name).format(variables={"topic": "rain"}))
shown["by_id"] = client.prompts.get(prompt_version_id=first.id).id == first.id
shown["tags"] = [{key: tag[key] for key in ("name", "description")} for tag in client.prompts.tags.list(prompt_version_id=first.id)]
changed = client.prompts.update(prompt_identifier=name, prompt_description=None, prompt_metadata={"b": 2})
shown["changed"] = {key: changed.get(key) for key in ("name", "description", "metadata")}

anthropic = {"model": "claude-sonnet", "max_tokens": 64, "system": "Be brief.", "messages": [{"role": "user", "content": "{{topic}}"}]}
client.prompts.create(name=f"{name}-anthropic", version=PromptVersion.from_anthropic(anthropic))
shown["anthropic"] = dict(client.prompts.get(prompt_identifier=f"{name}-anthropic").format(variables={"topic": "rain"}))


async def asynchronously() -> None:
    other = AsyncClient(**given["client"])
    got = await other.prompts.get(prompt_identifier=name)
    shown["async"] = got.id == second.id
    await other.prompts.delete(prompt_identifier=name)


asyncio.run(asynchronously())
try:
    client.prompts.get(prompt_identifier=name)
except ValueError as error:
    shown["gone"] = str(error)
print(json.dumps(shown))
