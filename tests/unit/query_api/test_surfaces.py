"""Every route of every surface: its envelope of errors, who may call it, and what OpenAPI says about it."""

import re
from collections.abc import Iterator
from functools import cache

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Mount
from structlog.testing import capture_logs

from infra.runtime.errors import Unavailable
from query_api.domain.health import Probe, Probes
from query_api.surfaces.catalogue import SURFACES
from query_api.surfaces.crucible.policy import CRUCIBLE
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.mount import whole_app
from query_api.surfaces.policy import Policy
from tests.unit.query_api.parts import INGEST_KEY, READ_KEY, AwayRows, BrokenRows, ScriptedRows, make_parts

KEY = {"Authorization": f"Bearer {READ_KEY}"}
OPEN = {"/platform/v1/health/live", "/platform/v1/health/ready", "/platform/v1/lineage", "/platform/v1/live"}
NO_CLICKHOUSE = OPEN | {"/platform/v1/definitions"}
SAMPLES = {"kind": "cost", "project": "default"}


AWAY = AwayRows()
BROKEN = BrokenRows()


@cache
def app_over(rows: AwayRows | BrokenRows | ScriptedRows, probes: Probes | None = None) -> FastAPI:
    return whole_app(make_parts(rows, probes=probes), SURFACES)


def client(rows: AwayRows | BrokenRows | ScriptedRows, peer: str = "127.0.0.1", probes: Probes | None = None) -> httpx.AsyncClient:
    app = app_over(rows, probes)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(peer, 1)), base_url="http://query")


def found_routes() -> Iterator[tuple[Policy, str, str]]:
    app = app_over(AWAY)
    for mount in app.routes:
        if isinstance(mount, Mount) and isinstance(mount.app, FastAPI):
            for path, operations in mount.app.openapi()["paths"].items():
                for method in operations:
                    yield mount.app.state.policy, method.upper(), mount.path + path


ALL = [
    pytest.param(policy, method, re.sub(r"{(\w+)}", lambda match: SAMPLES.get(match[1], "missing"), path), id=f"{method} {path}")
    for policy, method, path in found_routes()
]
ROUTES = [pytest.param(param.values[0], param.values[2], id=param.id) for param in ALL if param.values[0] not in (CRUCIBLE, EXPERIMENTATION, LLM)]
"""What answers from ClickHouse alone; the surfaces with a control store of their own are tested in `surfaces/`."""


def check_shape(policy: Policy, response: httpx.Response, code: str) -> None:
    """The one error shape of the surface."""
    if policy.name == "llm":
        assert response.headers["content-type"].startswith("text/plain")
        assert response.text
        return
    error = response.json()["error"]
    assert set(error) == {"code", "message", "details"} | ({"retryable"} if policy.name == "platform" else set())
    assert error["code"] == policy.surface.codes.get(code, code)
    assert error["message"]


def test_routes_are_found() -> None:
    assert len(ROUTES) >= 5
    assert {param.values[0].name for param in ALL} == {policy.name for policy, _ in SURFACES}  # type: ignore[union-attr]


@pytest.mark.parametrize(("policy", "method", "path"), ALL)
async def test_every_operation_needs_a_key(policy: Policy, method: str, path: str) -> None:
    async with client(AWAY, peer="192.0.2.7") as http:
        response = await http.request(method, path)
    if path in OPEN:
        assert response.status_code == 200
        return
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    check_shape(policy, response, "unauthenticated")


@pytest.mark.parametrize(("policy", "path"), ROUTES)
async def test_an_ingest_key_may_not_read(policy: Policy, path: str) -> None:
    if path in OPEN:
        return
    async with client(AWAY) as http:
        response = await http.get(path, headers={"X-API-Key": INGEST_KEY})
    assert response.status_code == 403
    check_shape(policy, response, "forbidden")


@pytest.mark.parametrize(("policy", "path"), ROUTES)
async def test_clickhouse_away_is_a_retryable_503(policy: Policy, path: str) -> None:
    if path in NO_CLICKHOUSE:
        return
    async with client(AWAY) as http:
        response = await http.get(path, headers=KEY)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    check_shape(policy, response, "unavailable")


@pytest.mark.parametrize(("policy", "path"), ROUTES)
async def test_a_defect_is_a_500_that_tells_only_its_id(policy: Policy, path: str) -> None:
    if path in NO_CLICKHOUSE:
        return
    with capture_logs() as logs:
        async with client(BROKEN) as http:
            response = await http.get(path, headers=KEY)
    assert logs[0]["error_id"] in response.text
    assert response.status_code == 500
    assert "secret detail" not in response.text
    assert re.search(r"[0-9a-f]{32}", response.text)
    check_shape(policy, response, "internal")


@pytest.mark.parametrize(("policy", "method", "path"), ALL)
async def test_another_method_is_405_and_names_those_that_work(policy: Policy, method: str, path: str) -> None:
    async with client(AWAY) as http:
        response = await http.request("TRACE", path)
    assert response.status_code == 405
    assert method in response.headers["allow"].split(", ")
    check_shape(policy, response, "method_not_allowed")


@pytest.mark.parametrize("policy", [policy for policy, _ in SURFACES], ids=lambda policy: policy.name)
async def test_unknown_paths_answer_in_the_shape_of_their_surface(policy: Policy) -> None:
    async with client(AWAY) as http:
        for path in (f"{policy.prefix}/nothing", f"{policy.prefix}{policy.base}/nothing", f"{policy.prefix}/nothing/"):
            response = await http.get(path)
            assert response.status_code == 404
            check_shape(policy, response, "not_found")


async def test_paths_outside_every_surface_answer_as_the_platform() -> None:
    async with client(AWAY) as http:
        response = await http.get("/nowhere")
    assert response.status_code == 404
    check_shape(SURFACES[0][0], response, "not_found")


async def test_wrong_fields_are_named() -> None:
    async with client(AWAY) as http:
        platform = await http.get("/platform/v1/windows/cost?limit=0&grain=2m", headers=KEY)
        llm = await http.get("/llm/v1/projects/default/spans?limit=0", headers=KEY)
    fields = [field["field"] for field in platform.json()["error"]["details"]["fields"]]
    assert (platform.status_code, sorted(fields)) == (422, ["query.grain", "query.limit"])
    assert (llm.status_code, llm.json()["detail"][0]["loc"]) == (422, ["query", "limit"])


async def test_a_foreign_cursor_is_refused() -> None:
    def answer(sql: str, params: object) -> list[dict[str, object]]:
        return []

    async with client(ScriptedRows(answer)) as http:
        for cursor in ("x", "!!", "WzEsMl0", "e30"):
            assert (await http.get(f"/platform/v1/windows/cost?cursor={cursor}", headers=KEY)).status_code == 422
            response = await http.get(f"/llm/v1/projects/p/spans?cursor={cursor}", headers=KEY)
            assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (422, "text/plain")


async def test_a_wrong_position_is_refused() -> None:
    async with client(AWAY) as http:
        response = await http.get("/platform/v1/windows/cost", headers={**KEY, "X-Millstream-Wait-For": "events"})
    assert response.status_code == 400
    assert "topic:partition:offset" in response.json()["error"]["message"]


async def test_ready_names_the_part_and_tolerates_the_control_store() -> None:
    async def works() -> None:
        return None

    async def away() -> None:
        raise Unavailable("gone")

    degraded = Probes(Probe("clickhouse", works), Probe("control_store", away, required=False))
    missing = Probes(Probe("clickhouse", works), Probe("kafka", away))
    async with client(AWAY, probes=degraded) as http:
        response = await http.get("/platform/v1/health/ready")
        assert (response.status_code, response.json()["status"]) == (200, "degraded")
    async with client(AWAY, probes=missing) as http:
        response = await http.get("/platform/v1/health/ready")
    assert (response.status_code, response.json()["status"]) == (503, "not_ready")
    assert [part["part"] for part in response.json()["parts"] if not part["ready"]] == ["kafka"]


@pytest.mark.parametrize("policy", [policy for policy, _ in SURFACES], ids=lambda policy: policy.name)
async def test_openapi_describes_every_operation(policy: Policy) -> None:
    async with client(AWAY) as http:
        document = (await http.get(f"{policy.prefix}{policy.base}/openapi.json")).json()
        docs = await http.get(f"{policy.prefix}{policy.base}/docs")
    assert docs.status_code == 200
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"] and operation["description"] and operation["operationId"], path
            assert all(parameter.get("description") or parameter["name"] in {"limit"} for parameter in operation.get("parameters", [])), path


async def test_pages_fetch_nothing_from_elsewhere() -> None:
    async with client(AWAY) as http:
        for path in ("/platform/v1/", "/platform/v1/docs", "/platform/v1/lineage/page"):
            response = await http.get(path)
            assert response.status_code == 200
            assert "default-src 'none'" in response.headers["content-security-policy"]
            assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", response.text)
            assert "/*STYLE*/" not in response.text and "{{" not in response.text


async def test_metrics_are_exposed() -> None:
    async with client(AWAY) as http:
        await http.get("/platform/v1/health/live")
        response = await http.get("/metrics")
    assert 'millstream_query_requests_total{status="200",surface="platform"}' in response.text
