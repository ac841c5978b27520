"""The JavaScript client of Phoenix Channels, unmodified, on the crucible socket. Rows crucible.ws.*"""

import json
import os
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import pytest

from tests.flow.crucible_client import event
from tests.flow.stack import KEY, LiveStack
from tests.support import end_by_stdin

_FOLDER = Path(__file__).parent / "channels_js"
_DEADLINE_S = 60.0

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and (shutil.which("node") is None or not (_FOLDER / "node_modules").exists()),
    reason="needs Node.js 20 and its packages: npm ci --prefix tests/clients/channels_js",
)

Said = dict[str, Any]


class Client:
    """A program that uses the client and prints what it hears."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lines: Queue[Said] = Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(json.loads(line))

    def hears(self, **wanted: Any) -> Said:
        """The next line that has all of these; lines before it are passed over."""
        passed: list[Said] = []
        while True:
            try:
                said = self._lines.get(timeout=_DEADLINE_S)
            except Empty:
                raise AssertionError(f"waited for {wanted}; heard {passed}") from None
            passed.append(said)
            if all(name in said and (value is ... or said[name] == value) for name, value in wanted.items()):
                return said

    def push(self, topic: str, event: str, payload: Said) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"topic": topic, "event": event, "payload": payload}) + "\n")
        self._process.stdin.flush()


@contextmanager
def client(url: str, *topics: str, **how: str) -> Iterator[Client]:
    given = {"url": url.replace("http", "ws", 1) + "/socket", "topics": topics, **how}
    process = subprocess.Popen(["node", "channels.mjs", json.dumps(given)], cwd=_FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Client(process)
    finally:
        end_by_stdin(process)


@pytest.fixture(params=[("crucible", ""), ("main", "/crucible")], ids=["port", "prefix"])
def url(live: LiveStack, request: pytest.FixtureRequest) -> str:
    port, prefix = request.param
    return live.url(port) + str(prefix)


@pytest.fixture
def http(url: str, live: LiveStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{url}/api/v1", headers=live.headers, timeout=30) as http:
        yield http


def _created(http: httpx.Client) -> str:
    return str(http.post("/experiments", json={"experiment": {"name": "live"}}).json()["data"]["id"])


def _send(http: httpx.Client, *events: Said) -> None:
    assert http.post("/telemetry/events", json={"events": list(events)}).status_code == 202


def test_an_experiment_is_followed(url: str, http: httpx.Client) -> None:
    """crucible.ws.connect, crucible.ws.experiment.join, crucible.ws.experiment.status_changed, crucible.ws.experiment.progress_updated,
    crucible.ws.experiment.run_completed, crucible.ws.experiment.error, crucible.auth.ws_token"""
    id, run = _created(http), f"run-{uuid.uuid4().hex[:8]}"
    topic, of = f"experiment:{id}", {"run_id": run, "experiment_id": id}
    with client(url, topic, token=KEY) as js:
        assert js.hears(topic=topic, joined=...)["joined"] == {"status": "pending"}
        assert http.post(f"/experiments/{id}/start").status_code == 200
        changed = js.hears(topic=topic, event="status_changed")["payload"]
        assert changed["status"] == "running" and changed["started_at"] and changed["completed_at"] is None
        began = "2026-01-15T10:30:00Z"
        _send(http, event(["run", "start"], began, {}, **of), event(["run", "progress"], "2026-01-15T10:31:00Z", {"progress": 0.5, "loss": 0.25}, **of))
        told = js.hears(topic=topic, event="progress_updated")["payload"]
        assert told["run_id"] == run and told["progress"] == 0.5 and told["eta_seconds"] > 0
        _send(http, event(["run", "stop"], "2026-01-15T10:32:00Z", {}, **of))
        assert js.hears(topic=topic, event="run_completed")["payload"] == {"run_id": run, "metrics": {"loss": 0.25}}
        _send(http, event(["run", "exception"], "2026-01-15T10:33:00Z", {}, run_id=f"{run}-2", experiment_id=id))
        assert js.hears(topic=topic, event="error")["payload"]["code"] == "run_failed"
        assert http.patch(f"/experiments/{id}", json={"experiment": {"status": "completed"}}).status_code == 200
        done = js.hears(topic=topic, event="status_changed")["payload"]
        assert done["status"] == "completed" and done["completed_at"]
        js.push(topic, "surprise", {})
        assert "surprise" in js.hears(topic=topic, error=...)["error"]["reason"]
        js.push(topic, "leave", {})
        js.hears(topic=topic, left=True)


def test_telemetry_is_followed(url: str, http: httpx.Client) -> None:
    """crucible.ws.telemetry.join, crucible.ws.telemetry.event, crucible.ws.telemetry.subscribe, crucible.ws.telemetry.unsubscribe"""
    mine, other = (f"exp_{uuid.uuid4().hex[:12]}" for _ in range(2))
    topic = f"telemetry:{mine}"
    with client(url, topic, "telemetry:all", token=KEY) as js:
        js.hears(topic="telemetry:all", joined={})
        sent = event(["crucible", "model", "inference"], "2026-01-15T10:35:00.250000Z", {"duration_ms": 234}, experiment_id=mine, model="gpt-4")
        foreign = event("crucible.model.inference", "2026-01-15T10:35:01Z", {}, experiment_id=other)
        _send(http, sent, foreign)
        assert js.hears(topic=topic, event="event")["payload"] == sent
        js.push(topic, "subscribe", {"event_types": ["model.inference"]})
        assert js.hears(topic=topic, reply=...)["reply"] == {"event_types": ["model.inference"]}
        again = event(["crucible", "model", "inference"], "2026-01-15T10:36:00Z", {}, experiment_id=mine)
        _send(http, event(["crucible", "run", "start"], "2026-01-15T10:36:00Z", {}, experiment_id=mine), again)
        # What is sent once more under the same id is not told once more.
        _send(http, again, last := event(["model", "inference"], "2026-01-15T10:37:00Z", {}, experiment_id=mine))
        assert js.hears(topic=topic, event="event")["payload"]["id"] == again["id"]
        assert js.hears(topic=topic, event="event")["payload"]["id"] == last["id"]
        js.push(topic, "unsubscribe", {"event_types": ["model.inference"]})
        assert js.hears(topic=topic, reply=...)["reply"] == {"event_types": []}
        _send(http, event("model.inference", "2026-01-15T10:38:00Z", {}, experiment_id=mine))
        js.push(topic, "subscribe", {"event_types": ["marker"]})
        js.hears(topic=topic, reply=...)
        _send(http, marker := event("marker", "2026-01-15T10:39:00Z", {}, experiment_id=mine))
        assert js.hears(topic=topic, event="event")["payload"]["id"] == marker["id"]
        for payload in ({}, {"event_types": "model"}, {"event_types": [1]}):
            js.push(topic, "subscribe", payload)
            assert "event_types" in js.hears(topic=topic, error=...)["error"]["reason"]


def test_everything_of_the_tenant(url: str, http: httpx.Client) -> None:
    """crucible.ws.telemetry.join_all"""
    with client(url, "telemetry:all", token=KEY) as js:
        js.hears(joined={})
        _send(http, *(sent := [event("anything", f"2026-01-15T10:35:{second:02d}Z", {"n": second}) for second in range(20)]))
        heard: list[str] = []
        while len(heard) < len(sent):
            id = js.hears(topic="telemetry:all", event="event")["payload"]["id"]
            heard += [id] if id in {each["id"] for each in sent} else []
        assert sorted(heard) == sorted(each["id"] for each in sent)


def test_a_dashboard(url: str, http: httpx.Client) -> None:
    """crucible.ws.dashboard.join, crucible.ws.dashboard.system_stats, crucible.ws.dashboard.experiment_summary"""
    with client(url, "dashboard:user_123", token=KEY) as js:
        stats = js.hears(event="system_stats")["payload"]
        assert set(stats) == {"cpu", "memory", "gpu"} and 0 <= stats["cpu"] <= 100 and 0 < stats["memory"] <= 100
        before = js.hears(event="experiment_summary")["payload"]
        id = _created(http)
        http.post(f"/experiments/{id}/start")
        assert js.hears(event="experiment_summary")["payload"]["active"] >= before["active"] + 1
        http.patch(f"/experiments/{id}", json={"experiment": {"status": "completed"}})
        assert js.hears(event="experiment_summary")["payload"]["completed_today"] >= before["completed_today"] + 1


def test_who_may_join_what(url: str) -> None:
    with client(url, "experiment:exp_none", "experiment:", "weather:today", token=KEY) as js:
        assert "exp_none" in js.hears(topic="experiment:exp_none", refused=...)["refused"]["reason"]
        assert js.hears(topic="experiment:", refused=...)["refused"]["reason"] == "unmatched topic"
        assert js.hears(topic="weather:today", refused=...)["refused"]["reason"] == "unmatched topic"
    for how in ({"token": "wrong"}, {}):
        with client(url, "telemetry:all", **how) as js:
            js.hears(failed=True)


def test_a_token_that_a_browser_hides_in_a_subprotocol(url: str) -> None:
    with client(url, "telemetry:all", authToken=KEY) as js:
        js.hears(joined={})


def test_a_session_opens_the_socket_too(url: str, http: httpx.Client) -> None:
    """crucible.auth.session_cookie"""
    token = http.post("/session").json()["data"]["token"]
    with client(url, "telemetry:all", token=token) as js:
        js.hears(joined={})
    with client(url, "telemetry:all", token=f"{token}x") as js:
        js.hears(failed=True)
