"""Annotation configurations over the API of the LLM surface."""

from typing import Any

import pytest

from schemas.global_id import global_id, parse
from tests.unit.query_api.surfaces.llm.conftest import Ask

PATH = "/annotation_configs"
TONE: dict[str, Any] = {
    "name": "tone",
    "type": "CATEGORICAL",
    "optimization_direction": "MAXIMIZE",
    "description": "How it sounds",
    "values": [{"label": "kind", "score": 1.0}, {"label": "rude", "score": None}],
}
LENGTH: dict[str, Any] = {"name": "length", "type": "CONTINUOUS", "optimization_direction": "NONE", "lower_bound": 0, "upper_bound": 10}
REMARK: dict[str, Any] = {"name": "remark", "type": "FREEFORM"}


async def created(ask: Ask, body: dict[str, Any]) -> dict[str, Any]:
    answer = await ask("POST", PATH, body=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_each_type_comes_back_as_it_was_sent(ask: Ask) -> None:
    tone, length, remark = [await created(ask, body) for body in (TONE, LENGTH, REMARK)]
    assert {**tone, "id": ""} == {**TONE, "id": ""}
    assert {**length, "id": ""} == {**LENGTH, "id": "", "description": None}
    assert {name: value for name, value in remark.items() if value is not None and name != "id"} == REMARK
    kinds = [found.type for each in (tone, length, remark) if (found := parse(each["id"]))]
    assert kinds == ["CategoricalAnnotationConfig", "ContinuousAnnotationConfig", "FreeformAnnotationConfig"]
    for each in (tone, length, remark):
        for identifier in (each["id"], each["name"]):
            assert (await ask("GET", f"{PATH}/{identifier}", "viewer")).json() == {"data": each}
    first = (await ask("GET", f"{PATH}?limit=2")).json()
    second = (await ask("GET", f"{PATH}?limit=2&cursor={first['next_cursor']}")).json()
    assert first["data"] == [remark, length] and second == {"data": [tone], "next_cursor": None}


async def test_a_configuration_is_replaced_and_deleted(ask: Ask) -> None:
    tone = await created(ask, TONE)
    changed = (await ask("PUT", f"{PATH}/{tone['id']}", body=REMARK)).json()["data"]
    assert changed["name"] == "remark" and changed["type"] == "FREEFORM"
    for identifier in (tone["id"], changed["id"]):
        assert (await ask("GET", f"{PATH}/{identifier}")).json()["data"] == changed
    assert (await ask("DELETE", f"{PATH}/{tone['id']}")).json() == {"data": changed}
    for method in ("GET", "DELETE"):
        assert (await ask(method, f"{PATH}/{changed['id']}")).status_code == 404
    assert (await ask("GET", PATH)).json() == {"data": [], "next_cursor": None}


async def test_names_are_unique_and_not_that_of_notes(ask: Ask) -> None:
    await created(ask, TONE)
    remark = await created(ask, REMARK)
    for answer in (
        await ask("POST", PATH, body={**REMARK, "name": "tone"}),
        await ask("PUT", f"{PATH}/{remark['id']}", body=TONE),
        await ask("POST", PATH, body={**REMARK, "name": "note"}),
    ):
        assert answer.status_code == 409 and answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**TONE, "type": "BINARY"}, "body"),
        ({**TONE, "values": []}, "values"),
        ({**TONE, "values": [{"label": ""}]}, "label"),
        ({**TONE, "values": [{"label": "a"}, {"label": "a"}]}, "values"),
        ({**TONE, "name": ""}, "name"),
        ({**TONE, "optimization_direction": "UP"}, "optimization_direction"),
        ({**LENGTH, "upper_bound": 0}, "CONTINUOUS"),
        ({**REMARK, "lower_bound": 2, "upper_bound": 1}, "FREEFORM"),
    ],
)
async def test_wrong_fields_are_named(ask: Ask, body: dict[str, Any], field: str) -> None:
    answer = await ask("POST", PATH, body=body)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"][-1] == field, answer.text
    assert (await ask("GET", PATH)).json()["data"] == []


async def test_wrong_ids_and_cursors(ask: Ask) -> None:
    await created(ask, TONE)
    for identifier, status in (("tone", 422), (global_id("Prompt", 1), 404), (global_id("FreeformAnnotationConfig", 2**70), 404)):
        for method, body in (("PUT", TONE), ("DELETE", None)):
            assert (await ask(method, f"{PATH}/{identifier}", body=body)).status_code == status
    for cursor in ("x", global_id("Prompt", 1)):
        assert (await ask("GET", f"{PATH}?cursor={cursor}")).status_code == 422


async def test_roles_and_tenants(ask: Ask) -> None:
    tone = await created(ask, TONE)
    assert (await ask("POST", PATH, "viewer", REMARK)).status_code == 403
    assert (await ask("GET", PATH, "ingest")).status_code == 403
    assert (await ask("GET", PATH, "other")).json()["data"] == []
    for method, body in (("GET", None), ("PUT", REMARK), ("DELETE", None)):
        assert (await ask(method, f"{PATH}/{tone['id']}", "other", body)).status_code == 404
    assert (await ask("POST", PATH, "other", TONE)).status_code == 200
