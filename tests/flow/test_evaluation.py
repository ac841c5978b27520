"""Flags and assignments asked for over HTTP, from definition to exposure, row by row of the requirements catalogue."""

import http.client
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from scipy import stats

from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

FLAGS, EXPERIMENTS = "/api/v1/feature-flags", "/api/v1/experiments"
ONE, ALL = "/ofrep/v1/evaluate/flags/", "/ofrep/v1/evaluate/flags"
ARMS = [{"name": "control", "allocation": 50}, {"name": "treatment", "allocation": 50}]


@pytest.fixture(params=[("experimentation", ""), ("main", "/experimentation")], ids=["port", "prefix"])
def client(live: LiveStack, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    port, prefix = request.param
    with httpx.Client(base_url=live.url(port) + prefix, headers=live.headers, timeout=20) as client:
        yield client


def make_flag(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """A new, enabled flag that ingest knows already; by default the documented one."""
    request = row("exp.flags.create")["request"] | {"key": f"flag-{uuid.uuid4().hex}", "enabled": True} | fields
    answer = client.post(FLAGS, json=request)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    known(lambda: evaluate(client, data["key"], "somebody"))
    return data


def make_experiment(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """A new, started experiment that ingest knows already."""
    answer = client.post(EXPERIMENTS, json={"name": "evaluation", "variants": ARMS, **fields})
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    started = client.post(f"{EXPERIMENTS}/{data['id']}/start")
    assert started.status_code == 200, started.text
    known(lambda: assigned(client, data["id"], "somebody"), lambda found: found["reason"] != "not_running")
    return data


def known(ask: Callable[[], httpx.Response], true: Callable[[dict[str, Any]], bool] = lambda _: True) -> None:
    """Wait until a definition has reached ingest."""

    def check() -> bool:
        answer = ask()
        return answer.status_code == 200 and true(answer.json()["data"])

    eventually_sync(check)


def evaluate(client: httpx.Client, key: str, user: str, context: dict[str, Any] | None = None, **more: str) -> httpx.Response:
    return client.get(f"{FLAGS}/evaluate", params={"key": key, "user_id": user, "record": "false", "context": json.dumps(context or {}), **more})


def assigned(client: httpx.Client, experiment: str, user: str, context: dict[str, Any] | None = None, **more: str) -> httpx.Response:
    return client.get(
        "/api/v1/assignments", params={"experiment_id": experiment, "user_id": user, "record": "false", "context": json.dumps(context or {}), **more}
    )


@needs_catalogue
def test_evaluate_a_flag(client: httpx.Client) -> None:
    """exp.flags.evaluate"""
    documented = row("exp.flags.evaluate")
    flag = make_flag(client)
    answer = evaluate(client, flag["key"], "user_123", {"country": "US", "user_type": "premium"})
    assert answer.status_code in documented["status_accept"] and not missing_keys(answer.json(), documented["response_keys"])
    data = answer.json()["data"]
    assert (data["key"], data["enabled"], data["variation"], data["value"]) == (flag["key"], True, "on", True)
    assert (data["rule_id"], data["reason"]) == (flag["rules"][0]["id"], "TARGETING_MATCH"), "of two rules that match the first decides"
    users = [f"user-{n}" for n in range(200)]
    americans = [evaluate(client, flag["key"], user, {"country": "US"}).json()["data"] for user in users]
    assert {found["rule_id"] for found in americans} == {flag["rules"][1]["id"]}
    assert stats.binomtest(sum(found["value"] for found in americans), len(users), 0.25).pvalue > 1e-4
    other = evaluate(client, flag["key"], "user_123", {"country": "DE"}).json()["data"]
    assert (other["value"], other["rule_id"], other["reason"]) == (False, None, "DEFAULT")
    assert client.patch(f"{FLAGS}/{flag['id']}/toggle", json={"enabled": False}).status_code == 200
    known(lambda: evaluate(client, flag["key"], "u", {"user_type": "premium"}), lambda found: (found["reason"], found["value"]) == ("DISABLED", False))


@needs_catalogue
def test_the_documented_request_as_it_is_written(client: httpx.Client) -> None:
    """exp.flags.evaluate: the example does not percent-encode its braces and quotes."""
    flag = make_flag(client)
    target = urlsplit(str(client.base_url))
    connection = http.client.HTTPConnection(target.hostname or "", target.port or 0, timeout=20)
    path = f'{target.path.rstrip("/")}{FLAGS}/evaluate?key={flag["key"]}&user_id=user_123&context={{"country":"US","user_type":"premium"}}'
    connection.request("GET", path, headers={"Authorization": client.headers["authorization"]})
    answer = connection.getresponse()
    assert answer.status == 200 and json.load(answer)["data"]["rule_id"] == flag["rules"][0]["id"]
    connection.close()


@needs_catalogue
def test_what_evaluation_refuses(client: httpx.Client) -> None:
    """exp.flags.evaluate, exp.assignments.get: 401, 404 and 422."""
    flag = make_flag(client)
    asked = {"key": flag["key"], "user_id": "u"}
    cases = [
        (client.get(f"{FLAGS}/evaluate", params=asked, headers={"Authorization": "Bearer wrong"}), 401, "UNAUTHORIZED"),
        (evaluate(client, "no-such-flag", "u"), 404, "NOT_FOUND"),
        (assigned(client, "exp_missing", "u"), 404, "NOT_FOUND"),
        (client.get(f"{FLAGS}/evaluate", params={"key": flag["key"]}), 422, "VALIDATION_ERROR"),
        (client.get(f"{FLAGS}/evaluate", params={**asked, "context": "country=US"}), 422, "VALIDATION_ERROR"),
        (client.get(f"{FLAGS}/evaluate", params={**asked, "context": "[1]"}), 422, "VALIDATION_ERROR"),
        (client.get("/api/v1/assignments", params={"experiment_id": "exp_missing"}), 422, "VALIDATION_ERROR"),
        (client.post(f"{FLAGS}/evaluate", params=asked), 405, "METHOD_NOT_ALLOWED"),
    ]
    for answer, status, code in cases:
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert set(answer.json()["error"]) == {"code", "message", "details"}


async def exposures(live: LiveStack, position: str, experiment: str) -> list[dict[str, Any]]:
    """The stored events of an experiment, once the position is visible."""
    headers = {**live.headers, "X-Millstream-Wait-For": position, "X-Millstream-Wait-Timeout": "30"}
    async with httpx.AsyncClient(base_url=live.main_url, headers=headers, timeout=60) as client:
        answer = await client.get("/llm/v1/projects/default/spans", params={"limit": 1})
        assert answer.status_code == 200, answer.text
    clickhouse = live.clickhouse()
    try:
        return await clickhouse.query("SELECT * FROM events FINAL WHERE experiment = {name:String} ORDER BY unit", {"name": experiment})
    finally:
        await clickhouse.aclose()


@needs_catalogue
async def test_get_an_assignment(live: LiveStack, client: httpx.Client) -> None:
    """exp.assignments.get"""
    documented = row("exp.assignments.get")
    experiment = make_experiment(client, targeting=row("exp.experiments.create")["request"]["targeting"])
    desktop = {"country": "US", "device": "desktop"}
    answer = assigned(client, experiment["id"], "user_789", desktop, record="true")
    assert answer.status_code in documented["status_accept"] and not missing_keys(answer.json(), documented["response_keys"])
    data = answer.json()["data"]
    assert (data["experiment_id"], data["user_id"], data["reason"], data["recorded"]) == (experiment["id"], "user_789", "assigned", True)
    assert data["variant_id"] == {variant["name"]: variant["id"] for variant in experiment["variants"]}[data["variant"]]
    again = assigned(client, experiment["id"], "user_789", desktop, record="true")
    assert again.json()["data"]["recorded"] and "x-millstream-position" not in again.headers, "stored already"
    mobile = assigned(client, experiment["id"], "user_789", {"country": "US", "device": "mobile"}, record="true").json()["data"]
    assert (mobile["variant"], mobile["variant_id"], mobile["reason"], mobile["recorded"]) == (None, None, "targeting", False)
    (stored,) = await exposures(live, answer.headers["x-millstream-position"], experiment["id"])
    assert (stored["unit"], stored["event_type"], stored["variant"], stored["source"]) == ("user_789", "exposure", data["variant"], "assignment")
    assert json.loads(stored["metadata"]) == {"source": "assignment"} and stored["time"] == stored["received"]


@needs_catalogue
def test_assignments_are_stable_even_and_independent(client: httpx.Client) -> None:
    """exp.assignments.semantics"""
    row("exp.assignments.semantics")
    users = [f"user-{n}" for n in range(300)]
    first, second = make_experiment(client), make_experiment(client)
    found = {each["id"]: [assigned(client, each["id"], user).json()["data"]["variant"] for user in users] for each in (first, second)}
    assert found[first["id"]] == [assigned(client, first["id"], user).json()["data"]["variant"] for user in users], "the same each time"
    for variants in found.values():
        assert stats.binomtest(variants.count("control"), len(users), 0.5).pvalue > 1e-4
    pairs = list(zip(*found.values(), strict=True))
    table = [[pairs.count((a, b)) for b in ("control", "treatment")] for a in ("control", "treatment")]
    assert stats.chi2_contingency(table).pvalue > 1e-4
    for action in ("pause", "resume"):
        assert client.post(f"{EXPERIMENTS}/{first['id']}/{action}").status_code == 200
        known(lambda: assigned(client, first["id"], "u"), lambda data: (data["reason"] == "not_running") is (action == "pause"))  # noqa: B023
    assert found[first["id"]] == [assigned(client, first["id"], user).json()["data"]["variant"] for user in users], "also after a pause"


@needs_catalogue
def test_targeting_rules(client: httpx.Client) -> None:
    """exp.targeting.rules"""
    row("exp.targeting.rules")
    rules = [
        {"attribute": "country", "operator": "in", "value": ["US", "CA"]},
        {"operator": "or", "rules": [
            {"attribute": "app.version", "operator": "semver_greater_or_equal", "value": "2.1.0"},
            {"attribute": "email", "operator": "regex", "value": r"@example\.org$"},
            {"attribute": "age", "operator": "greater_than", "value": 17.5},
        ]},
        {"attribute": "blocked", "operator": "not_exists"},
    ]  # fmt: skip
    experiment = make_experiment(client, targeting={"operator": "and", "rules": rules})
    contexts: list[tuple[dict[str, Any], str]] = [
        ({"country": "US", "app": {"version": "2.10.0"}}, "assigned"),
        ({"country": "CA", "email": "me@example.org"}, "assigned"),
        ({"country": "CA", "age": "18"}, "assigned"),
        ({"country": "US", "app": {"version": "2.1.0-rc.1"}}, "targeting"),
        ({"country": "US", "age": 18, "blocked": True}, "targeting"),
        ({"country": "UK", "age": 18}, "targeting"),
        ({}, "targeting"),
    ]
    assert [assigned(client, experiment["id"], "u", context).json()["data"]["reason"] for context, _ in contexts] == [reason for _, reason in contexts]


@needs_catalogue
async def test_ofrep_with_an_experiment_records_the_exposure(live: LiveStack, client: httpx.Client) -> None:
    experiment = make_experiment(client)
    variations = [{"key": "treatment", "value": "new"}, {"key": "control", "value": "old"}]
    flag = make_flag(client, rules=[], variations=variations, experiment_id=experiment["id"])
    answer = client.post(ONE + flag["key"], json={"context": {"targetingKey": "u1"}})
    assert answer.status_code == 200, answer.text
    data = answer.json()
    assert (data["key"], data["reason"], data["value"]) == (flag["key"], "SPLIT", {"treatment": "new", "control": "old"}[data["variant"]])
    assert data["variant"] == assigned(client, experiment["id"], "u1").json()["data"]["variant"], "every door gives the same"
    (stored,) = await exposures(live, answer.headers["x-millstream-position"], experiment["id"])
    assert (stored["unit"], stored["variant"], stored["source"]) == ("u1", data["variant"], "flag_evaluation")


@needs_catalogue
def test_a_change_reaches_the_stream_and_the_next_evaluation_sees_it(client: httpx.Client) -> None:
    flag = make_flag(client, default_rule={"rollout_percentage": 100})
    body = {"context": {"targetingKey": "u1"}}
    first = client.post(ALL, json=body)
    assert {each["key"]: each for each in first.json()["flags"]}[flag["key"]]["value"] is True
    (stream,) = first.json()["eventStreams"]
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(str(client.base_url)))
    address = httpx.URL(origin + stream["endpoint"]["requestUri"])
    with httpx.Client(timeout=10) as listener, listener.stream("GET", address, headers={"Origin": "https://shop.example"}) as events:
        assert events.status_code == 200 and events.headers["content-type"] == "text/event-stream"
        assert events.headers["access-control-allow-origin"] == "*"
        lines = events.iter_lines()
        assert next(lines) == ": open"
        changed = client.put(f"{FLAGS}/{flag['id']}", json={"default_rule": {"rollout_percentage": 0}})
        assert changed.status_code == 200, changed.text
        deadline = time.monotonic() + 10
        # Other tests change definitions of this tenant too: each event is followed until the answer is the new one.
        etag, seen = first.headers["etag"], True
        while seen and time.monotonic() < deadline:
            name, _, value = next(lines).partition(": ")
            if name != "data":
                continue
            told = json.loads(value)
            assert told["type"] == "refetchEvaluation"
            refetched = client.post(ALL, json=body, headers={"If-None-Match": etag}, params={"flagConfigEtag": told["etag"]})
            assert refetched.status_code == 200, "what was told is evaluated"
            etag = refetched.headers["etag"]
            seen = {each["key"]: each for each in refetched.json()["flags"]}[flag["key"]]["value"]
        assert seen is False
    path = str(address.path).removeprefix("/experimentation")
    assert client.get(path, headers={"Authorization": ""}).status_code == 401, "without its token the stream does not open"
