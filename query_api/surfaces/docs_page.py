"""The page that shows a surface's OpenAPI document; works without a network."""

from html import escape

from starlette.responses import Response

from query_api.surfaces.pages import asset, page


def docs_page(title: str) -> Response:
    """Reads `openapi.json` beside it and shows every operation."""
    return page(asset("docs.html").replace("{{title}}", escape(title)))
