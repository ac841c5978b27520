"""Calls an OpenAI API, traced by its OpenInference instrumentor, with a prompt that the Phoenix client fetched."""

import json
import sys

from openai import NotFoundError, OpenAI
from openinference.instrumentation import using_prompt_template, using_session
from openinference.instrumentation.openai import OpenAIInstrumentor
from phoenix.client import Client
from phoenix.client.types import PromptVersion
from phoenix.otel import register

given = json.load(sys.stdin)
provider = register(endpoint=given["endpoint"], project_name=given["project"], batch=True, verbose=False)
OpenAIInstrumentor().instrument(tracer_provider=provider)
openai = OpenAI(base_url=given["openai"], api_key="none", max_retries=0)

prompts = Client(base_url=given["base"]).prompts
messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How is the weather in {{city}}?"}]
stored = prompts.create(name=given["prompt"], version=PromptVersion(messages, model_name="gpt-4o"))
call = prompts.get(prompt_identifier=given["prompt"]).format(variables={"city": "Paris"})
with using_session(given["session"]), using_prompt_template(template="How is the weather in {city}?", variables={"city": "Paris"}, version=stored.id):
    openai.chat.completions.create(**call, temperature=0.5)
chunks = list(openai.chat.completions.create(**call, stream=True, stream_options={"include_usage": True}))
weather = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
openai.chat.completions.create(**call, tools=[weather])
openai.embeddings.create(model="text-embedding-3-small", input=["a", "b"], encoding_format="float")
try:
    openai.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "fail"}])
except NotFoundError as error:
    print(error, file=sys.stderr)
provider.force_flush()
print(json.dumps({"chunks": len(chunks), "version": stored.id}))
