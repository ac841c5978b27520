"""Every operation of the LLM surface, right bodies for them, and keys of two tenants to ask with."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from query_api.surfaces.llm.policy import LLM
from schemas.api_keys import hash_secret
from schemas.global_id import global_id
from tests.flow import openapi
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

SIDE_BY_SIDE = 8
RUN = uuid.uuid4().hex[:8]
JSON = {"content-type": "application/json"}
VERSION = {
    "model_provider": "OPENAI",
    "model_name": "m",
    "template": {"type": "string", "template": "x"},
    "template_type": "STR",
    "template_format": "NONE",
    "invocation_parameters": {"type": "openai", "openai": {}},
}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/projects": {"name": "p", "description": "d"},
    "/v1/prompts": {"prompt": {"name": "p", "description": "d", "metadata": {"k": "v", "n": 1}}, "version": {**VERSION, "description": "d"}},
    "/v1/users": {"user": {"email": "a@example.com", "username": "u", "role": "MEMBER", "auth_method": "LOCAL"}},
    "/v1/datasets/upload?sync=true": {
        "name": "d", "description": "d", "inputs": [{"q": 1}], "outputs": [{"a": "x"}], "metadata": [{"m": 0.5}], "splits": ["s"], "example_ids": ["e"],
    },
    "/v1/annotation_configs": {
        "name": "c", "type": "CATEGORICAL", "optimization_direction": "NONE", "values": [{"label": "a", "score": 1}], "description": "d",
    },
    "/v1/evaluation_rules": {"id": "r", "annotation": "a", "evaluator": {"type": "regex", "pattern": "x"}, "name": "n", "filter": "name == 'x'"},
    "/v1/projects/default/spans": {
        "data": [
            {
                "name": "s", "context": {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"}, "span_kind": "LLM",
                "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z", "status_code": "OK", "attributes": {"a": "v", "n": 1},
            }
        ]
    },
    "/v1/span_annotations": {
        "data": [
            {
                "name": "n", "annotator_kind": "LLM", "span_id": "00f067aa0ba902b7", "identifier": "i", "metadata": {"k": "v"},
                "result": {"label": "l", "score": 1, "explanation": "e"},
            }
        ]
    },
    "/v1/span_notes": {"data": {"span_id": "00f067aa0ba902b7", "note": "n"}},
    "/v1/session_annotations": {"data": [{"name": "n", "annotator_kind": "LLM", "session_id": "s", "result": {"label": "l"}}]},
    "/v1/traces/transfer": {"trace_identifiers": ["4bf92f3577b34da6a3ce929d0e0e4736"], "destination_project_identifier": "default"},
    "/v1/sessions/delete": {"session_identifiers": ["s"]},
    "/v1/spans": {"queries": [{"select": {"a": {"key": "name"}}, "filter": {"condition": "name == 'x'"}}], "limit": 10, "project_name": "default"},
    "/v1/experiment_evaluations": {
        "experiment_run_id": global_id("ExperimentRun", 1), "name": "n", "annotator_kind": "LLM", "start_time": "2026-01-02T03:04:05Z",
        "end_time": "2026-01-02T03:04:06Z", "result": {"label": "l", "score": 1},
    },
}  # fmt: skip
"""A right body for each door that stores something."""


class Operation(NamedTuple):
    """One operation of the document."""

    method: str
    path: str


OPERATIONS = [
    Operation(method.upper(), path) for path, methods in openapi.surface_document(LLM)["paths"].items() for method in methods if method != "parameters"
]


def secret(name: str) -> str:
    return f"hostile-{name}-{RUN}-0123456789"


@pytest.fixture(scope="module")
def url(live: LiveStack) -> str:
    """Of the surface, once it knows two tenants and their keys."""
    keys = {"mine": ("admin", f"mine-{RUN}"), "theirs": ("admin", f"theirs-{RUN}"), "read": ("read", f"mine-{RUN}"), "ingest": ("ingest", f"mine-{RUN}")}
    live.define(
        *({"kind": "tenant", "id": f"{name}-{RUN}"} for name in ("mine", "theirs")),
        *({"kind": "key", "id": f"k-{name}", "tenant": tenant, "sha256": hash_secret(secret(name)), "role": role} for name, (role, tenant) in keys.items()),
    )
    address = live.url("llm")
    for name in keys:
        eventually_sync(lambda name=name: httpx.get(f"{address}/v1/user", headers={"api-key": secret(name)}).status_code != 401)  # type: ignore[misc]
    return address


@asynccontextmanager
async def client(url: str, name: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, headers={"api-key": secret(name)}, timeout=60) as http:
        yield http


async def ask_all(http: httpx.AsyncClient, requests: Iterable[httpx.Request]) -> list[httpx.Response]:
    """Several at a time, in the order of the list."""
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(request: httpx.Request) -> httpx.Response:
        async with room:
            return await http.send(request)

    return await asyncio.gather(*(one(each) for each in requests))
