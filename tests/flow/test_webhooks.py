"""Webhooks and the circuit breaker through the whole stack: what a receiver gets, and who is protected once a guardrail trips."""

import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx
import pytest
from standardwebhooks import Webhook

from tests.flow.rows import needs_catalogue, row
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

UNITS = 400
"""Per variant."""
ARMS = [{"name": "control", "allocation": 50}, {"name": "treatment", "allocation": 50}]
PURCHASES = {"name": "purchases", "event_name": "purchase"}
ERRORS = {"name": "errors", "event_name": "error", "direction": "decrease", "use": "guardrail", "guardrail": {"action": "roll_back"}}


class Receiver:
    """A receiver of webhooks on this machine that keeps the messages that verify."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.refuse = 0
        """How many of the next messages are answered 503."""
        self.secret = ""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version: ClassVar[str] = "HTTP/1.1"  # type: ignore[misc]

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.ids.append(str(self.headers["webhook-id"]))
                refused = receiver.refuse > 0
                receiver.refuse -= refused
                if not refused:
                    receiver.messages.append(Webhook(receiver.secret).verify(body, dict(self.headers.items())))
                self.send_response(503 if refused else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hooks"

    def got(self, event: str, subject: str) -> dict[str, Any]:
        """Data of the one message of an event about an experiment or flag."""
        found = [
            each["data"] for each in self.messages if each["type"] == event and subject in (each["data"].get("experiment_id"), each["data"].get("flag_id"))
        ]
        assert len(found) == 1, f"{len(found)} of {event}"
        return dict(found[0])


@pytest.fixture
def client(live: LiveStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url("experimentation") + "/api/v1", headers=live.headers, timeout=20) as client:
        yield client


@pytest.fixture
def receiver(client: httpx.Client) -> Iterator[Receiver]:
    """A receiver with a webhook that tells it everything."""
    receiver = Receiver()
    answer = client.post("/webhooks", json={"url": receiver.url})
    assert answer.status_code == 201, answer.text
    webhook = answer.json()["data"]
    receiver.secret = webhook["secret"]
    yield receiver
    assert client.delete(f"/webhooks/{webhook['id']}").status_code == 200
    receiver.server.shutdown()
    receiver.server.server_close()


def started(client: httpx.Client, *metrics: dict[str, Any]) -> dict[str, Any]:
    """A running experiment."""
    answer = client.post("/experiments", json={"name": "guarded", "status": "ACTIVE", "variants": ARMS, "metrics": list(metrics)})
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def send(client: httpx.Client, experiment: str, event_type: str, shares: dict[str, float]) -> None:
    """Units of both variants, of which a share has the event."""
    events = []
    for variant, share in shares.items():
        for number in range(UNITS):
            same = {"user_id": f"{variant}-{number}", "experiment_id": experiment, "variant": variant}
            events.append({**same, "event_type": "exposure"})
            if number < share * UNITS:
                events.append({**same, "event_type": event_type})

    def taken() -> bool:
        # The door knows an experiment a moment after it was answered.
        answer = client.post("/events/batch", json={"events": events})
        assert answer.status_code == 200 and answer.json()["data"]["failed"] == 0, answer.text
        return True

    eventually_sync(taken)


@needs_catalogue
def test_webhooks_are_configured_over_rest(client: httpx.Client) -> None:
    """exp.webhook.configuration"""
    assert "webhook" in row("exp.webhook.configuration")["id"]
    created = client.post("/webhooks", json={"url": "https://example.com/hooks", "events": ["flag.toggled"]}).json()["data"]
    path = f"/webhooks/{created['id']}"
    assert created["secret"].startswith("whsec_") and "secret" not in client.get(path).json()["data"]
    assert client.put(path, json={"events": ["experiment.started"]}).json()["data"]["events"] == ["experiment.started"]
    assert created["id"] in [each["id"] for each in client.get("/webhooks", params={"limit": 100}).json()["data"]]
    assert client.post(f"{path}/rotate-secret").json()["data"]["secret"] != created["secret"]
    assert client.delete(path).status_code == 200 and client.get(path).status_code == 404


@needs_catalogue
def test_starting_stopping_and_toggling_are_told(client: httpx.Client, receiver: Receiver) -> None:
    """exp.webhook.experiment_started, exp.webhook.experiment_stopped, exp.webhook.flag_toggled"""
    experiment = client.post("/experiments", json={"name": "told", "variants": ARMS, "metrics": [PURCHASES]}).json()["data"]["id"]
    assert client.post(f"/experiments/{experiment}/start").status_code == 200
    begun = eventually_sync(lambda: receiver.got("experiment.started", experiment))
    assert (begun["name"], begun["status"], begun["previous_status"]) == ("told", "ACTIVE", "DRAFT") and begun["changed_by"]["key_id"]
    assert client.post(f"/experiments/{experiment}/stop").status_code == 200
    assert eventually_sync(lambda: receiver.got("experiment.stopped", experiment))["status"] == "COMPLETED"
    flag = client.post("/feature-flags", json={"key": f"flag-{uuid.uuid4().hex}"}).json()["data"]
    assert client.patch(f"/feature-flags/{flag['id']}/toggle", json={"enabled": True}).status_code == 200
    toggled = eventually_sync(lambda: receiver.got("flag.toggled", flag["id"]))
    assert (toggled["key"], toggled["enabled"]) == (flag["key"], True)


def test_a_message_that_was_refused_comes_again_under_the_same_id(client: httpx.Client, receiver: Receiver) -> None:
    (webhook,) = [each for each in client.get("/webhooks", params={"limit": 100}).json()["data"] if each["url"] == receiver.url]
    receiver.refuse = 1
    flag = client.post("/feature-flags", json={"key": f"flag-{uuid.uuid4().hex}"}).json()["data"]
    client.patch(f"/feature-flags/{flag['id']}/toggle", json={"enabled": True})

    def refused() -> dict[str, Any]:
        line = client.get(f"/webhooks/{webhook['id']}/deliveries").json()["data"][0]
        assert line["attempts"] == 1
        return dict(line)

    line = eventually_sync(refused)
    assert (line["status"], line["response_code"], line["error"]) == ("pending", 503, "the receiver answered 503") and line["next_attempt_at"]
    assert client.post(f"/webhooks/{webhook['id']}/deliveries/{line['id']}/retry").status_code == 202
    eventually_sync(lambda: receiver.got("flag.toggled", flag["id"]))
    assert len(receiver.ids) == 2 and set(receiver.ids) == {line["event_id"]}


@needs_catalogue
def test_a_significant_result_is_told_once(client: httpx.Client, receiver: Receiver) -> None:
    """exp.webhook.experiment_significant"""
    experiment = started(client, PURCHASES)["id"]
    send(client, experiment, "purchase", {"control": 0.1, "treatment": 0.4})
    told = eventually_sync(lambda: receiver.got("experiment.significant", experiment), timeout=60)
    assert (told["metric"], told["variant"], told["control_units"]) == ("purchases", "treatment", UNITS) and told["p_value"] <= 0.05
    send(client, experiment, "purchase", {"control": 0.1, "treatment": 0.5})

    def refreshed() -> bool:
        figures = client.get(f"/experiments/{experiment}/results").json()["data"]["metrics"][0]["results"]
        return bool(figures["treatment"]["value"] == 50)

    eventually_sync(refreshed, timeout=60)
    assert receiver.got("experiment.significant", experiment) == told


def test_harm_rolls_the_experiment_back_and_its_flag_with_it(client: httpx.Client, receiver: Receiver) -> None:
    experiment = started(client, PURCHASES, ERRORS)["id"]
    key = f"flag-{uuid.uuid4().hex}"
    variations = [{"key": "treatment", "value": "new"}, {"key": "control", "value": "old"}]
    flag = client.post("/feature-flags", json={"key": key, "enabled": True, "variations": variations, "experiment_id": experiment})
    assert flag.status_code == 201, flag.text

    def variants() -> set[tuple[str, str]]:
        """What twenty units get: variant and value of the flag."""
        found = set()
        for number in range(20):
            unit = {"user_id": f"visitor-{number}"}
            assigned = client.get("/assignments", params={"experiment_id": experiment, **unit})
            evaluated = client.get("/feature-flags/evaluate", params={"key": key, **unit})
            assert (assigned.status_code, evaluated.status_code) == (200, 200), f"{assigned.text} {evaluated.text}"
            found.add((assigned.json()["data"]["variant"], evaluated.json()["data"]["value"]))
        return found

    assert eventually_sync(variants) == {("control", "old"), ("treatment", "new")}
    send(client, experiment, "error", {"control": 0.02, "treatment": 0.30})

    def protected() -> bool:
        return variants() == {("control", "old")}

    eventually_sync(protected, timeout=60)
    shown = client.get(f"/experiments/{experiment}").json()["data"]
    assert shown["rolled_back"] is True
    (trip,) = shown["trips"]
    assert (trip["action"], trip["variant"], trip["threshold"], trip["alpha"]) == ("roll_back", "treatment", 0.0, 0.05) and trip["at"] == shown["updated_at"]
    assert [metric["id"] for metric in shown["metrics"] if metric["guardrail"]] == [trip["metric_id"]]
    again = client.put(f"/experiments/{experiment}", json=shown)
    assert again.status_code == 200 and again.json()["data"]["trips"] == shown["trips"], "what an answer has may be sent back"
    told = eventually_sync(lambda: receiver.got("experiment.guardrail_tripped", experiment))
    evidence = told["evidence"]
    assert (evidence["action"], evidence["variant"], evidence["better_is"]) == ("roll_back", "treatment", "decrease")
    assert evidence["p_value"] < evidence["level"] == 0.05 and evidence["interval"][0] > 0
    (line,) = client.get("/audit-log", params={"action": "experiment.guardrail_tripped", "id": experiment}).json()["data"]
    assert line["evidence"] == evidence and line["actor"]["key_name"] == "circuit breaker"


def test_a_private_address_is_not_reached_unless_it_is_allowed(client: httpx.Client) -> None:
    for url in ("http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://[fd00::1]/"):
        answer = client.post("/webhooks", json={"url": url})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "VALIDATION_ERROR")
