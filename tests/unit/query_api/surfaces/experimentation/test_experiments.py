"""Experiments, groups and the audit log over HTTP without anything behind them: permissions, odd bodies, tenants, and the store being away."""

from dataclasses import replace

import httpx
import pytest

from query_api.control.store import ControlStore
from tests.unit.query_api.stored import BASE, Service

ARMS = [{"name": "control", "allocation": 50}, {"name": "treatment", "allocation": 50}]
BODY = {"name": "e", "variants": ARMS}


async def made(service: Service, **fields: object) -> str:
    answer = await service.ask("POST", "/experiments", body={**BODY, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["id"])


async def sent(service: Service, content: str) -> httpx.Response:
    """Creates an experiment by a body that no JSON library would write."""
    headers = {"Authorization": "Bearer admin", "Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url=BASE, headers=headers) as http:
        return await http.post("/experiments", content=content.encode())


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("key", "reads", "writes", "audits"),
    [
        ("admin", True, True, True),
        ("analyst", True, True, True),
        ("developer", True, True, True),
        ("viewer", True, False, False),
        ("member", True, False, False),
        ("read", True, False, False),
        ("ingest", False, False, False),
    ],
)
async def test_roles_may_do_what_the_table_says(service: Service, key: str, reads: bool, writes: bool, audits: bool) -> None:
    """exp.errors.forbidden"""
    name = await made(service)
    asked = {
        ("GET", "/experiments"): reads,
        ("GET", f"/experiments/{name}"): reads,
        ("GET", "/exclusion-groups"): reads,
        ("POST", f"/experiments/{name}/start"): writes,
        ("POST", f"/experiments/{name}/pause"): writes,
        ("GET", "/audit-log"): audits,
    }
    for (method, path), allowed in asked.items():
        answer = await service.ask(method, path, key)
        assert (answer.status_code == 200) if allowed else code(answer) == (403, "FORBIDDEN"), (method, path, answer.text)
    for method, path, body in (("POST", "/experiments", BODY), ("PUT", f"/experiments/{name}", {"name": "f"}), ("POST", "/exclusion-groups", {"name": "g"})):
        assert (await service.ask(method, path, key, body)).status_code == ((201 if method == "POST" else 200) if writes else 403)


async def test_the_log_names_the_key(service: Service) -> None:
    name = (await service.ask("POST", "/experiments", "analyst", BODY)).json()["data"]["id"]
    await service.ask("PUT", f"/experiments/{name}", "developer", {"name": "renamed"})
    lines = (await service.ask("GET", "/audit-log", body=None, params={"id": name})).json()["data"]
    assert [(line["actor"]["key_id"], line["actor"]["user_id"], line["action"]) for line in lines] == [
        ("developer", None, "experiment.updated"),
        ("analyst", None, "experiment.created"),
    ]
    assert (lines[0]["before"], lines[0]["after"]) == ({"name": "e"}, {"name": "renamed"}) and lines[1]["before"] == {}


async def test_tenants_are_apart(service: Service) -> None:
    name = await made(service)
    for method, path in (("GET", f"/experiments/{name}"), ("POST", f"/experiments/{name}/start")):
        assert code(await service.ask(method, path, "other")) == (404, "NOT_FOUND")
    for path in ("/experiments", "/audit-log", "/exclusion-groups"):
        assert (await service.ask("GET", path, "other")).json()["meta"] == {"total": 0, "page": 1, "limit": 20, "pages": 0}


_DEEP = "[" * 100_000 + "]" * 100_000
_NESTED = '{"operator":"or","rules":[' * 300 + "]}" * 300


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"name": "x", "traffic": NaN}',
        '{"name": "x", "alpha": 1e999}',
        '{"name": "\\ud800"}',
        '{"name": "x\\u0000"}',
        '{"name": "x", "description": "\\ud800"}',
        '{"name": "x", "start_date": 1700000000}',
        '{"name": "x", "variants": null}',
        '{"name": "x", "variants": [{"name": "a"}]}',
        '{"name": "x", "overrides": {"u": "nobody"}}',
        '{"name": "x", "overrides": {"": "control"}}',
        f'{{"name": "x", "targeting": {_DEEP}}}',
        f'{{"name": "x", "targeting": {_NESTED}}}',
        f'{{"name": "x", "targeting": {{"rules": [{{"attribute": "a", "operator": "equals", "value": {_DEEP}}}]}}}}',
        f'{{"name": "x", "targeting": {{"rules": [{{"attribute": "a", "operator": "equals", "value": {10**400}}}]}}}}',
        '{"name": "x", "targeting": {"rules": [{"attribute": "a", "operator": "equals", "value": "\\ud800"}]}}',
        '{"name": "x", "targeting": {"rules": [{"attribute": "\\ud800", "operator": "exists"}]}}',
        '{"name": "x", "targeting": {"rules": [{"attribute": "a", "operator": "in", "value": [NaN]}]}}',
        '{"name": "x", "metrics": [{"name": "m", "event_name": "e", "window_s": 1e30}]}',
        '{"name": "x", "metrics": [{"name": "m", "event_name": "e", "guardrail": {"alpha": 0}}]}',
    ],
)
async def test_odd_bodies_are_refused_as_they_should_be(service: Service, content: str) -> None:
    """exp.errors.validation_error"""
    answer = await sent(service, content)
    assert answer.status_code in (400, 422) and answer.json()["error"]["code"] == "VALIDATION_ERROR" and answer.json()["error"]["message"]
    assert (await service.ask("GET", "/experiments")).json()["meta"]["total"] == 0


async def test_a_time_just_outside_the_years_that_can_be_said_is_the_nearest_one_inside(service: Service) -> None:
    name = await made(service, start_date="0001-01-01T00:00:00+23:00", end_date="9999-12-31T23:59:59-00:01")
    data = (await service.ask("GET", f"/experiments/{name}")).json()["data"]
    assert (data["start_date"], data["end_date"]) == ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")


async def test_a_plain_body_of_that_kind_is_taken(service: Service) -> None:
    assert (await sent(service, '{"name": "x", "variants": []}')).status_code == 201


@pytest.mark.parametrize("path", ["/experiments/a%00b", "/experiments/" + "x" * 201, "/audit-log?id=%00", "/audit-log?page=99999999999999999999"])
async def test_odd_paths_and_queries_are_refused(service: Service, path: str) -> None:
    assert code(await service.ask("GET", path)) == (422, "VALIDATION_ERROR")


async def test_a_read_answer_may_be_sent_back(service: Service) -> None:
    targeting = {"operator": "or", "rules": [{"attribute": "country", "operator": "in", "value": ["US"]}, {"operator": "and", "rules": []}]}
    metrics = [{"name": "m", "event_name": "e", "type": "ratio", "denominator_event_name": "d", "guardrail": {"action": "notify"}}]
    name = await made(service, targeting=targeting, metrics=metrics, end_date="2030-01-01T02:00:00+02:00")
    first = await service.ask("GET", f"/experiments/{name}")
    data = first.json()["data"]
    assert data["targeting"] == targeting and data["end_date"] == "2030-01-01T00:00:00Z"
    again = await service.ask("PUT", f"/experiments/{name}", body=data)
    assert again.json()["data"] == data and again.headers["etag"] == first.headers["etag"]
    copied = (await service.ask("POST", "/experiments", body=data)).json()["data"]
    assert copied["id"] != name and copied["metrics"] == data["metrics"]
    assert not {arm["id"] for arm in copied["variants"]} & {arm["id"] for arm in data["variants"]}


async def test_null_takes_away(service: Service) -> None:
    name = await made(service, end_date="2030-01-01T00:00:00Z", targeting={"rules": [{"attribute": "a", "operator": "exists"}]})
    data = (await service.ask("PUT", f"/experiments/{name}", body={"end_date": None, "targeting": None})).json()["data"]
    assert data["end_date"] is None and data["targeting"] == {"rules": [], "operator": "and"}


async def test_reads_answer_while_the_store_is_away(service: Service) -> None:
    name = await made(service)
    here = (await service.ask("GET", f"/experiments/{name}")).json()
    away = ControlStore("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    cut_off = Service(replace(service.parts, control=away))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(cut_off.app), base_url=BASE, headers={"Authorization": "Bearer admin"}) as http:
        answer = await http.get(f"/experiments/{name}")
        assert answer.json() == here and "etag" not in answer.headers
        assert (await http.get("/experiments")).json()["meta"]["total"] == 1
        for refused in (await http.post(f"/experiments/{name}/start"), await http.get("/audit-log")):
            assert code(refused) == (503, "SERVICE_UNAVAILABLE") and int(refused.headers["retry-after"]) >= 1
