"""Experiments over HTTP, from the documented port and from the prefix, row by row of the requirements catalogue."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

EXPERIMENTS = "/api/v1/experiments"
ARMS = [{"name": "control", "allocation": 50}, {"name": "treatment", "allocation": 50}]


@pytest.fixture(params=[("experimentation", ""), ("main", "/experimentation")], ids=["port", "prefix"])
def client(live: LiveStack, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    port, prefix = request.param
    with httpx.Client(base_url=live.url(port) + prefix, headers=live.headers, timeout=20) as client:
        yield client


def make(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """A new experiment."""
    answer = client.post(EXPERIMENTS, json={"name": "flow", "variants": ARMS, **fields})
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def step(client: httpx.Client, name: str, action: str) -> httpx.Response:
    return client.post(f"{EXPERIMENTS}/{name}/{action}")


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of an answer, which must be in the documented envelope."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json" and set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code and error["message"] and isinstance(error["details"], dict)
    return error


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@needs_catalogue
def test_exp_experiments_create_get_update(client: httpx.Client) -> None:
    """exp.experiments.create, exp.experiments.get, exp.experiments.update, exp.experiments.variant_fields, exp.experiments.metric_fields"""
    documented = row("exp.experiments.create")
    answer = client.post(documented["path"], json=documented["request"])
    assert answer.status_code in documented["status_accept"]
    assert not missing_keys(answer.json(), documented["response_keys"])
    data, asked = answer.json()["data"], documented["request"]
    assert data["id"].startswith("exp_") and data["status"] == "DRAFT" and data["created_at"] == data["updated_at"]
    for name in ("name", "description", "hypothesis", "start_date", "end_date", "targeting"):
        assert data[name] == asked[name]
    for variant, wanted in zip(data["variants"], asked["variants"], strict=True):
        assert variant["id"].startswith("var_") and wanted.items() <= variant.items() and isinstance(variant["allocation"], int)
    (metric,) = data["metrics"]
    assert metric["id"].startswith("met_") and asked["metrics"][0].items() <= metric.items()

    documented = row("exp.experiments.get")
    found = client.get(f"{EXPERIMENTS}/{data['id']}")
    assert found.status_code == 200 and found.json()["data"] == data
    assert not missing_keys(found.json(), documented["response_keys"])

    documented = row("exp.experiments.update")
    updated = client.put(f"{EXPERIMENTS}/{data['id']}", json=documented["request"])
    assert updated.status_code == 200 and not missing_keys(updated.json(), documented["response_keys"])
    after = updated.json()["data"]
    assert at(after["updated_at"]) > at(data["updated_at"])
    assert after == {**data, **documented["request"], "updated_at": after["updated_at"]}
    assert client.put(f"{EXPERIMENTS}/{data['id']}", json=after).json()["data"] == after


@needs_catalogue
def test_exp_experiments_start_stop(client: httpx.Client) -> None:
    """exp.experiments.start, exp.experiments.stop, with the documented example, whose end lies in the past"""
    name = client.post(EXPERIMENTS, json=row("exp.experiments.create")["request"]).json()["data"]["id"]
    before = datetime.now(UTC)
    started = step(client, name, "start")
    assert started.status_code == 200 and not missing_keys(started.json(), row("exp.experiments.start")["response_keys"])
    data = started.json()["data"]
    assert (data["id"], data["status"]) == (name, "ACTIVE") and data["start_date"] == data["updated_at"] and at(data["start_date"]) >= before
    stopped = step(client, name, "stop")
    assert stopped.status_code == 200 and not missing_keys(stopped.json(), row("exp.experiments.stop")["response_keys"])
    data = stopped.json()["data"]
    assert (data["id"], data["status"]) == (name, "COMPLETED") and data["end_date"] == data["updated_at"] and at(data["end_date"]) > before


def test_exp_experiments_lifecycle(client: httpx.Client) -> None:
    """exp.experiments.lifecycle, exp.experiments.status_values, exp.errors.conflict"""
    name = make(client)["id"]
    for action in ("pause", "resume", "stop"):
        assert refused(step(client, name, action), 409, "CONFLICT")["details"] == {"status": "DRAFT", "possible": ["start", "archive"]}
    for action, status in (("start", "ACTIVE"), ("pause", "PAUSED"), ("resume", "ACTIVE"), ("stop", "COMPLETED"), ("archive", "ARCHIVED")):
        assert step(client, name, action).json()["data"]["status"] == status
        assert client.get(f"{EXPERIMENTS}/{name}").json()["data"]["status"] == status
        listed = client.get(EXPERIMENTS, params={"status": status, "limit": 100}).json()["data"]
        assert name in [each["id"] for each in listed] and {each["status"] for each in listed} == {status}
    for action in ("start", "pause", "resume", "stop", "archive", "rollback", "restore"):
        refused(step(client, name, action), 409, "CONFLICT")
    refused(client.get(EXPERIMENTS, params={"status": "active"}), 422, "VALIDATION_ERROR")


def test_a_status_in_the_body_is_the_transition_that_leads_there(client: httpx.Client) -> None:
    """exp.experiments.status_values"""
    data = make(client, status="ACTIVE")
    assert data["status"] == "ACTIVE" and data["start_date"] is not None
    path = f"{EXPERIMENTS}/{data['id']}"
    for status in ("PAUSED", "ACTIVE", "COMPLETED", "ARCHIVED"):
        assert client.put(path, json={"status": status}).json()["data"]["status"] == status
    assert "cannot become DRAFT" in refused(client.put(path, json={"status": "DRAFT"}), 409, "CONFLICT")["message"]
    refused(client.post(EXPERIMENTS, json={"name": "x", "variants": ARMS, "status": "PAUSED"}), 422, "VALIDATION_ERROR")


def test_what_may_change_while_units_take_part(client: httpx.Client) -> None:
    """exp.experiments.update, exp.errors.conflict"""
    metrics = [{"name": "bought", "event_name": "buy", "guardrail": {"action": "roll_back", "threshold": 0.02}}]
    path = f"{EXPERIMENTS}/{make(client, status='ACTIVE', traffic=50, metrics=metrics)['id']}"
    wrong = {
        "seed": "other",
        "traffic": 40,
        "targeting": {"rules": [{"attribute": "country", "operator": "equals", "value": "US"}]},
        "variants": [*ARMS[:1], {"name": "other", "allocation": 50}],
        "metrics": [{"name": "bought", "event_name": "pay"}],
        "description": "not stored either",
    }
    error = refused(client.put(path, json=wrong), 409, "CONFLICT")
    assert error["details"]["fields"] == ["metrics[bought].event_name", "seed", "targeting", "traffic", "variants"]
    right = {
        "traffic": 60,
        "variants": [{"name": "control", "allocation": 20}, {"name": "treatment", "allocation": 80}],
        "metrics": [{"name": "bought", "guardrail": {"action": "pause"}}, {"name": "spent", "event_name": "buy", "type": "mean"}],
        "overrides": {"tester": "treatment"},
    }
    data = client.put(path, json=right).json()["data"]
    assert (data["description"], data["traffic"], [arm["allocation"] for arm in data["variants"]]) == ("", 60, [20, 80])
    assert [metric["guardrail"] and metric["guardrail"]["action"] for metric in data["metrics"]] == ["pause", None] and data["overrides"] == {
        "tester": "treatment"
    }


@needs_catalogue
def test_exp_experiments_list(client: httpx.Client) -> None:
    """exp.experiments.list, exp.envelope.success"""
    make(client)
    answer = client.get(EXPERIMENTS)
    assert answer.status_code == 200 and not missing_keys(answer.json(), row("exp.experiments.list")["response_keys"])
    assert set(answer.json()) == {"data", "meta"} and set(answer.json()["meta"]) == {"total", "page", "limit", "pages"}
    assert all("targeting" not in each and "metrics" not in each for each in answer.json()["data"])


def test_exp_pagination_page_limit(client: httpx.Client) -> None:
    """exp.pagination.page_limit"""
    made = [make(client, name=f"page {number}")["id"] for number in range(3)]
    first = client.get(EXPERIMENTS, params={"limit": 2}).json()
    total, pages = first["meta"]["total"], first["meta"]["pages"]
    assert first["meta"] == {"total": total, "page": 1, "limit": 2, "pages": -(-total // 2)} and [each["id"] for each in first["data"]] == made[:0:-1]
    seen = [each["id"] for page in range(1, pages + 1) for each in client.get(EXPERIMENTS, params={"limit": 2, "page": page}).json()["data"]]
    assert len(seen) == len(set(seen)) == total and set(made) <= set(seen)
    beyond = client.get(EXPERIMENTS, params={"limit": 2, "page": pages + 1}).json()
    assert beyond["data"] == [] and beyond["meta"]["page"] == pages + 1
    assert client.get(EXPERIMENTS).json()["meta"]["limit"] == 20
    for wrong in ({"limit": 101}, {"limit": 0}, {"page": 0}, {"page": "x"}):
        (name,) = wrong
        assert refused(client.get(EXPERIMENTS, params=wrong), 422, "VALIDATION_ERROR")["details"]["fields"][0]["field"] == f"query.{name}"


def test_exp_sorting_sort_order(client: httpx.Client) -> None:
    """exp.sorting.sort_order"""
    for name in ("sort b", "Sort C", "sort a"):
        make(client, name=name, status="ACTIVE" if name == "sort a" else "DRAFT")

    def listed(**params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            answer = client.get(EXPERIMENTS, params={"limit": 100, "page": len(found) // 100 + 1, **params}).json()
            found += answer["data"]
            if len(found) >= answer["meta"]["total"] or not answer["data"]:
                return found

    names = [each["name"].casefold() for each in listed(sort="name", order="asc")]
    assert names == sorted(names) and [each["name"].casefold() for each in listed(sort="name", order="desc")] == names[::-1]
    states = [each["status"] for each in listed(sort="status")]
    assert states == sorted(states)
    times = [at(each["created_at"]) for each in listed(sort="created_at", order="asc")]
    assert times == sorted(times) and [at(each["created_at"]) for each in listed()] == times[::-1]
    for wrong in ({"sort": "traffic"}, {"order": "up"}):
        refused(client.get(EXPERIMENTS, params=wrong), 422, "VALIDATION_ERROR")


def test_exp_envelope_error(live: LiveStack, client: httpx.Client) -> None:
    """exp.envelope.error, exp.errors.not_found, exp.errors.unauthorized"""
    for answer in (
        client.get(f"{EXPERIMENTS}/exp_none"),
        client.put(f"{EXPERIMENTS}/exp_none", json={"name": "x"}),
        step(client, "exp_none", "start"),
        client.get("/api/v1/nothing"),
    ):
        refused(answer, 404, "NOT_FOUND")
    with httpx.Client(base_url=client.base_url) as anonymous:
        refused(anonymous.get(EXPERIMENTS), 401, "UNAUTHORIZED")
    refused(client.get(EXPERIMENTS, headers={"Authorization": "Bearer wrong"}), 401, "UNAUTHORIZED")
    refused(client.delete(EXPERIMENTS), 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.name"),
        ({"name": ""}, "body.name"),
        ({"name": "x", "naem": "y"}, "body.naem"),
        ({"name": "x", "start_date": "yesterday"}, "body.start_date"),
        ({"name": "x", "start_date": "2026-01-02T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"}, "end_date"),
        ({"name": "x", "variants": [{"name": "a", "allocation": 50}, {"name": "b", "allocation": 49}]}, "variants"),
        ({"name": "x", "variants": [{"name": "a", "allocation": "50"}, {"name": "b", "allocation": 50}]}, "body.variants.0.allocation"),
        ({"name": "x", "targeting": {"rules": [{"attribute": "a", "operator": "like", "value": 1}]}}, "body.targeting.rules.0.operator"),
        ({"name": "x", "targeting": {"rules": [{"attribute": "a", "operator": "in", "value": 1}]}}, "targeting.rules[0].value"),
        ({"name": "x", "metrics": [{"name": "m"}]}, "metrics[0].event_name"),
        ({"name": "x", "metrics": [{"name": "m", "event_name": "e", "type": "ratio"}]}, "metrics[0].denominator_event_name"),
        ({"name": "x", "traffic": 101}, "body.traffic"),
    ],
)
def test_exp_errors_validation_error(client: httpx.Client, body: dict[str, Any], field: str) -> None:
    """exp.errors.validation_error"""
    error = refused(client.post(EXPERIMENTS, json=body), 422, "VALIDATION_ERROR")
    assert [each["field"] for each in error["details"]["fields"]] == [field]


def test_a_change_names_the_version_it_was_made_from(client: httpx.Client) -> None:
    """exp.errors.conflict: of two who read the same version, one wins."""
    path = f"{EXPERIMENTS}/{make(client)['id']}"
    tag = client.get(path).headers["etag"]
    first = client.put(path, json={"name": "first"}, headers={"If-Match": tag})
    assert first.status_code == 200 and first.headers["etag"] != tag
    refused(client.put(path, json={"name": "second"}, headers={"If-Match": tag}), 409, "CONFLICT")
    refused(client.post(f"{path}/start", headers={"If-Match": tag}), 409, "CONFLICT")
    refused(client.put(path, json={"name": "second"}, headers={"If-Match": "newest"}), 422, "VALIDATION_ERROR")
    assert client.get(path).json()["data"]["name"] == "first"


def test_a_definition_reaches_the_followers(live: LiveStack, client: httpx.Client) -> None:
    """exp.experiments.create: metrics of the body are definitions of their own."""
    data = make(client, status="ACTIVE", metrics=[{"name": "bought", "event_name": "buy", "type": "count"}])

    def known() -> dict[str, Any] | None:
        items: list[dict[str, Any]] = []
        for kind in ("experiment", "metric"):
            url = f"{live.main_url}/platform/v1/definitions"
            items += httpx.get(url, params={"kind": kind, "limit": 1000}, headers=live.headers).json()["data"]
        found = {item["id"]: item["definition"] for item in items}
        return found if {data["id"], data["metrics"][0]["id"]} <= found.keys() else None

    found = eventually_sync(known)
    assert found is not None
    assert found[data["id"]]["status"] == "active" and found[data["id"]]["metrics"] == [data["metrics"][0]["id"]]
    assert found[data["metrics"][0]["id"]]["event_type"] == "buy"


def test_roll_back_and_restore(client: httpx.Client) -> None:
    name = make(client, status="ACTIVE")["id"]
    for action, rolled_back in (("rollback", True), ("rollback", True), ("restore", False)):
        answer = step(client, name, action)
        assert answer.status_code == 200 and answer.json()["data"]["rolled_back"] == rolled_back
        assert client.get(f"{EXPERIMENTS}/{name}").json()["data"]["rolled_back"] == rolled_back


def test_an_experiment_is_completed_at_its_end_and_no_longer_assigns(client: httpx.Client) -> None:
    name = make(client, status="ACTIVE", start_date="2026-01-01T00:00:00Z")["id"]

    def assigned() -> str | None:
        answer = client.get("/api/v1/assignments", params={"experiment_id": name, "user_id": "somebody"})
        assert answer.status_code == 200, answer.text
        variant: str | None = answer.json()["data"]["variant"]
        return variant

    eventually_sync(assigned)
    end = "2026-02-01T00:00:00Z"
    assert client.put(f"{EXPERIMENTS}/{name}", json={"end_date": end}).status_code == 200

    def over() -> bool:
        data = client.get(f"{EXPERIMENTS}/{name}").json()["data"]
        return (data["status"], data["end_date"]) == ("COMPLETED", end)

    eventually_sync(over)
    eventually_sync(lambda: assigned() is None)
    lines = client.get("/api/v1/audit-log", params={"kind": "experiment", "id": name}).json()["data"]
    assert [line["action"] for line in lines] == ["experiment.ended", "experiment.updated", "experiment.started", "experiment.created"]
    assert lines[0]["actor"]["key_name"] == "end date"


def test_the_audit_log_says_who_did_what(client: httpx.Client) -> None:
    name = make(client, status="ACTIVE", metrics=[{"name": "bought", "event_name": "buy"}])["id"]
    step(client, name, "stop")
    answer = client.get("/api/v1/audit-log", params={"kind": "experiment", "id": name}).json()
    assert [line["action"] for line in answer["data"]] == ["experiment.stopped", "experiment.started", "experiment.created"]
    assert answer["meta"] == {"total": 3, "page": 1, "limit": 20, "pages": 1}
    stopped = answer["data"][0]
    assert stopped["before"]["status"] == "active" and stopped["after"]["status"] == "completed" and stopped["actor"]["key_name"] == "bootstrap"
    mine = client.get("/api/v1/audit-log", params={"actor": stopped["actor"]["key_id"], "action": "experiment.stopped", "limit": 1}).json()
    assert mine["data"][0]["subject_id"] == name
    assert client.get("/api/v1/audit-log", params={"actor": "nobody"}).json()["meta"]["total"] == 0
    refused(client.get("/api/v1/audit-log", params={"limit": 101}), 422, "VALIDATION_ERROR")


def test_an_exclusion_group_shares_out_its_units(client: httpx.Client) -> None:
    answer = client.post("/api/v1/exclusion-groups", json={"name": "checkout", "holdout": 10})
    assert answer.status_code == 201
    group = answer.json()["data"]
    made = make(client, group=group["id"], group_share=60)
    assert (made["group"], made["group_share"]) == (group["id"], 60)
    path = f"/api/v1/exclusion-groups/{group['id']}"
    assert client.get(path).json()["data"]["slots"] == [{"experiment_id": made["id"], "share": 60}]
    full = client.post(EXPERIMENTS, json={"name": "x", "variants": ARMS, "group": group["id"], "group_share": 40})
    assert refused(full, 409, "CONFLICT")["details"] == {"left": 30}
    refused(client.put(path, json={"holdout": 0}), 409, "CONFLICT")
    assert client.put(path, json={"name": "cart"}).json()["data"]["name"] == "cart"
    assert group["id"] in [each["id"] for each in client.get("/api/v1/exclusion-groups", params={"limit": 100}).json()["data"]]
    refused(client.get("/api/v1/exclusion-groups/grp_none"), 404, "NOT_FOUND")
