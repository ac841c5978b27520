"""Events that contradict the definitions are refused with what a developer needs: place, field and fix. Row exp.errors.validation_error."""

import uuid
from typing import Any

import httpx
import pytest

from tests.flow.extra_ingest import ExtraIngest
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

BATCH = "/experimentation/api/v1/events/batch"


def post(live: LiveStack, *items: Any, url: str = "") -> dict[str, Any]:
    """`data` of the answer to a batch."""
    answer = httpx.post((url or live.main_url) + BATCH, json={"events": items}, headers=live.headers, timeout=30)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def event(experiment: str, variant: str) -> dict[str, str]:
    return {"user_id": "u", "event_type": "exposure", "experiment_id": experiment, "variant": variant}


@pytest.fixture
def experiment(live: LiveStack) -> str:
    """A defined experiment that ingest knows of."""
    name = f"checks-{uuid.uuid4().hex[:10]}"
    live.define({"kind": "experiment", "id": name, "variants": [{"name": "control"}, {"name": "treatment", "id": "var_b456"}]})
    eventually_sync(lambda: post(live, event(name, "nowhere"))["failed"] == 1)
    return name


def test_a_variant_that_the_experiment_does_not_have(live: LiveStack, experiment: str) -> None:
    data = post(live, event(experiment, "treatment"), event(experiment, "treatmnt"), event(experiment, "var_b456"), event(experiment, "control"))
    assert (data["processed"], data["failed"], len(data["event_ids"])) == (2, 2, 2)
    assert [(error["index"], error["field"]) for error in data["errors"]] == [(1, "variant"), (2, "variant")]
    messages = [error["message"] for error in data["errors"]]
    assert all("it has 'control', 'treatment'" in message for message in messages) and "send its name" in messages[1]
    alone = httpx.post(f"{live.url('experimentation')}/api/v1/events", json=event(experiment, "treatmnt"), headers=live.headers)
    assert alone.status_code == 422
    error = alone.json()["error"]
    assert error["code"] == "VALIDATION_ERROR" and error["details"] == {"field": "variant"} and "'control', 'treatment'" in error["message"]


@pytest.mark.parametrize(
    ("fields", "field", "hint"),
    [
        ({"user_id": None}, "user_id", "expected `str`"),
        ({"user_id": ...}, "user_id", "is missing"),
        ({"event_type": ...}, "event_type", "is missing"),
        ({"timestamp": "yesterday"}, "timestamp", "2026-01-31T12:00:00Z"),
        ({"timestamp": 1_700_000_000}, "timestamp", "expected `str"),
        ({"metadata": "text"}, "metadata", "must be an object"),
    ],
)
def test_a_malformed_event(live: LiveStack, fields: dict[str, Any], field: str, hint: str) -> None:
    """exp.errors.validation_error: alone as an error, in a batch as one of its items."""
    item = {name: value for name, value in ({"user_id": "u", "event_type": "view"} | fields).items() if value is not ...}
    data = post(live, {"user_id": "u", "event_type": "view"}, item)
    (error,) = data["errors"]
    assert data["processed"] == 1 and (error["index"], error["field"]) == (1, field) and hint.lower() in error["message"].lower() and field in error["message"]
    alone = httpx.post(f"{live.url('experimentation')}/api/v1/events", json=item, headers=live.headers)
    assert alone.status_code == 422 and alone.json()["error"]["code"] == "VALIDATION_ERROR"
    assert alone.json()["error"]["details"] == {"field": field} and alone.json()["error"]["message"] == error["message"]


def test_experiments_that_nobody_defined_are_accepted_or_refused_by_the_setting(live: LiveStack, experiment: str) -> None:
    unknown = event(experiment + "x", "anything")
    assert post(live, unknown)["processed"] == 1
    with ExtraIngest(live, {"MILLSTREAM_INGEST_UNKNOWN_EXPERIMENTS": "refuse"}) as strict:
        data = post(live, unknown, event(experiment, "control"), {"user_id": "u", "event_type": "view"}, url=strict.url)
        (error,) = data["errors"]
        assert data["processed"] == 2 and (error["index"], error["field"]) == (0, "experiment_id")
        assert error["message"] == f"There is no experiment '{experiment}x'. Did you mean '{experiment}'?"
