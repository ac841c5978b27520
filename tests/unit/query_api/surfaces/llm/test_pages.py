"""Addresses of Arize Phoenix on the page of the surface."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urljoin

import httpx
import pytest

from query_api.surfaces.catalogue import SURFACES
from query_api.surfaces.mount import whole_app
from tests.unit.query_api.parts import AwayRows, make_parts


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client from elsewhere, without a key."""
    app = whole_app(make_parts(AwayRows()), SURFACES)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("192.0.2.7", 1)), base_url="http://query/llm") as http:
        yield http


@pytest.mark.parametrize(
    ("linked", "shown"),
    [
        ("/datasets/RGF0YXNldDox/compare?experimentId=RXhwZXJpbWVudDox", "#/datasets/RGF0YXNldDox/compare?experimentId=RXhwZXJpbWVudDox"),
        ("/datasets/RGF0YXNldDox/experiments", "#/datasets/RGF0YXNldDox/experiments"),
        ("/projects/a%20b/traces/0af7", "#/projects/a%20b/traces/0af7"),
        ("/projects", "#/projects"),
        ("/projects/", "#/projects/"),
        ("/prompts/%22%3E%3Cscript%3E", "#/prompts/%22%3E%3Cscript%3E"),
    ],
)
async def test_addresses_that_clients_print_lead_to_the_same_view(http: httpx.AsyncClient, linked: str, shown: str) -> None:
    answer = await http.get(linked)
    assert answer.status_code == 307
    assert urljoin(f"http://query/llm{linked}", answer.headers["location"]) == f"http://query/llm/{shown}"


async def test_no_address_leads_to_another_host(http: httpx.AsyncClient) -> None:
    for linked in ("/projects//evil.example/x", "/datasets///evil.example", "/prompts/https://evil.example"):
        answer = await http.get(linked)
        assert answer.status_code == 307 and re.match(r"(\.\./)+#/", answer.headers["location"]), linked


async def test_other_paths_stay_unknown(http: httpx.AsyncClient) -> None:
    for path in ("/projectsome", "/index.html", "/v1/nothing"):
        assert (await http.get(path)).status_code == 404
