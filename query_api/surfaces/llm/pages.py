"""The page for people at the root of the surface: traces, sessions, datasets, experiments and prompts, read through the REST API like any client does."""

from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from query_api.surfaces.site import Site

router = APIRouter(tags=["pages"], include_in_schema=False)
router.include_router(Site("query_api.surfaces.llm").router)


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
