"""What the tests of the LLM surface share: a client of it, spans in OTLP JSON, and waiting until what was sent is visible."""

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from schemas.position import Positions, decode, encode, merge
from tests.flow.stack import LiveStack

SECOND = 1_000_000_000
Json = dict[str, Any]


@asynccontextmanager
async def llm_client(live: LiveStack) -> AsyncIterator["LlmClient"]:
    """A client of the documented port."""
    async with httpx.AsyncClient(base_url=live.url("llm") + "/v1", headers=live.headers, timeout=60) as http:
        yield LlmClient(http)


class LlmClient:
    """Sends spans and reads what became of them."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.written: Positions = {}
        """Of every write; each read waits for them all."""

    async def send(self, project: str, *spans: Json, headers: dict[str, str] | None = None) -> None:
        """Spans through the OTLP door."""
        body = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "test"}, "spans": list(spans)}]}]}
        answer = await self.http.post("/traces", json=body, headers={"x-project-name": project, **(headers or {})})
        assert answer.status_code == 200 and not answer.json(), answer.text
        self.wrote(answer)

    @property
    def position(self) -> str:
        """`written` as the header of a read that waits."""
        return encode(self.written)

    def wrote(self, answer: httpx.Response) -> None:
        """Let reads wait for what this answer acknowledged."""
        self.written = merge(self.written, decode(answer.headers.get("x-millstream-position", "")))

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """A read that sees everything this client sent."""
        headers = {"x-millstream-wait-for": self.position} if self.position else {}
        return await self.http.get(path, params={name: value for name, value in params.items() if value is not None}, headers=headers)

    async def listed(self, path: str, **params: Any) -> list[Json]:
        """Everything of a list, over its pages."""
        found: list[Json] = []
        cursor = None
        while True:
            answer = await self.get(path, **params, cursor=cursor)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    async def names(self, project: str, **params: Any) -> list[str]:
        """Names of a project's spans, newest first."""
        return [span["name"] for span in await self.listed(f"/projects/{project}/spans", **params)]


def new_trace() -> str:
    """A trace id."""
    return os.urandom(16).hex()


def now() -> int:
    """Nanoseconds since the epoch, on a whole microsecond."""
    return time.time_ns() // 1_000 * 1_000


def otlp_span(
    trace: str, name: str, *, start: int, seconds: float | None = 1.0, parent: str = "", span_id: str = "", status: int = 0, **attributes: Any
) -> Json:
    """A span as OTLP JSON; `seconds` None for one that still runs. `__` in the names of attributes stands for a dot."""
    return {
        "traceId": trace,
        "spanId": span_id or os.urandom(8).hex(),
        "parentSpanId": parent,
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(0 if seconds is None else start + int(seconds * SECOND)),
        "status": {"code": status},
        "attributes": [{"key": key.replace("__", "."), "value": any_value(value)} for key, value in attributes.items()],
    }


def any_value(value: Any) -> Json:
    """An AnyValue as OTLP JSON."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case dict():
            return {"kvlistValue": {"values": [{"key": key, "value": any_value(item)} for key, item in value.items()]}}
    return {"arrayValue": {"values": [any_value(item) for item in value]}}


def rest_span(
    trace: str, name: str, *, start: str = "2026-01-02T03:04:05Z", end: str | None = "2026-01-02T03:04:06Z", span_id: str = "", **fields: Any
) -> Json:
    """A span as the REST API takes it."""
    context = {"trace_id": trace, "span_id": span_id or os.urandom(8).hex()}
    return {"name": name, "context": context, "span_kind": "LLM", "start_time": start, "end_time": end, "status_code": "OK", **fields}


def span_ids(spans: Sequence[Json]) -> list[str]:
    """Span ids of listed spans."""
    return [span["context"]["span_id"] for span in spans]
