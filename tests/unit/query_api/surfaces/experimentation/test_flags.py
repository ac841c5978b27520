"""Feature flags over the API: what is stored, what is refused and what the audit log says."""

import asyncio
from typing import Any

import pytest

from query_api.control.audit import AuditFilter
from schemas.definition_kinds import Experiment, Variant
from schemas.flag import Flag
from tests.unit.query_api.stored import Service

CHECKOUT: dict[str, Any] = {
    "key": "new_checkout_flow",
    "name": "New Checkout Flow",
    "description": "Enable the new checkout flow",
    "enabled": False,
    "rules": [
        {"attribute": "user_type", "operator": "equals", "value": "premium", "rollout_percentage": 100},
        {"attribute": "country", "operator": "in", "value": ["US", "CA"], "rollout_percentage": 25},
    ],
    "default_rule": {"rollout_percentage": 0},
    "variations": [{"key": "on", "value": True}, {"key": "off", "value": False}],
}


async def created(service: Service, **fields: Any) -> dict[str, Any]:
    answer = await service.ask("POST", "/feature-flags", body=CHECKOUT | fields)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def refused(service: Service, **fields: Any) -> dict[str, Any]:
    answer = await service.ask("POST", "/feature-flags", body=CHECKOUT | fields)
    error: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "VALIDATION_ERROR"), answer.text
    assert error["details"]["fields"]
    return error


async def actions(service: Service) -> list[str]:
    return [record.entry.action for record in (await service.parts.control.audit_log("default", AuditFilter())).records][::-1]


async def test_a_flag_comes_back_as_it_was_sent_with_ids(service: Service) -> None:
    flag = await created(service)
    assert {name: flag[name] for name in ("key", "name", "description", "enabled", "default_rule")} == {name: CHECKOUT[name] for name in (
        "key", "name", "description", "enabled", "default_rule"
    )}  # fmt: skip
    assert [{name: rule[name] for name in CHECKOUT["rules"][0]} for rule in flag["rules"]] == CHECKOUT["rules"]
    assert flag["id"].startswith("flag_") and all(rule["id"].startswith("rule_") for rule in flag["rules"])
    assert all(variation["id"].startswith("var_") for variation in flag["variations"])
    assert flag["created_at"] == flag["updated_at"]
    assert (await service.ask("GET", f"/feature-flags/{flag['id']}")).json()["data"] == flag
    assert isinstance(service.parts.definitions.flag_by_key("default", "new_checkout_flow"), Flag)


async def test_the_least_flag_is_a_key(service: Service) -> None:
    flag = (await service.ask("POST", "/feature-flags", body={"key": "dark_mode"})).json()["data"]
    assert [(variation["key"], variation["value"]) for variation in flag["variations"]] == [("on", True), ("off", False)]
    assert (flag["name"], flag["enabled"], flag["rules"], flag["default_rule"], flag["experiment_id"]) == (
        "dark_mode",
        False,
        [],
        {"rollout_percentage": 0},
        None,
    )


async def test_nested_rules_and_variations_of_other_types(service: Service) -> None:
    nested = {"operator": "or", "rules": [{"attribute": "plan", "operator": "equals", "value": ""}, {"operator": "and", "rules": [
        {"attribute": "app", "operator": "semver_greater_than", "value": "1.2.0"}, {"attribute": "beta", "operator": "exists"}]}]}  # fmt: skip
    colours = [{"key": "red", "value": {"hex": "#f00"}}, {"key": "green", "value": {}}, {"key": "off", "value": {"hex": None}}]
    flag = await created(service, rules=[nested | {"variation": "green"}], variations=colours, default_rule={"rollout_percentage": 12.5, "variation": "red"})
    (rule,) = flag["rules"]
    assert rule["rules"][0] == nested["rules"][0]
    assert rule["rules"][1]["rules"][1] == {"attribute": "beta", "operator": "exists", "value": None}
    assert (rule["variation"], flag["default_rule"]) == ("green", {"rollout_percentage": 12.5, "variation": "red"})
    assert [variation["value"] for variation in flag["variations"]] == [{"hex": "#f00"}, {}, {"hex": None}]


async def test_a_key_belongs_to_one_flag_also_when_two_ask_at_once(service: Service) -> None:
    answers = await asyncio.gather(*(service.ask("POST", "/feature-flags", body={"key": "same", "name": str(number)}) for number in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    (winner,) = (answer.json()["data"] for answer in answers if answer.status_code == 201)
    assert (await service.ask("GET", f"/feature-flags/{winner['id']}")).json()["data"]["name"] == winner["name"]
    error = next(answer for answer in answers if answer.status_code == 409).json()["error"]
    assert (error["code"], error["details"]) == ("CONFLICT", {"key": "same", "id": winner["id"]})
    assert await actions(service) == ["flag.created"]
    assert (await service.ask("POST", "/feature-flags", "other", {"key": "same"})).status_code == 201


async def test_a_key_of_a_flag_defined_elsewhere_is_taken_too(service: Service) -> None:
    stored = await created(service)
    flag = service.parts.definitions.flag_by_key("default", stored["key"])
    assert flag is not None
    await service.define(Flag(tenant="default", id="by_hand", key="by_hand", variations=flag.variations))
    assert (await service.ask("POST", "/feature-flags", body={"key": "by_hand"})).status_code == 409


@pytest.mark.parametrize("key", ["", "a b", "a/b", "-a", "é", "x" * 129, "a\n"])
async def test_a_key_that_clients_cannot_ask_for_is_refused(service: Service, key: str) -> None:
    assert (await refused(service, key=key))["details"]["fields"][0]["field"] == "body.key"


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"variations": [{"key": "on", "value": True}]}, "variations"),
        ({"variations": [{"key": "on", "value": True}, {"key": "off", "value": "no"}]}, "variations: the values are of different JSON types"),
        ({"variations": [{"key": "on", "value": 1}, {"key": "on", "value": 2}]}, "variations: two have the same key"),
        ({"variations": [{"key": "on", "value": 2**64}, {"key": "off", "value": 2}]}, "variations[0].value: the integer has more than 64 bits"),
        ({"rules": [{"attribute": "a", "operator": "in", "value": "US"}]}, "rules[0].value: must be a list"),
        ({"rules": [{"attribute": "a", "operator": "in", "value": ["US"]}, {"operator": "equals", "value": "US"}]}, "rules[1].attribute"),
        ({"rules": [{"attribute": "a", "operator": "is", "value": 1}]}, "body.rules.0.operator"),
        ({"rules": [{"attribute": "a", "operator": "equals", "value": 1, "rollout_percentage": 101}]}, "body.rules.0.rollout_percentage"),
        ({"rules": [{"attribute": "a", "operator": "equals", "value": 1, "variation": "blue"}]}, "rules[0].variation: 'blue'"),
        ({"rules": [{"attribute": "a", "operator": "equals", "value": 1, "id": "rule_unknown"}]}, "rules[0].id"),
        ({"rules": [{"operator": "or", "rules": [{"attribute": "a", "operator": "regex", "value": "("}]}]}, "rules[0].rules[0].value"),
        ({"default_rule": {"variation": "blue"}}, "default_rule.variation"),
        ({"experiment_id": "exp_missing"}, "experiment_id"),
        ({"enabled": "yes"}, "body.enabled"),
        ({"enabeld": True}, "body.enabeld"),
    ],
)
async def test_a_wrong_field_is_named(service: Service, fields: dict[str, Any], names: str) -> None:
    error = await refused(service, **fields)
    assert names in error["message"]
    assert await actions(service) == []


@pytest.mark.parametrize("value", ['"\\ud800"', "NaN", "1e400", '{"\\ud800": 1}', "[" * 40 + "]" * 40, "[" * 5_000 + "]" * 5_000])
async def test_values_that_are_no_json_for_everybody_are_refused(service: Service, value: str) -> None:
    text = '{"key": "odd", "variations": [{"key": "on", "value": ' + value + '}, {"key": "off", "value": null}]}'
    answer = await service.ask("POST", "/feature-flags", content=text.encode())
    assert answer.status_code in (400, 422) and answer.json()["error"]["code"] == "VALIDATION_ERROR"


async def test_an_update_changes_what_it_names_and_keeps_ids(service: Service) -> None:
    flag = await created(service)
    swapped = [{**CHECKOUT["rules"][1], "rollout_percentage": 50}, {"attribute": "beta", "operator": "exists"}]
    answer = await service.ask("PUT", f"/feature-flags/{flag['id']}", body={"name": "Renamed", "rules": swapped})
    changed = answer.json()["data"]
    assert (answer.status_code, changed["name"], changed["description"], changed["variations"]) == (200, "Renamed", flag["description"], flag["variations"])
    assert changed["rules"][0]["id"] == flag["rules"][1]["id"] and changed["rules"][0]["rollout_percentage"] == 50
    assert changed["rules"][1]["id"] not in {rule["id"] for rule in flag["rules"]}
    assert changed["updated_at"] >= flag["updated_at"] and changed["created_at"] == flag["created_at"]

    again = await service.ask("PUT", f"/feature-flags/{flag['id']}", body=changed)
    assert (again.status_code, again.json()["data"]) == (200, changed)
    three = await service.ask("PUT", f"/feature-flags/{flag['id']}", body={"variations": [{"key": "off", "value": "x"}, {"key": "new", "value": "y"}]})
    assert [variation["id"] == flag["variations"][1]["id"] for variation in three.json()["data"]["variations"]] == [True, False]
    assert await actions(service) == ["flag.created", "flag.updated", "flag.updated"]


async def test_the_key_of_a_flag_stays(service: Service) -> None:
    flag = await created(service)
    assert (await service.ask("PUT", f"/feature-flags/{flag['id']}", body={"key": "another"})).status_code == 409
    assert (await service.ask("PUT", f"/feature-flags/{flag['id']}", body={"key": flag["key"], "name": "x"})).status_code == 200


async def test_updates_at_once_all_count(service: Service) -> None:
    flag = await created(service)
    path = f"/feature-flags/{flag['id']}"
    answers = await asyncio.gather(service.ask("PUT", path, body={"name": "n"}), service.ask("PUT", path, body={"description": "d"}), service.ask(
        "PATCH", f"{path}/toggle", body={"enabled": True}))  # fmt: skip
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    after = (await service.ask("GET", path)).json()["data"]
    assert (after["name"], after["description"], after["enabled"]) == ("n", "d", True)


async def test_toggling_sets_what_is_asked_for(service: Service) -> None:
    flag = await created(service)
    path = f"/feature-flags/{flag['id']}/toggle"
    first = (await service.ask("PATCH", path, body={"enabled": True})).json()["data"]
    assert first == {"id": flag["id"], "key": flag["key"], "enabled": True, "updated_at": first["updated_at"]}
    assert (await service.ask("PATCH", path, body={"enabled": True})).json()["data"] == first
    assert (await service.ask("PATCH", path, body={})).status_code == 422
    assert await actions(service) == ["flag.created", "flag.toggled"]


async def test_a_list_has_pages_and_a_filter(service: Service) -> None:
    for number in range(5):
        await created(service, key=f"flag-{number}", enabled=number % 2 == 0)
    whole = (await service.ask("GET", "/feature-flags")).json()
    assert whole["meta"] == {"total": 5, "page": 1, "limit": 20, "pages": 1}
    assert "rules" not in whole["data"][0]
    pages = [(await service.ask("GET", f"/feature-flags?page={page}&limit=2")).json() for page in (1, 2, 3, 4)]
    assert [flag["key"] for page in pages for flag in page["data"]] == [flag["key"] for flag in whole["data"]]
    assert pages[3] == {"data": [], "meta": {"total": 5, "page": 4, "limit": 2, "pages": 3}}
    enabled = (await service.ask("GET", "/feature-flags?enabled=true")).json()
    assert sorted(flag["key"] for flag in enabled["data"]) == ["flag-0", "flag-2", "flag-4"] and enabled["meta"]["total"] == 3
    for query in ("page=0", "limit=0", "limit=101", "limit=x", "enabled=maybe"):
        assert (await service.ask("GET", f"/feature-flags?{query}")).status_code == 422


async def test_a_flag_of_another_tenant_or_none_is_not_found(service: Service) -> None:
    flag = await created(service)
    for method, path, body in (("GET", "", None), ("PUT", "", {"name": "x"}), ("PATCH", "/toggle", {"enabled": True}), ("DELETE", "", None)):
        answer = await service.ask(method, f"/feature-flags/{flag['id']}{path}", "other", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
        assert (await service.ask(method, f"/feature-flags/flag_missing{path}", body=body)).status_code == 404
    assert (await service.ask("GET", "/feature-flags", "other")).json()["data"] == []


async def test_a_deleted_flag_is_gone_and_its_key_is_free(service: Service) -> None:
    flag = await created(service)
    answer = await service.ask("DELETE", f"/feature-flags/{flag['id']}")
    assert answer.json()["data"] == {"id": flag["id"], "deleted": True}
    assert (await service.ask("GET", f"/feature-flags/{flag['id']}")).status_code == 404
    assert service.parts.definitions.flag_by_key("default", flag["key"]) is None
    await created(service)
    assert await actions(service) == ["flag.created", "flag.deleted", "flag.created"]


async def test_a_flag_may_follow_an_experiment(service: Service) -> None:
    await service.define(Experiment("default", "exp_1", variants=(Variant("on"), Variant("off"))))
    flag = await created(service, experiment_id="exp_1")
    assert flag["experiment_id"] == "exp_1"
    loose = await service.ask("PUT", f"/feature-flags/{flag['id']}", body={"experiment_id": None})
    assert loose.json()["data"]["experiment_id"] is None


async def test_the_audit_log_says_who_and_what(service: Service) -> None:
    flag = await created(service)
    await service.ask("PATCH", f"/feature-flags/{flag['id']}/toggle", "developer", {"enabled": True})
    (line, *_) = (await service.parts.control.audit_log("default", AuditFilter(kind="flag", id=flag["id"]))).records
    assert (line.entry.action, line.entry.actor.key_id, line.entry.before["enabled"], line.entry.after["enabled"]) == ("flag.toggled", "developer", False, True)
