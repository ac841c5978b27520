"""The pages of surfaces: what they are served with, and what they may ask for."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from query_api.surfaces.catalogue import SURFACES
from query_api.surfaces.mount import whole_app
from tests.unit.query_api.parts import AwayRows, make_parts

TYPES = {".css": "text/css", ".js": "text/javascript"}


def _files(package: str) -> dict[str, str]:
    return {each.name: each.read_text("utf-8") for each in files(package).joinpath("assets").iterdir() if not each.name.endswith(".html")}


SHARED = _files("query_api.surfaces")


class Page(NamedTuple):
    """The page of a surface."""

    surface: str
    base: str
    """Of its REST API."""
    error_type: str

    @property
    def files(self) -> dict[str, str]:
        """Its own and those that it shares with others."""
        return {**SHARED, **_files(f"query_api.surfaces.{self.surface}")}

    @property
    def scripts(self) -> dict[str, str]:
        return {name: text for name, text in self.files.items() if name.endswith(".js")}


PAGES = [Page("llm", "/v1", "text/plain"), Page("crucible", "/api/v1", "application/json")]
pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.surface)


@pytest.fixture
async def http(page: Page) -> AsyncIterator[httpx.AsyncClient]:
    """A client from elsewhere, without a key."""
    app = whole_app(make_parts(AwayRows()), SURFACES)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("192.0.2.7", 1)), base_url=f"http://query/{page.surface}") as http:
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


async def test_every_file_is_served_as_what_it_is(page: Page, http: httpx.AsyncClient) -> None:
    home = (await http.get("/")).text
    named = {name for text in (home, *page.scripts.values()) for name in re.findall(r"""(?:from "\./|(?:src|href)="ui/)([\w.]+)""", text)}
    assert named == page.files.keys()
    for name in named:
        answer = await http.get(f"/ui/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, f"{TYPES[Path(name).suffix]}; charset=utf-8"), name
        assert "content-security-policy" in answer.headers
        again = await http.get(f"/ui/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "../pages.py", "..%2Fpages.py", "pages.py", "__init__.py", "live.html", ""])
async def test_nothing_else_is_served(page: Page, http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get(f"/ui/{name}")
    assert answer.status_code == 404 and answer.headers["content-type"].startswith(page.error_type)


async def test_the_page_is_not_in_the_document(page: Page, http: httpx.AsyncClient) -> None:
    paths = (await http.get(f"{page.base}/openapi.json")).json()["paths"]
    assert paths and all(path.startswith(page.base) or path == "/arize_phoenix_version" for path in paths)


async def test_every_operation_the_page_calls_is_documented(page: Page, http: httpx.AsyncClient) -> None:
    documented = {
        (method.upper(), re.sub(r"{\w+}", "{}", path))
        for path, operations in (await http.get(f"{page.base}/openapi.json")).json()["paths"].items()
        for method in operations
    }
    api = page.scripts["api.js"]
    calls = {(method, page.base + re.sub(r"{\w+}", "{}", path)) for method, path in re.findall(r'"(GET|POST|PUT|PATCH|DELETE) (/[^"]+)"', api)}
    assert len(calls) >= 15
    assert calls <= documented
    named = set(re.findall(r'(?:call|all|addressOf|asked)\("(\w+)"', "".join(page.scripts.values())))
    assert len(named) >= 10 and named <= set(re.findall(r"^  (\w+): \"", api, re.MULTILINE))


def test_one_file_fetches_and_none_reads_markup(page: Page) -> None:
    reaching = re.compile(r"\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bimport\(")
    assert {name for name, text in page.scripts.items() if reaching.search(text)} - {"channels.js"} == {"rest.js"}
    unsafe = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\(|new Function|javascript:")
    assert not [name for name, text in page.files.items() if unsafe.search(text)]
    assert not [name for name, text in page.files.items() if re.search(r"""(?:src|href|from|url\()\s*=?\s*["']?(?:https?:)?//""", text)]


def test_only_the_page_that_has_no_session_stores_its_key(page: Page) -> None:
    storing = re.compile(r"localStorage|sessionStorage|indexedDB|document\.cookie")
    assert {name for name, text in page.scripts.items() if storing.search(text)} == ({"api.js"} if page.surface == "llm" else set())
