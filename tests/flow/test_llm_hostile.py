"""What no document describes: ids and bodies of people who mean harm, or whose program is broken. Nothing is a defect of the platform."""

import base64
import gzip
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from infra.runtime.settings import Settings
from query_api.surfaces.llm.policy import LLM
from tests.flow import openapi
from tests.flow.llm_client import LlmClient, new_trace, now, otlp_span, span_ids
from tests.flow.llm_operations import BODIES, JSON, OPERATIONS, RUN, Operation, ask_all, client
from tests.flow.llm_operations import url as url  # a fixture
from tests.flow.stack import LiveStack

MAX_BODY = Settings().ingest.max_body_bytes


def check(answer: httpx.Response) -> None:
    """An error is the caller's, in one of the two shapes of the surface."""
    about = f"{answer.request.method} {answer.request.url} {answer.request.content[:200]!r}: {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500, about
    if answer.status_code >= 400 and answer.headers["content-type"] != "application/json":
        assert answer.headers["content-type"].startswith("text/plain") and answer.text, about


def hostile_ids() -> list[str]:
    kinds = ("Project", "Span", "Trace", "ProjectSession", "Dataset", "Experiment", "Prompt", "PromptVersion", "User", "FreeformAnnotationConfig")
    spelt = [f"{kind}:{number}" for kind in kinds for number in (2**63, "9" * 3_999)]
    spelt += [f"Project:{number}" for number in (2**63 - 1, "9" * 4_001, "-1", "0x1", "1 ", "\u0663", "")]
    ids = [base64.b64encode(each.encode()).decode() for each in spelt]
    return [*ids, "\x00", "a\nb", "\x7f\u2028", "%00", "..", "a" * 3_000, "'; DROP TABLE spans --"]


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if "{" in each.path], ids=lambda each: f"{each.method} {each.path}")
async def test_any_text_may_stand_where_an_id_belongs(url: str, operation: Operation) -> None:
    async with client(url, "mine") as http:
        paths = [re.sub(r"\{[^}]*\}", quote(each, safe=""), operation.path) for each in hostile_ids()]
        content = b"{}" if operation.method in ("POST", "PUT", "PATCH") else None
        for answer in await ask_all(http, [http.build_request(operation.method, path, content=content, headers=JSON) for path in paths]):
            check(answer)


async def test_bad_cursors_and_limits(url: str) -> None:
    names = ("cursor", "limit")
    listed = [
        path
        for path, methods in openapi.surface_document(LLM)["paths"].items()
        if {each["name"] for each in methods.get("get", {}).get("parameters", ())} >= {*names}
    ]
    assert len(listed) > 15
    cursors = [*hostile_ids()[:4], base64.b64encode(b'["x", 1]').decode(), base64.b64encode(b"[" * 10_000).decode(), "\x00", "=", "é"]
    async with client(url, "mine") as http:
        for path in (re.sub(r"\{[^}]*\}", "default", each) for each in listed):
            wrong = [{"cursor": each} for each in cursors] + [{"limit": each} for each in ("0", "-1", "9" * 5_000, "1e3", "NaN", "", "\x00")]
            for answer in await ask_all(http, [http.build_request("GET", path, params=params) for params in wrong]):
                check(answer)
                assert answer.status_code in (404, 422), answer.text


BROKEN: dict[str, bytes] = {
    "deep": b'{"data":' * 50_000 + b"1" + b"}" * 50_000,
    "deep list": b"[" * 100_000,
    "huge integer": b'{"data": %b}' % (b"9" * 5_000),
    "not a number": b'{"data": [NaN, Infinity, -Infinity, 1e999]}',
    "half a pair": b'{"data": "\\ud800", "name": "\\udfff"}',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "gzip": gzip.compress(b"{}"),
    "empty": b"",
    "cut off": b'{"name": "',
    "twice": b"{}{}",
    "null": b"null",
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_broken_bodies_are_refused(url: str, broken: str) -> None:
    doors = [each for each in OPERATIONS if each.method in ("POST", "PUT", "PATCH")]
    async with client(url, "mine") as http:
        for kind in ("application/json", ""):
            paths = [(door.method, re.sub(r"\{[^}]*\}", "default", door.path)) for door in doors]
            for answer in await ask_all(http, [http.build_request(*each, content=BROKEN[broken], headers={"content-type": kind}) for each in paths]):
                check(answer)
                # A field that a door does not know may hold what it likes.
                assert answer.status_code >= 400 or broken == "not a number", f"{answer.request.url}: {answer.text}"


def spoilt(value: Any) -> Iterator[Any]:
    """The value with each of its leaves in turn replaced by something hostile of the same type, and with something hostile beside its members."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from ({**value, name: other} for other in spoilt(each))
        yield from ({**value, name: "x"} for name in ("", "\x00", "\ud800", "__proto__", "a" * 100_000))
    elif isinstance(value, list):
        yield from ([other] for other in spoilt(value[0]))
        yield []
        yield [value[0]] * 3
    elif isinstance(value, str):
        yield from ("", "\x00", "a\x00b", "\ud800", "\u2028", " ", "é" * 100_000, "9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00+14:00")
    else:
        yield from (-1, 2**63, 2**70, -(2**70), 1e308, float("nan"), float("inf"), True, None)


@pytest.mark.parametrize("door", BODIES)
async def test_right_bodies_with_one_hostile_value(url: str, door: str) -> None:
    """What was stored can be read."""
    bodies = [json.dumps(each).encode() for each in spoilt(BODIES[door])]
    async with client(url, "mine") as http:
        for answer in await ask_all(http, [http.build_request("POST", door, content=body, headers=JSON) for body in bodies]):
            check(answer)
        lists = ("/v1/projects", "/v1/prompts", "/v1/users", "/v1/datasets", "/v1/annotation_configs", "/v1/evaluation_rules")
        for path in [*lists, "/v1/projects/default/spans", "/v1/projects/default/traces", "/v1/projects/default/span_annotations?identifier=i"]:
            answer = await http.get(path)
            assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
            json.loads(answer.content)


async def test_no_body_is_read_beyond_the_limit(live: LiveStack, url: str) -> None:
    """413 in the shape of the surface, whether the length was said or not."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 1_048_576 + 2):
            yield b" " * 1_048_576

    async with client(url, "mine") as http:
        for door in ("/v1/prompts", "/v1/datasets/upload", "/v1/evaluations", "/v1/span_annotations"):
            kind = "application/x-protobuf" if door == "/v1/evaluations" else "application/json"
            for content in (b" " * (MAX_BODY + 1), endless()):
                answer = await http.post(door, content=content, headers={"content-type": kind})
                assert answer.status_code == 413 and answer.headers["content-type"].startswith("text/plain"), f"{door}: {answer.text[:200]}"
    async with httpx.AsyncClient(base_url=live.main_url, headers=live.headers, timeout=60) as http:
        answer = await http.post("/experimentation/api/v1/experiments", content=endless(), headers=JSON)
        assert answer.status_code == 413 and answer.json()["error"]["code"] == "PAYLOAD_TOO_LARGE"


async def test_compressed_bodies(url: str) -> None:
    """Bombs and broken streams, at every door that takes gzip."""
    bomb, cut = gzip.compress(b" " * (MAX_BODY * 4)), gzip.compress(b"x" * 1_000)[:-9]
    async with client(url, "mine") as http:
        for door, kind in (("/v1/traces", "application/x-protobuf"), ("/v1/traces", "application/json"), ("/v1/evaluations", "application/x-protobuf")):
            for content, statuses in ((bomb, (413,)), (cut, (400, 422)), (b"not gzip", (400, 422)), (b"", (400, 422))):
                answer = await http.post(door, content=content, headers={"content-type": kind, "content-encoding": "gzip"})
                assert answer.status_code in statuses, f"{door} {content[:20]!r}: {answer.status_code} {answer.text[:200]}"
        for content, statuses in ((bomb, (413,)), (cut, (422,)), (b"not gzip", (422,))):
            part = ("file", ("a.csv", content, "text/csv", {"Content-Encoding": "gzip"}))
            answer = await http.post("/v1/datasets/upload", data={"name": f"z-{RUN}", "input_keys[]": "q"}, files=[part])
            assert answer.status_code in statuses, f"{content[:20]!r}: {answer.status_code} {answer.text[:200]}"


async def test_broken_forms(url: str) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n'
    forms = {
        "no end": head + b"\r\nq\r\n1",
        "no boundary in it": b"q\r\n1",
        "many parts": (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n') * 20_000 + b"--x--\r\n",
        "two files": (head + b"\r\nq\r\n1\r\n") * 2 + b"--x--\r\n",
        "long header": b'--x\r\nContent-Disposition: form-data; name="' + b"a" * 1_000_000 + b'"\r\n\r\n1\r\n--x--\r\n',
        "no name": b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n",
        "file not UTF-8": head + b"\r\n\xff\xfe\r\n--x--\r\n",
    }
    async with client(url, "mine") as http:
        for name, content in forms.items():
            for kind in ("multipart/form-data; boundary=x", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 10_000):
                answer = await http.post("/v1/datasets/upload?sync=true", content=content, headers={"content-type": kind})
                assert answer.status_code == 422, f"{name}: {answer.status_code} {answer.text[:200]}"


async def test_the_longest_page_of_spans_that_share_no_trace(url: str) -> None:
    """Nothing that a read names, however much, is too long on its way to the table; also where traces were deleted."""
    project, count = f"long-{RUN}", 1_200
    async with client(url, "mine") as http:
        llm = LlmClient(http)
        http.base_url = http.base_url.join("/v1")
        start = now()
        spans = [otlp_span(new_trace(), "s", start=start + number) for number in range(count)]
        await llm.send(project, *spans)
        found = await llm.listed(f"/projects/{project}/spans", limit=1_000)
        assert len(set(span_ids(found))) == count
        assert (await http.delete(f"/traces/{spans[0]['traceId']}")).status_code == 204
        upload = {"name": project, "inputs": [{"q": 1}] * count, "span_ids": [each["spanId"] for each in spans]}
        answer = await http.post("/datasets/upload", params={"sync": "true"}, json=upload)
        assert answer.status_code == 200 and answer.json()["data"]["num_created_examples"] == count, answer.text
