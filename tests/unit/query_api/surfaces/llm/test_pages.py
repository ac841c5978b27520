"""The page of the surface: what it is served with, and what it may ask for."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from query_api.surfaces.catalogue import SURFACES
from query_api.surfaces.mount import whole_app
from tests.unit.query_api.parts import AwayRows, make_parts

ASSETS = {each.name: each.read_text("utf-8") for each in files("query_api.surfaces.llm").joinpath("assets").iterdir()}
SCRIPTS = {name: text for name, text in ASSETS.items() if name.endswith(".js")}
TYPES = {".css": "text/css", ".js": "text/javascript"}


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client from elsewhere, without a key."""
    app = whole_app(make_parts(AwayRows()), SURFACES)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("192.0.2.7", 1)), base_url="http://query/llm") as http:
        yield http


def policy(answer: httpx.Response) -> dict[str, list[str]]:
    return {name: values for name, *values in (each.split() for each in answer.headers["content-security-policy"].split(";"))}


async def test_the_page_needs_no_key_and_runs_only_its_own_files(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    rules = policy(answer)
    inline = re.findall("<script>(.*?)</script>", answer.text, re.DOTALL)
    assert rules["script-src"] == ["'self'", *(f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in inline)]
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == ["'none'"]
    assert rules["style-src"] == rules["connect-src"] == ["'self'"] and rules["require-trusted-types-for"] == ["'script'"]
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "no-referrer"


async def test_every_file_is_served_as_what_it_is(http: httpx.AsyncClient) -> None:
    named = {name for text in ASSETS.values() for name in re.findall(r"""(?:from "\./|(?:src|href)="ui/)([\w.]+)""", text)}
    assert named >= SCRIPTS.keys() and "style.css" in named
    for name in named:
        answer = await http.get(f"/ui/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, f"{TYPES[Path(name).suffix]}; charset=utf-8"), name
        assert "content-security-policy" in answer.headers
        again = await http.get(f"/ui/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "../pages.py", "..%2Fpages.py", "pages.py", "__init__.py", ""])
async def test_nothing_else_is_served(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get(f"/ui/{name}")
    assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("linked", "shown"),
    [
        ("/datasets/RGF0YXNldDox/compare?experimentId=RXhwZXJpbWVudDox", "#/datasets/RGF0YXNldDox/compare?experimentId=RXhwZXJpbWVudDox"),
        ("/datasets/RGF0YXNldDox/experiments", "#/datasets/RGF0YXNldDox/experiments"),
        ("/projects/a%20b/traces/0af7", "#/projects/a%20b/traces/0af7"),
        ("/projects", "#/projects"),
        ("/projects/", "#/projects/"),
        ("/prompts/%22%3E%3Cscript%3E", "#/prompts/%22%3E%3Cscript%3E"),
    ],
)
async def test_addresses_that_clients_print_lead_to_the_same_view(http: httpx.AsyncClient, linked: str, shown: str) -> None:
    answer = await http.get(linked)
    assert answer.status_code == 307
    assert urljoin(f"http://query/llm{linked}", answer.headers["location"]) == f"http://query/llm/{shown}"


async def test_no_address_leads_to_another_host(http: httpx.AsyncClient) -> None:
    for linked in ("/projects//evil.example/x", "/datasets///evil.example", "/prompts/https://evil.example"):
        answer = await http.get(linked)
        assert answer.status_code == 307 and re.match(r"(\.\./)+#/", answer.headers["location"]), linked


async def test_other_paths_stay_unknown(http: httpx.AsyncClient) -> None:
    for path in ("/projectsome", "/index.html", "/v1/nothing"):
        assert (await http.get(path)).status_code == 404


async def test_every_operation_the_page_calls_is_documented(http: httpx.AsyncClient) -> None:
    documented = {
        (method.upper(), re.sub(r"{\w+}", "{}", path))
        for path, operations in (await http.get("/v1/openapi.json")).json()["paths"].items()
        for method in operations
    }
    calls = {(method, "/v1" + re.sub(r"{\w+}", "{}", path)) for method, path in re.findall(r'"(GET|POST|PUT|PATCH|DELETE) (/[^"]+)"', SCRIPTS["api.js"])}
    assert len(calls) >= 25
    assert calls <= documented
    named = set(re.findall(r'(?:call|all)\("(\w+)"', "".join(SCRIPTS.values())))
    assert named <= set(re.findall(r"^  (\w+): \"", SCRIPTS["api.js"], re.MULTILINE))


def test_one_file_fetches_and_none_reads_markup() -> None:
    assert [name for name, text in SCRIPTS.items() if re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|\bimport\(", text)] == ["api.js"]
    unsafe = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\(|new Function|javascript:")
    assert not [name for name, text in ASSETS.items() if unsafe.search(text)]
    assert not [name for name, text in ASSETS.items() if re.search(r"""(?:src|href|from|url\()\s*=?\s*["']?(?:https?:)?//""", text)]
