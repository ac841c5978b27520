"""`lineage`: from door to reader, from the declarations that the code itself uses."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from query_api.domain.lineage_page import draw
from query_api.surfaces.pages import asset, page
from query_api.surfaces.policy import json_response
from schemas import lineage as declared

router = APIRouter(tags=["lineage"])


class LineageNode(BaseModel):
    """One station of the data."""

    name: str
    kind: str


class LineageEdge(BaseModel):
    """Data goes from source to target."""

    source: str
    kind: str
    target: str


class LineageData(BaseModel):
    """The whole graph."""

    nodes: list[LineageNode]
    edges: list[LineageEdge]


class Lineage(BaseModel):
    """Where everything comes from and goes to."""

    data: LineageData


_PAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}}, "description": "JSON, or the rendered page for a browser."}}


@router.get("/lineage", response_model=Lineage, operation_id="lineage", summary="Topic, agent, table, reader", responses=_PAGE)
async def lineage(request: Request) -> Response:
    """JSON; a browser, which asks for `text/html`, is sent to the rendered page, `/lineage/page`. Needs no key: it shows
    how the platform is made, not what anyone stored."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("lineage/page", headers={"Vary": "Accept"})
    nodes, edges = declared.lineage()
    return json_response(
        {
            "data": {
                "nodes": [{"name": node.name, "kind": node.kind} for node in nodes],
                "edges": [{"source": edge.source, "kind": edge.kind, "target": edge.target} for edge in edges],
            }
        },
        headers={"Vary": "Accept"},
    )


@router.get("/lineage/page", include_in_schema=False)
async def lineage_page() -> Response:
    return page(asset("lineage.html").replace("{{graph}}", draw(*declared.lineage())))
