"""Feature flags over HTTP, from the documented port and from the prefix, row by row of the requirements catalogue."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack

FLAGS = "/api/v1/feature-flags"


@pytest.fixture(params=[("experimentation", ""), ("main", "/experimentation")], ids=["port", "prefix"])
def client(live: LiveStack, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    port, prefix = request.param
    with httpx.Client(base_url=live.url(port) + prefix, headers=live.headers, timeout=20) as client:
        yield client


def make(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """A new flag, with the documented request and a key of its own."""
    request = row("exp.flags.create")["request"] | {"key": f"flag-{uuid.uuid4().hex}"} | fields
    answer = client.post(FLAGS, json=request)
    assert answer.status_code in row("exp.flags.create")["status_accept"], answer.text
    assert not missing_keys(answer.json(), row("exp.flags.create")["response_keys"])
    data: dict[str, Any] = answer.json()["data"]
    return data


def check(answer: httpx.Response, name: str) -> Any:
    """The data of an answer that is as the row documents it."""
    assert answer.status_code == row(name)["status"], answer.text
    assert not missing_keys(answer.json(), row(name)["response_keys"])
    return answer.json()["data"]


@needs_catalogue
def test_create_get_and_update(client: httpx.Client) -> None:
    """exp.flags.create, exp.flags.get, exp.flags.update"""
    flag = make(client)
    assert check(client.get(f"{FLAGS}/{flag['id']}"), "exp.flags.get") == flag
    updated = check(client.put(f"{FLAGS}/{flag['id']}", json=row("exp.flags.update")["request"]), "exp.flags.update")
    assert {**updated, "updated_at": ""} == {**flag, **row("exp.flags.update")["request"], "updated_at": ""}
    odd = client.get(f"{FLAGS}/flag%23%3F%25%C3%A9")
    assert "'flag#?%é'" in odd.json()["error"]["message"]
    for answer in (odd, client.get(f"{FLAGS}/flag_missing"), client.put(f"{FLAGS}/flag_missing", json={"name": "x"})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


@needs_catalogue
def test_list(client: httpx.Client) -> None:
    """exp.flags.list"""
    on, off = make(client, enabled=True), make(client, enabled=False)
    newest = check(client.get(FLAGS, params={"limit": 2}), "exp.flags.list")
    assert [flag["id"] for flag in newest] == [off["id"], on["id"]]
    enabled = client.get(FLAGS, params={"enabled": "true", "limit": 1}).json()
    assert enabled["data"][0]["id"] == on["id"] and enabled["meta"]["pages"] == enabled["meta"]["total"]
    assert client.get(FLAGS, params={"limit": 101}).json()["error"]["code"] == "VALIDATION_ERROR"


@needs_catalogue
def test_toggle(client: httpx.Client) -> None:
    """exp.flags.toggle"""
    flag = make(client, enabled=False)
    for enabled in (True, True, False):
        data = check(client.patch(f"{FLAGS}/{flag['id']}/toggle", json={"enabled": enabled}), "exp.flags.toggle")
        assert set(data) == {"id", "key", "enabled", "updated_at"} and data["enabled"] is enabled
        assert client.get(f"{FLAGS}/{flag['id']}").json()["data"]["enabled"] is enabled


@needs_catalogue
def test_rule_fields(client: httpx.Client) -> None:
    """exp.flags.rule_fields"""
    sent = row("exp.flags.create")["request"]
    flag = make(client)
    for rule, asked in zip(flag["rules"], sent["rules"], strict=True):
        assert rule["id"].startswith("rule_") and {name: rule[name] for name in asked} == asked
    assert flag["default_rule"] == sent["default_rule"]
    assert all(variation["id"].startswith("var_") for variation in flag["variations"])
    for share in (-1, 100.5):
        rule = sent["rules"][0] | {"rollout_percentage": share}
        answer = client.put(f"{FLAGS}/{flag['id']}", json={"rules": [rule]})
        assert answer.status_code == 422 and answer.json()["error"]["details"]["fields"][0]["field"] == "body.rules.0.rollout_percentage"


@needs_catalogue
def test_a_key_is_given_once(client: httpx.Client) -> None:
    """exp.flags.key_unique, exp.errors.conflict"""
    request = {"key": f"flag-{uuid.uuid4().hex}"}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.post(FLAGS, json=request), range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["error"]["code"] == "CONFLICT" and request["key"] in answer.json()["error"]["message"]
