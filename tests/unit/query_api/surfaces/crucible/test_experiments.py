"""Experiments over the API of the crucible surface. Rows crucible.experiments.*, and what all lists and errors of it share."""

import asyncio
import json
from typing import Any

import pytest

from query_api.domain.cursor import encode_cursor
from tests.unit.query_api.surfaces.crucible.conftest import Ask

PATH = "/experiments"
CONFIG = {"type": "ensemble", "models": ["gpt-4", "claude-3"], "voting_strategy": "majority", "sample_size": 1000, "nested": {"deep": [1, None, 0.5]}}
KEYS = {"id", "name", "description", "status", "config", "tags", "started_at", "completed_at", "created_at", "updated_at"}


async def created(ask: Ask, **fields: Any) -> dict[str, Any]:
    answer = await ask("POST", PATH, body={"experiment": {"name": "New Ensemble Test", **fields}})
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def moved(ask: Ask, id: str, *moves: str) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for move in moves:
        answer = await ask("POST", f"{PATH}/{id}/{move}")
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
    return data


async def names(ask: Ask, query: str) -> list[str]:
    answer = await ask("GET", f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    return [each["name"] for each in answer.json()["data"]]


async def test_created_read_changed_and_deleted(ask: Ask) -> None:
    """crucible.experiments.create, crucible.experiments.get, crucible.experiments.update, crucible.experiments.delete, crucible.envelope.success"""
    made = await created(ask, description="Testing majority voting", config=CONFIG, tags=["ensemble", "comparison"])
    assert set(made) == KEYS and made["id"].startswith("exp_")
    assert made["status"] == "pending" and made["config"] == CONFIG and made["tags"] == ["ensemble", "comparison"]
    assert made["started_at"] is None and made["completed_at"] is None and made["created_at"] == made["updated_at"]
    path = f"{PATH}/{made['id']}"
    assert (await ask("GET", path, "viewer")).json() == {"data": {**made, "runs": [], "results_summary": {"best_accuracy": None, "total_runs": 0}}}
    changed = (await ask("PATCH", path, body={"experiment": {"name": "Updated Name", "description": None}})).json()["data"]
    assert changed == {**made, "name": "Updated Name", "updated_at": changed["updated_at"]}
    gone = await ask("DELETE", path)
    assert gone.status_code == 204 and gone.content == b""
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"experiment": {"name": "x"}}), ("POST", None)):
        answer = await ask(method, f"{path}/start" if method == "POST" else path, body=body)
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found", method


async def test_states(ask: Ask) -> None:
    """crucible.experiments.start, crucible.experiments.pause, crucible.experiments.resume, crucible.experiments.cancel, crucible.experiments.status_values"""
    id = (await created(ask))["id"]
    started = await moved(ask, id, "start")
    assert started["status"] == "running" and started["started_at"] and started["completed_at"] is None
    assert (await moved(ask, id, "pause"))["status"] == "paused"
    resumed = await moved(ask, id, "resume")
    assert resumed["status"] == "running" and resumed["started_at"] == started["started_at"]
    cancelled = await moved(ask, id, "cancel")
    assert cancelled["status"] == "cancelled" and cancelled["completed_at"]
    for outcome in ("completed", "failed"):
        id = (await created(ask))["id"]
        early = await ask("PATCH", f"{PATH}/{id}", body={"experiment": {"status": outcome}})
        assert early.status_code == 422 and "pending" in early.json()["error"]["message"]
        await moved(ask, id, "start")
        ended = (await ask("PATCH", f"{PATH}/{id}", body={"experiment": {"status": outcome, "description": "over"}})).json()["data"]
        assert ended["status"] == outcome and ended["completed_at"] and ended["description"] == "over"


@pytest.mark.parametrize(
    ("moves", "refused"), [((), "pause"), ((), "resume"), (("start",), "start"), (("start",), "resume"), (("cancel",), "start"), (("cancel",), "cancel")]
)
async def test_a_move_from_the_wrong_state_changes_nothing(ask: Ask, moves: tuple[str, ...], refused: str) -> None:
    id = (await created(ask))["id"]
    await moved(ask, id, *moves)
    before = (await ask("GET", f"{PATH}/{id}")).json()
    answer = await ask("POST", f"{PATH}/{id}/{refused}")
    assert answer.status_code == 422 and answer.json()["error"]["code"] == "validation_error"
    assert list(answer.json()["error"]["details"]) == ["status"] and before["data"]["status"] in answer.json()["error"]["message"]
    assert (await ask("GET", f"{PATH}/{id}")).json() == before


async def test_of_moves_at_the_same_time_one_counts(ask: Ask) -> None:
    id = (await created(ask))["id"]
    answers = await asyncio.gather(*(ask("POST", f"{PATH}/{id}/start") for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422, 422]


async def test_a_clone_is_pending_and_stands_by_itself(ask: Ask) -> None:
    """crucible.experiments.clone"""
    source = await created(ask, config=CONFIG, tags=["a"], description="first")
    await moved(ask, source["id"], "start")
    answer = await ask("POST", f"{PATH}/{source['id']}/clone", body={"name": "Cloned Experiment Name"})
    clone = answer.json()["data"]
    assert answer.status_code == 201 and clone["id"] != source["id"]
    assert {name: clone[name] for name in ("name", "status", "config", "tags", "description", "started_at")} == {
        "name": "Cloned Experiment Name", "status": "pending", "config": CONFIG, "tags": ["a"], "description": "first", "started_at": None,
    }  # fmt: skip
    assert (await ask("POST", f"{PATH}/exp_0/clone", body={"name": "x"})).status_code == 404


async def test_filters(ask: Ask) -> None:
    """crucible.experiments.list, crucible.params.filter"""
    for name in ("Alpha", "beta 50%", "gamma_x", "gammaax"):
        await created(ask, name=name)
    await moved(ask, (await ask("GET", f"{PATH}?filter[name]=alpha")).json()["data"][0]["id"], "start")
    assert await names(ask, "filter[status]=running") == ["Alpha"]
    assert await names(ask, "filter[name]=LPH") == ["Alpha"]
    assert await names(ask, "filter[name]=50%25") == ["beta 50%"] and await names(ask, "filter[name]=a_x") == ["gamma_x"]
    rows = (await ask("GET", f"{PATH}?sort=created_at")).json()["data"]
    assert await names(ask, f"filter[created_after]={rows[1]['created_at']}") == ["gammaax", "gamma_x"]
    assert await names(ask, f"filter[created_before]={rows[1]['created_at']}&filter[status]=running") == ["Alpha"]
    for query in (
        "filter[status]=ACTIVE",
        "filter[created_after]=yesterday",
        "filter[owner]=me",
        "sort=config",
        "per_page=101",
        "per_page=0",
        "page=0",
        "cursor=abc",
        f"cursor={encode_cursor(('-created_at_us', 10**30, 1))}",
        f"cursor={encode_cursor(('-created_at_us', 1, 10**30))}",
    ):
        answer = await ask("GET", f"{PATH}?{query}")
        assert answer.status_code == 422 and answer.json()["error"]["code"] == "validation_error", query
        assert all(isinstance(messages, list) for messages in answer.json()["error"]["details"].values()), query
    assert "filter[owner]" in (await ask("GET", f"{PATH}?filter[owner]=me")).json()["error"]["details"]


@pytest.mark.parametrize("rest", ["", "/logs", "/checkpoints", "/checkpoints/epoch%2F40/download"])
async def test_the_id_of_a_run_may_have_slashes(ask: Ask, rest: str) -> None:
    answer = await ask("GET", f"/runs/team%2Fproject%2Frun 1{rest}")
    said = "the run has no checkpoint epoch/40" if rest.endswith("download") else "no telemetry names a run team/project/run 1"
    assert answer.status_code == 404 and answer.json()["error"]["message"] == said


async def test_pages_by_number_and_by_cursor(ask: Ask) -> None:
    """crucible.params.page, crucible.params.per_page, crucible.params.sort, crucible.pagination.page, crucible.pagination.cursor"""
    for name in ("c", "a", "b", "a", "d"):
        await created(ask, name=name)
    first = (await ask("GET", f"{PATH}?per_page=2")).json()
    assert [each["name"] for each in first["data"]] == ["d", "a"]
    assert {**first["meta"], "next_cursor": ""} == {"total": 5, "page": 1, "per_page": 2, "next_cursor": "", "has_more": True}
    assert await names(ask, "per_page=2&page=3") == ["c"] and await names(ask, "page=9") == []
    for sort, expected in (("name", "a a b c d"), ("-name", "d c b a a"), ("-created_at", "d a b a c"), ("created_at", "c a b a d"), ("-status", "d a b a c")):
        seen: list[str] = []
        ids: set[str] = set()
        query = ""
        while True:
            page = (await ask("GET", f"{PATH}?sort={sort}&per_page=2{query}")).json()
            seen += [each["name"] for each in page["data"]]
            ids |= {each["id"] for each in page["data"]}
            if not page["meta"]["has_more"]:
                assert page["meta"]["next_cursor"] is None
                break
            query = f"&cursor={page['meta']['next_cursor']}"
            # What comes in between is no reason to see something twice.
            if sort == "-created_at" and len(seen) == 2:
                await created(ask, name="late")
        assert " ".join(name for name in seen if name != "late") == expected and len(ids) == len(seen), sort
        for wrong in (f"sort=updated_at{query}", f"page=2&sort={sort}{query}"):
            assert (await ask("GET", f"{PATH}?{wrong}")).status_code == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"experiment": {}}, "name"),
        ({"experiment": {"name": "  "}}, "name"),
        ({"experiment": {"name": None}}, "name"),
        ({"experiment": {"name": "x" * 301}}, "name"),
        ({"experiment": {"name": "x", "config": []}}, "config"),
        ({"experiment": {"name": "x", "config": {"seed": 2**64}}}, "config"),
        ({"experiment": {"name": "x", "config": {"deep": json.loads("[" * 40 + "]" * 40)}}}, "config"),
        ({"experiment": {"name": "x", "tags": [1]}}, "tags.0"),
        ({"experiment": {"name": "x", "surprise": 1}}, "surprise"),
        ({"name": "x"}, "experiment"),
    ],
)
async def test_a_wrong_body_is_named_and_not_stored(ask: Ask, body: dict[str, Any], field: str) -> None:
    """crucible.envelope.error, crucible.errors.validation_error"""
    answer = await ask("POST", PATH, body=body)
    error = answer.json()["error"]
    assert answer.status_code == 422 and error["code"] == "validation_error" and field in error["details"] and field in error["message"].lower()
    assert field == "experiment" or set(error["details"]) == {field}
    assert (await ask("GET", PATH)).json()["data"] == []


async def test_a_blank_name_reads_as_in_the_documentation(ask: Ask) -> None:
    for given in ({}, {"name": ""}):
        error = (await ask("POST", PATH, body={"experiment": given})).json()["error"]
        assert error["details"] == {"name": ["can't be blank"]} and error["message"] == "Name is required"


async def test_what_is_no_json_is_an_error_of_the_body(ask: Ask) -> None:
    answer = await ask("POST", PATH, content=b'{"experiment": ')
    assert answer.status_code == 422 and answer.json()["error"]["code"] == "validation_error"


async def test_who_may(ask: Ask) -> None:
    """crucible.errors.unauthorized, crucible.errors.forbidden, crucible.auth.api_key"""
    id = (await created(ask))["id"]
    none = await ask("GET", PATH, None)
    assert none.status_code == 401 and none.json()["error"]["code"] == "unauthorized"
    assert (await ask("GET", PATH, "viewer")).status_code == 200
    for method, path, body in (("POST", PATH, {"experiment": {"name": "x"}}), ("POST", f"{PATH}/{id}/start", None), ("DELETE", f"{PATH}/{id}", None)):
        refused = await ask(method, path, "viewer", body)
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "forbidden"
    assert (await ask("GET", f"{PATH}/{id}", "viewer")).json()["data"]["status"] == "pending"


async def test_another_tenant_sees_nothing(ask: Ask) -> None:
    id = (await created(ask))["id"]
    assert (await ask("GET", PATH, "other")).json()["data"] == []
    assert (await ask("GET", f"{PATH}/{id}", "other")).status_code == 404
