"""Spans for tests of the LLM surface, and what is said about them."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import httpx

from tests.flow.llm_client import any_value


class Sent(NamedTuple):
    """Spans of one trace that were acknowledged."""

    trace_id: str
    span_ids: list[str]
    position: str


def span_json(trace_id: str, span_id: str, attributes: Mapping[str, Any] = {}, **fields: Any) -> dict[str, Any]:
    """A span that ended now."""
    now = time.time_ns()
    listed = [{"key": key, "value": any_value(value)} for key, value in attributes.items()]
    times = {"startTimeUnixNano": str(now - 1_000_000), "endTimeUnixNano": str(now)}
    return {"traceId": trace_id, "spanId": span_id, "name": "call", "kind": 1, **times, "attributes": listed, **fields}


async def send(client: httpx.AsyncClient, project: str, spans: Sequence[Mapping[str, Any]]) -> httpx.Response:
    """Export spans to a project; the client's base is `/v1` of the LLM surface."""
    answer = await client.post("/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}, headers={"x-project-name": project})
    assert answer.status_code == 200, answer.text
    return answer


async def sent(client: httpx.AsyncClient, project: str, *attributes: Mapping[str, Any], span_ids: Sequence[str] = ()) -> Sent:
    """Export one trace with a span for each set of attributes."""
    trace_id = os.urandom(16).hex()
    ids = list(span_ids) or [os.urandom(8).hex() for _ in attributes or [{}]]
    spans = [span_json(trace_id, span_id, each) for span_id, each in zip(ids, attributes or [{}], strict=True)]
    answer = await send(client, project, spans)
    return Sent(trace_id, ids, answer.headers["x-millstream-position"])
