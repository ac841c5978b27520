"""Which bodies are read."""

from collections.abc import AsyncIterator

import httpx
import pytest

from infra.runtime.settings import IngestSettings, Settings
from query_api.surfaces.catalogue import SURFACES
from query_api.surfaces.mount import whole_app
from tests.unit.query_api.parts import INGEST_KEY, AwayRows, make_parts

LIMIT = 300_000


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(ingest=IngestSettings(max_body_bytes=LIMIT), self_telemetry=False)
    transport = httpx.ASGITransport(whole_app(make_parts(AwayRows(), settings=settings), SURFACES))
    async with httpx.AsyncClient(transport=transport, base_url="http://query", headers={"api-key": INGEST_KEY}) as client:
        yield client


async def pieces(*sent: bytes) -> AsyncIterator[bytes]:
    for each in sent:
        yield each


@pytest.mark.parametrize("path", ["/llm/v1/span_notes", "/llm/v1/projects/default/spans", "/experimentation/api/v1/experiments"])
async def test_a_body_is_as_long_as_the_limit_at_most(client: httpx.AsyncClient, path: str) -> None:
    for content in (b" " * (LIMIT + 1), pieces(b" " * LIMIT, b" ")):
        answer = await client.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413 and str(LIMIT) in answer.text
        assert answer.headers["content-type"].startswith("text/plain" if path.startswith("/llm") else "application/json")
    for content in (b" " * LIMIT, pieces(b" " * LIMIT, b"")):
        assert (await client.post(path, content=content, headers={"content-type": "application/json"})).status_code != 413


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (rb"\ud83d\ude00", True),
        (rb"\uD83D\uDE00 \u00e9 \n", True),
        (rb"\\ud800", True),
        (rb"\ud800", False),
        (rb"\\\ud800", False),
        (rb"\ud800\ud800", False),
        (rb"\ude00\ud83d", False),
        (rb"\ud83d\ude00\udc00", False),
    ],
)
async def test_half_characters_are_refused(client: httpx.AsyncClient, text: bytes, whole: bool) -> None:
    body = b'{"data": {"span_id": "x", "note": "' + text + b'", "identifier": 1}}'
    for content in (body, pieces(*(bytes([each]) for each in body))):
        answer = await client.post("/llm/v1/span_notes", content=content, headers={"content-type": "application/json"})
        (fault,) = answer.json()["detail"]
        assert answer.status_code == 422 and ("surrogate" in fault["msg"]) == (not whole), answer.text


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b'{"a": "\xff"}', "UTF-8"), (b"\x1f\x8b\x08\x00", "UTF-8"), (b'{"a":' * 50_000, "deep"), (b"9" * 5_000, "digits")],
)
async def test_what_no_parser_reads_is_a_wrong_field(client: httpx.AsyncClient, content: bytes, problem: str) -> None:
    answer = await client.post("/llm/v1/span_notes", content=content, headers={"content-type": "application/json"})
    (fault,) = answer.json()["detail"]
    assert answer.status_code == 422 and fault["loc"] == ["body"] and problem in fault["msg"]


async def test_a_path_with_a_line_break_belongs_to_its_surface(client: httpx.AsyncClient) -> None:
    answer = await client.get("/llm/v1/no%0Asuch")
    assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/plain")
