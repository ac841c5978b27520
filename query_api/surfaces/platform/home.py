"""The page that shows what flows now."""

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from query_api.surfaces.pages import asset, page

router = APIRouter(include_in_schema=False)


@router.get("")
def without_slash() -> Response:
    # Relative, so that it is right behind every prefix and port.
    return RedirectResponse("v1/")


@router.get("/")
def home() -> Response:
    return page(asset("live.html"))
