"""A defect behind the surface is answered in its own shape and tells nothing but an id."""

import re

import httpx
from fastapi import APIRouter
from structlog.testing import capture_logs

from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from query_api.surfaces.mount import surface_app
from tests.unit.query_api.parts import AwayRows, make_parts

router = APIRouter()


@router.get("/broken")
async def broken() -> None:
    raise RuntimeError("secret detail")


async def test_exp_errors_internal_error() -> None:
    """exp.errors.internal_error"""
    app = surface_app(EXPERIMENTATION, make_parts(AwayRows()), [router])
    with capture_logs() as logs:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://query") as http:
            answer = await http.get("/api/v1/broken")
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["code"] == "INTERNAL_ERROR" and "secret detail" not in answer.text
    assert re.fullmatch(r"[0-9a-f]{32}", error["details"]["error_id"]) and logs[0]["error_id"] == error["details"]["error_id"]
