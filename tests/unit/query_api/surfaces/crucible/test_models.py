"""Models over the API of the crucible surface. Rows crucible.models.*, but for what statistics come to, which needs an engine."""

import asyncio
from typing import Any

import pytest

from query_api.control.audit import AuditFilter
from query_api.domain.model_statistics import MOST_REASONS, most_frequent
from tests.unit.query_api.stored import Service
from tests.unit.query_api.surfaces.crucible.conftest import Ask

PATH = "/models"
CONFIG = {"endpoint": "https://api.example.com/v1/completions", "api_key_env": "CUSTOM_API_KEY", "max_tokens": 4096, "stop_token": "</s>"}
KEYS = {"id", "name", "provider", "type", "config", "status", "created_at", "updated_at"}


async def created(ask: Ask, name: str = "Custom Model", **fields: Any) -> dict[str, Any]:
    answer = await ask("POST", PATH, body={"model": {"name": name, "provider": "custom", **fields}})
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def names(ask: Ask, query: str) -> list[str]:
    answer = await ask("GET", f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    return [each["name"] for each in answer.json()["data"]]


async def test_created_read_changed_and_deleted(ask: Ask) -> None:
    """crucible.models.create, crucible.models.get, crucible.models.update, crucible.models.delete"""
    made = await created(ask, config=CONFIG)
    assert set(made) == KEYS and made["id"].startswith("model_") and len(made["id"]) == len("model_") + 16
    assert (made["type"], made["status"], made["config"]) == ("llm", "active", CONFIG) and made["created_at"] == made["updated_at"]
    path = f"{PATH}/{made['id']}"
    assert (await ask("GET", path, "viewer")).json() == {"data": made}
    changes = {"status": "deprecated", "config": {"temperature": 0}, "name": None}
    changed = (await ask("PATCH", path, body={"model": changes})).json()["data"]
    assert changed == {**made, "status": "deprecated", "config": {"temperature": 0}, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > made["updated_at"] and (await ask("GET", path)).json()["data"] == changed
    for same in (changes, {}):
        assert (await ask("PATCH", path, body={"model": same})).json()["data"] == changed
    for config in ({"temperature": False}, {"temperature": 0.0}):
        assert (await ask("PATCH", path, body={"model": {"config": config}})).json()["data"]["updated_at"] > changed["updated_at"]
    gone = await ask("DELETE", path)
    assert gone.status_code == 204 and gone.content == b""
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"model": {"name": "x"}}), ("STATISTICS", None)):
        answer = await (ask("GET", f"{path}/statistics") if method == "STATISTICS" else ask(method, path, body=body))
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found", method


async def test_one_name_for_two(ask: Ask) -> None:
    first, second = await created(ask, "GPT-4"), await created(ask, "GPT-4")
    assert first["id"] != second["id"] and await names(ask, "filter[name]=gpt") == ["GPT-4", "GPT-4"]


async def test_the_audit_log_says_who_changed_what(ask: Ask, service: Service) -> None:
    id = (await created(ask))["id"]
    await ask("PATCH", f"{PATH}/{id}", "developer", {"model": {"status": "inactive", "provider": "custom"}})
    await ask("PATCH", f"{PATH}/{id}", "developer", {"model": {"status": "inactive"}})
    await ask("DELETE", f"{PATH}/{id}", "analyst")
    lines = [line.entry for line in (await service.parts.control.audit_log("default", AuditFilter(kind="ml_model"))).records]
    assert [(line.action, line.actor.key_name, line.id) for line in lines] == [
        ("ml_model.deleted", "analyst", id),
        ("ml_model.updated", "developer", id),
        ("ml_model.created", "admin", id),
    ]
    assert (lines[1].before, lines[1].after, lines[0].before) == ({"status": "active"}, {"status": "inactive"}, {"name": "Custom Model"})


async def test_changes_at_the_same_time_are_all_kept(ask: Ask, service: Service) -> None:
    path = f"{PATH}/{(await created(ask))['id']}"
    fields: list[dict[str, Any]] = [{"name": "n"}, {"provider": "p"}, {"type": "t"}, {"status": "inactive"}, {"config": {"a": 1}}]
    await asyncio.gather(*(ask("PATCH", path, body={"model": each}) for each in fields))
    found = (await ask("GET", path)).json()["data"]
    assert {name: found[name] for each in fields for name in each} == {name: value for each in fields for name, value in each.items()}
    assert (await service.parts.control.audit_log("default", AuditFilter(action="ml_model.updated"))).total == len(fields)


async def test_filters(ask: Ask) -> None:
    """crucible.models.list"""
    await created(ask, "Alpha", provider="openai")
    await created(ask, "beta 50%", status="inactive")
    await created(ask, "gamma_x", type="embedding")
    await created(ask, "gammaax", provider="OpenAI")
    assert await names(ask, "filter[status]=inactive") == ["beta 50%"] and await names(ask, "filter[type]=embedding") == ["gamma_x"]
    assert await names(ask, "filter[provider]=openai") == ["Alpha"] and await names(ask, "filter[provider]=custom") == ["gamma_x", "beta 50%"]
    assert await names(ask, "filter[name]=A_X") == ["gamma_x"] and await names(ask, "filter[name]=50%25&filter[status]=active") == []
    for query in ("filter[status]=gone", "filter[config]=x", "sort=type", "per_page=101", "cursor=abc"):
        answer = await ask("GET", f"{PATH}?{query}")
        assert answer.status_code == 422 and answer.json()["error"]["code"] == "validation_error", query


async def test_pages_by_number_and_by_cursor(ask: Ask) -> None:
    for name, provider in (("c", "x"), ("a", "y"), ("b", "x"), ("d", "y")):
        await created(ask, name, provider=provider)
    first = (await ask("GET", f"{PATH}?per_page=3")).json()
    assert [each["name"] for each in first["data"]] == ["d", "b", "a"]
    assert {**first["meta"], "next_cursor": ""} == {"total": 4, "page": 1, "per_page": 3, "next_cursor": "", "has_more": True}
    orders = {"name": "a b c d", "-provider": "d a b c", "provider": "c b a d", "updated_at": "c a b d", "-status": "d b a c", "-created_at": "d b a c"}
    for sort, expected in orders.items():
        seen: list[str] = []
        query = ""
        while True:
            page = (await ask("GET", f"{PATH}?sort={sort}&per_page=2{query}")).json()
            seen += [each["name"] for each in page["data"]]
            if not page["meta"]["has_more"]:
                break
            query = f"&cursor={page['meta']['next_cursor']}"
        assert " ".join(seen) == expected, sort


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ({"provider": "x"}, "name"),
        ({"name": "x"}, "provider"),
        ({"name": " ", "provider": "x"}, "name"),
        ({"name": "x", "provider": "x", "type": "t" * 65}, "type"),
        ({"name": "x", "provider": "x", "type": ""}, "type"),
        ({"name": "x", "provider": "x", "status": "retired"}, "status"),
        ({"name": "x", "provider": "x", "config": "{}"}, "config"),
        ({"name": "x", "provider": "x", "config": {"seed": 2**64}}, "config"),
        ({"name": "x", "provider": "x", "id": "model_1"}, "id"),
    ],
)
async def test_a_wrong_body_is_named_and_not_stored(ask: Ask, model: dict[str, Any], field: str) -> None:
    error = (await ask("POST", PATH, body={"model": model})).json()["error"]
    assert error["code"] == "validation_error" and set(error["details"]) == {field}
    assert (await ask("GET", PATH)).json()["data"] == []


async def test_a_config_holds_no_secrets(ask: Ask, service: Service) -> None:
    """crucible.models.create, crucible.models.update: whoever may read models sees their configs."""
    value = "sk-live-0123456789"
    refused = await ask("POST", PATH, body={"model": {"name": "x", "provider": "x", "config": {"auth": [{"apiKey": value}], "password": value}}})
    assert refused.status_code == 422 and value not in refused.text
    (first, second) = refused.json()["error"]["details"]["config"]
    assert "auth.0.apiKey_env" in first and "password_env" in second
    made = await created(ask, config=CONFIG)
    path = f"{PATH}/{made['id']}"
    changed = await ask("PATCH", path, body={"model": {"name": "y", "config": {"token": value}}})
    assert changed.status_code == 422 and list(changed.json()["error"]["details"]) == ["config"]
    assert (await ask("GET", path)).json()["data"] == made
    assert (await service.parts.control.audit_log("default", AuditFilter(kind="ml_model"))).total == 1


async def test_who_may(ask: Ask) -> None:
    path = f"{PATH}/{(await created(ask))['id']}"
    assert (await ask("GET", path, None)).status_code == 401
    writes = (("POST", PATH, {"model": {"name": "x", "provider": "x"}}), ("PATCH", path, {"model": {"name": "x"}}), ("DELETE", path, None))
    for key in ("viewer", "member", "read", "ingest"):
        for method, where, body in writes:
            answer = await ask(method, where, key, body)
            assert answer.status_code == 403 and answer.json()["error"]["code"] == "forbidden", (key, method)
    assert (await ask("GET", path, "member")).json()["data"]["name"] == "Custom Model"
    for where in (PATH, path, f"{path}/statistics"):
        assert (await ask("GET", where, "ingest")).status_code == 403


async def test_another_tenant_sees_nothing(ask: Ask) -> None:
    path = f"{PATH}/{(await created(ask))['id']}"
    assert (await ask("GET", PATH, "other")).json()["data"] == []
    for method, where, body in (("GET", path, None), ("PATCH", path, {"model": {"name": "x"}}), ("DELETE", path, None), ("GET", f"{path}/statistics", None)):
        assert (await ask(method, where, "other", body)).status_code == 404
    assert (await ask("GET", path)).json()["data"]["name"] == "Custom Model"


async def test_statistics_need_a_known_period_and_the_engine(ask: Ask) -> None:
    """crucible.models.statistics"""
    path = f"{PATH}/{(await created(ask))['id']}/statistics"
    wrong = await ask("GET", f"{path}?period=2h")
    assert wrong.status_code == 422 and list(wrong.json()["error"]["details"]) == ["period"] and "'1h', '24h', '7d' or '30d'" in wrong.text
    away = await ask("GET", path)
    assert away.status_code == 503 and away.json()["error"]["code"] == "unavailable"


def test_seldom_reasons_count_together() -> None:
    assert most_frequent({"a": 1, "b": 3, "c": 3}) == {"b": 3, "c": 3, "a": 1} and list(most_frequent({"a": 1, "b": 3})) == ["b", "a"]
    full = {f"r{number}": 2 for number in range(MOST_REASONS)}
    assert most_frequent(full) == full
    assert most_frequent({**full, "s": 1, "t": 1}) == {**full, "other": 2}
    assert most_frequent({"other": 5, **full, "s": 1})["other"] == 5 + 2 + 1
