"""Every read of the surface: a key that may not read, and a defect behind it."""

import re

import httpx
import pytest
from fastapi import APIRouter
from structlog.testing import capture_logs

from query_api.surfaces.catalogue import SURFACES
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.mount import surface_app
from tests.unit.query_api.parts import AwayRows, make_parts
from tests.unit.query_api.surfaces.llm.conftest import Ask

router = APIRouter()


@router.get("/broken")
async def broken() -> None:
    raise RuntimeError("secret detail")


_ROUTERS = next(routers for policy, routers in SURFACES if policy is LLM)
_PATHS = surface_app(LLM, make_parts(AwayRows()), _ROUTERS).openapi()["paths"]
READS = sorted(path.removeprefix(LLM.base) for path, methods in _PATHS.items() if "get" in methods)


@pytest.mark.parametrize("path", READS)
async def test_an_ingest_key_may_not_read(ask: Ask, path: str) -> None:
    answer = await ask("GET", re.sub(r"{\w+}", "missing", path), "ingest")
    assert answer.status_code == 403 and answer.headers["content-type"].startswith("text/plain")


async def test_a_defect_is_a_500_that_tells_only_its_id() -> None:
    app = surface_app(LLM, make_parts(AwayRows()), [router])
    with capture_logs() as logs:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://query") as http:
            answer = await http.get("/v1/broken")
    assert answer.status_code == 500 and answer.headers["content-type"].startswith("text/plain")
    assert "secret detail" not in answer.text and logs[0]["error_id"] in answer.text
    assert answer.headers["x-phoenix-server-version"]
