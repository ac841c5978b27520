"""A page of several files: those in the folder of its surface, and those that pages share."""

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from infra.runtime.errors import NotFound

_HOME: Final = "index.html"
_TYPES: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
_SHARED: Final = (".css", ".js")
_INLINE: Final = re.compile("<script>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True)
class _File:
    """A file of the page, and what tells its versions apart."""

    content: str
    media_type: str
    tag: str


class Site:
    """Serves `index.html` of `package`/assets at `/`, and every file of the page at `/ui/NAME`; without a key, and not in the OpenAPI document."""

    def __init__(self, package: str) -> None:
        self._package = package
        self.router = APIRouter(tags=["pages"], include_in_schema=False)
        self.router.add_api_route("/", self._home)
        self.router.add_api_route("/ui/{name}", self._file)

    async def _home(self, request: Request) -> Response:
        return self._answer(request, _HOME)

    async def _file(self, request: Request, name: str) -> Response:
        return self._answer(request, name)

    def _answer(self, request: Request, name: str) -> Response:
        found = self._files.get(name)
        if found is None:
            raise NotFound("the page has no such file")
        headers = {**self._headers, "ETag": found.tag}
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.media_type)

    @cached_property
    def _files(self) -> dict[str, _File]:
        shared = _texts("query_api.surfaces")
        contents = {name: text for name, text in shared.items() if name.endswith(_SHARED)} | _texts(self._package)
        return {name: _File(text, _TYPES[name[name.rindex(".") :]], f'"{_digest(text).hex()[:32]}"') for name, text in contents.items()}

    @cached_property
    def _headers(self) -> dict[str, str]:
        """Only the page's own files run, and no text becomes markup in it whatever the data hold."""
        inline = " ".join(f"'sha256-{b64encode(_digest(script)).decode()}'" for script in _INLINE.findall(self._files[_HOME].content))
        return {
            "Content-Security-Policy": (
                f"default-src 'none'; script-src 'self' {inline}; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
            ),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }


def _texts(package: str) -> dict[str, str]:
    return {each.name: each.read_text("utf-8") for each in files(package).joinpath("assets").iterdir()}


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
