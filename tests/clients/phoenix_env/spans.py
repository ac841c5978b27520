"""Spans, traces and sessions through the Python client: logged, read with every filter, deleted."""

import json
import sys
from datetime import UTC, datetime, timedelta

import httpx
from phoenix.client import Client
from phoenix.client.exceptions import SpanCreationError
from phoenix.client.helpers.spans import uniquify_spans

given = json.load(sys.stdin)
client = Client(**given["client"])
project = given["project"]
START = datetime.now(UTC) - timedelta(minutes=5)


def span(name, trace, number, seconds, parent=None, **attributes):
    begin = START + timedelta(seconds=number)
    return {
        "name": name,
        "context": {"trace_id": trace, "span_id": f"{int(trace[:8], 16):08x}{number:08x}"},
        "span_kind": "LLM" if name == "call" else "CHAIN",
        "parent_id": parent,
        "start_time": begin.isoformat(),
        "end_time": (begin + timedelta(seconds=seconds)).isoformat(),
        "status_code": "ERROR" if name == "call" else "OK",
        "attributes": attributes,
    }


first, second = given["traces"]
root = span("turn", first, 1, 4, **{"session.id": project, "input.value": "hello", "output.value": "hi", "retries": 2})
call = span("call", first, 2, 1, parent=root["context"]["span_id"], **{"llm.token_count.prompt": 5, "llm.token_count.completion": 2})
later = span("turn", second, 3, 1, **{"session.id": project, "input.value": "bye", "user.id": "12345"})
shown = {"logged": client.spans.log_spans(project_identifier=project, spans=[root, call, later])}
try:
    client.spans.log_spans(project_identifier=project, spans=[root, {**later, "context": {"trace_id": "short", "span_id": "no"}}])
except SpanCreationError as error:
    shown["refused"] = [error.total_duplicates, error.total_invalid, [each["span_id"] for each in error.duplicate_spans]]
try:
    client.spans.log_spans(project_identifier=project, spans=[{**later, "start_time": "2026-01-01T00:00:00"}])
except SpanCreationError as error:
    shown["naive"] = [error.total_invalid, error.invalid_spans[0]["span_id"] == later["context"]["span_id"]]


def names(**filters):
    return [each["name"] for each in client.spans.get_spans(project_identifier=project, **filters)]


shown["names"] = names()
shown["filtered"] = [
    names(trace_ids=[second]),
    names(span_ids=[call["context"]["span_id"]]),
    names(parent_id="null"),
    names(name="call", span_kind="LLM", status_code=["ERROR"]),
    names(attributes={"retries": 2}),
    names(attributes={"user.id": "12345"}),
    names(start_time=START + timedelta(seconds=2), end_time=START + timedelta(seconds=3)),
    names(limit=1),
]


def traces(**filters):
    return [each["trace_id"] for each in client.traces.get_traces(project_identifier=project, **filters)]


shown["traces"] = [
    traces(),
    traces(sort="latency_ms", order="asc"),
    traces(error=True),
    traces(error=False),
    traces(min_latency_ms=2000),
    traces(session_id="nobody"),
]
shown["trace"] = client.traces.get_traces(project_identifier=project, include_spans=True, error=True)[0]
shown["session"] = client.sessions.get(session_id=project)
shown["sessions"] = [each["session_id"] for each in client.sessions.list(project_name=project)]
shown["turns"] = [[turn["input"]["value"], turn.get("output", {}).get("value")] for turn in client.sessions.get_session_turns(session_id=project)]
copies = uniquify_spans(client.spans.get_spans(project_identifier=project))
shown["copied"] = client.spans.log_spans(project_identifier=f"{project} copy", spans=copies)
client.spans.delete(span_identifier=call["context"]["span_id"])
shown["left"] = names()
try:
    client.spans.delete(span_identifier=call["context"]["span_id"])
except httpx.HTTPStatusError as error:
    shown["gone"] = error.response.status_code
client.sessions.delete(session_id=shown["session"]["id"])
shown["empty"] = [names(), client.sessions.list(project_name=project)]
copy_ids = list({each["context"]["trace_id"] for each in copies})
client.sessions.bulk_delete(session_ids=[project])
shown["copies"] = [len(client.spans.get_spans(project_identifier=f"{project} copy")), len(copy_ids)]
print(json.dumps(shown))
