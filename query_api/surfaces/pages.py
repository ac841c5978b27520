"""Pages for people: complete HTML in one answer, nothing fetched from elsewhere."""

from functools import cache
from importlib.resources import files

from starlette.responses import HTMLResponse

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@cache
def asset(name: str) -> str:
    """Text of a file in `query_api/surfaces/assets`."""
    return files("query_api.surfaces").joinpath("assets", name).read_text("utf-8")


def page(body: str) -> HTMLResponse:
    """A page in the platform's style. `body` is HTML that is safe already."""
    return HTMLResponse(body.replace("/*STYLE*/", asset("style.css")), headers=_HEADERS)
