"""OpenAI's Python SDK traced by its OpenInference instrumentor: what was asked, answered and used is there, and the cost windows count it."""

import json
import uuid
from pathlib import Path
from typing import Any

import httpx

from tests.clients.openai_server import ANSWER, MODEL, openai_server
from tests.clients.phoenix_scripts import answer_of
from tests.flow.stack import LiveStack
from tests.support import eventually_sync


def test_calls_of_the_openai_sdk(live: LiveStack, phoenix_python: Path) -> None:
    """llm.py.prompts.format: what the prompt gives is what the SDK takes"""
    run = uuid.uuid4().hex
    project, session, base = f"openai-{run}", f"session-{run}", live.url("llm")
    given = {"base": base, "endpoint": f"{base}/v1/traces", "project": project, "session": session, "prompt": f"weather-{run}"}
    with openai_server() as openai:
        done = answer_of(phoenix_python, "openai_calls", {**given, "openai": openai})
    assert done["chunks"] == 4

    def spans() -> list[dict[str, Any]]:
        answer = httpx.get(f"{base}/v1/projects/{project}/spans", headers=live.headers)
        return list(answer.json()["data"]) if answer.status_code == 200 else []

    eventually_sync(lambda: len(spans()) == 5)
    failed, embeddings, tools, streamed, plain = (span for span in spans())
    for span in (plain, streamed, tools):
        attributes = span["attributes"]
        assert (span["span_kind"], span["status_code"], span["name"]) == ("LLM", "OK", "ChatCompletion")
        assert attributes["llm.model_name"] == MODEL and attributes["llm.token_count.prompt"] == 1_000 and attributes["llm.token_count.completion"] == 200
        assert attributes["llm.token_count.prompt_details.cache_read"] == 400
        assert attributes["llm.input_messages.0.message.role"] == "system"
        assert attributes["llm.input_messages.1.message.content"] == "How is the weather in Paris?"
    assert plain["attributes"]["llm.output_messages.0.message.content"] == ANSWER == streamed["attributes"]["llm.output_messages.0.message.content"]
    assert json.loads(plain["attributes"]["llm.invocation_parameters"])["temperature"] == 0.5
    assert plain["attributes"]["session.id"] == session and plain["attributes"]["llm.prompt_template.version"] == done["version"]
    call = "llm.output_messages.0.message.tool_calls.0.tool_call.function"
    assert (tools["attributes"][f"{call}.name"], tools["attributes"][f"{call}.arguments"]) == ("weather", '{"city": "Paris"}')
    assert embeddings["span_kind"] == "EMBEDDING" and embeddings["attributes"]["embedding.model_name"] == "text-embedding-3-small"
    assert failed["status_code"] == "ERROR" and failed["events"][0]["name"] == "exception"

    def windows(subject: str) -> dict[str, dict[str, Any]]:
        params: dict[str, str | int] = {"subject": subject, "grain": "all", "limit": 100}
        answer = httpx.get(f"{live.main_url}/platform/v1/windows/cost", headers=live.headers, params=params).raise_for_status().json()
        return {each["item"]: each for each in answer["data"]}

    for subject, calls in ((f"project={project}", 3), (f"session={session}", 1)):
        eventually_sync(lambda subject=subject, calls=calls: windows(subject).get("completion_tokens", {}).get("figures", {}).get("quantity") == 200 * calls)  # type: ignore[misc]
        found = windows(subject)
        assert found["cached_tokens"]["figures"]["quantity"] == 400 * calls
        assert found["prompt_tokens"]["figures"]["amount"] > 0
