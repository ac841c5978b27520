"""The page for people at the root of the surface: traces, sessions, datasets, experiments and prompts, read through the REST API like any client does."""

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from infra.runtime.errors import NotFound
from query_api.surfaces.pages import asset

_HOME: Final = "index.html"
_TYPES: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
_INLINE: Final = re.compile("<script>(.*?)</script>", re.DOTALL)

router = APIRouter(tags=["pages"], include_in_schema=False)


@dataclass(frozen=True)
class _File:
    """A file of the page, and what tells its versions apart."""

    content: str
    media_type: str
    tag: str


@router.get("/")
async def home(request: Request) -> Response:
    """The page itself."""
    return _answer(request, _HOME)


@router.get("/ui/{name}")
async def file(request: Request, name: str) -> Response:
    """What the page is made of."""
    return _answer(request, name)


async def linked(request: Request) -> Response:
    """Addresses that clients of Arize Phoenix print, such as `datasets/ID/compare?experimentId=...`: the same view of this page."""
    path = request.scope["path"].removeprefix(request.scope["root_path"])
    asked = f"?{request.url.query}" if request.url.query else ""
    # Relative, so that it is right behind every prefix and port.
    up = "../" * (path.count("/") - 1) or "./"
    return RedirectResponse(f"{up}#{quote(path)}{asked}")


for _view in ("projects", "datasets", "prompts"):
    router.add_api_route(f"/{_view}", linked)
    router.add_api_route(f"/{_view}/{{rest:path}}", linked)


def _answer(request: Request, name: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise NotFound("the page has no such file")
    headers = {**_headers(), "ETag": found.tag}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)


@cache
def _files() -> dict[str, _File]:
    folder = files("query_api.surfaces.llm").joinpath("assets")
    contents = {each.name: each.read_text("utf-8") for each in folder.iterdir()} | {"style.css": asset("style.css")}
    return {name: _File(text, _TYPES[name[name.rindex(".") :]], f'"{_digest(text).hex()[:32]}"') for name, text in contents.items()}


@cache
def _headers() -> dict[str, str]:
    """Only the page's own files run, and no text becomes markup in it whatever a span holds."""
    inline = " ".join(f"'sha256-{b64encode(_digest(script)).decode()}'" for script in _INLINE.findall(_files()[_HOME].content))
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; script-src 'self' {inline}; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
