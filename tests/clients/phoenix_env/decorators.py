"""An agent whose functions are traced by the decorators of phoenix.otel, with a session, a user and metadata; prints nothing but its end."""

import json
import sys

from openinference.instrumentation import using_attributes
from phoenix.otel import register

given = json.load(sys.stdin)
provider = register(endpoint=given["endpoint"], project_name=given["project"], verbose=False, set_global_tracer_provider=False)
tracer = provider.get_tracer(__name__)


@tracer.tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


@tracer.llm
def answer(question: str) -> str:
    return question.upper()


@tracer.chain
def steps(question: str) -> str:
    return answer(weather(question))


@tracer.agent(name="guide")
def agent(question: str) -> str:
    return steps(question)


with using_attributes(session_id=given["session"], user_id="user-1", metadata={"tier": "pro"}, tags=["a", "b"]):
    agent("Paris")
try:
    with tracer.start_as_current_span("broken", openinference_span_kind="chain") as span:
        span.set_input({"a": 1})
        raise ValueError("no luck")
except ValueError:
    pass
provider.force_flush()
print(json.dumps("done"))
