"""curl, for JSON: the examples a person would type."""

import json
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.flow.stack import KEY, LiveStack

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(*arguments: str) -> tuple[int, dict[str, str], str]:
    """Status, headers by lower-case name, and body."""
    done = subprocess.run(["curl", "-sS", "-i", "--max-time", "60", *arguments], capture_output=True, check=True)
    head, _, body = done.stdout.decode().partition("\r\n\r\n")
    while head.startswith("HTTP/1.1 100"):
        head, _, body = body.partition("\r\n\r\n")
    first, *lines = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, body


@pytest.fixture
def name() -> str:
    """An experiment or span of the test's own."""
    return f"curl-{uuid.uuid4().hex[:10]}"


def key(header: str = "Authorization: Bearer") -> tuple[str, str]:
    return "-H", f"{header} {KEY}"


def window(live: LiveStack, name: str, position: str) -> dict[str, Any]:
    wait = ("-H", f"X-Millstream-Wait-For: {position}", "-H", "X-Millstream-Wait-Timeout: 60")
    status, _, body = curl(*key(), *wait, f"{live.main_url}/platform/v1/windows/assignments?subject={name}&grain=all")
    assert status == 200, body
    return {item["item"]: item["figures"] for item in json.loads(body)["data"]}


def test_an_event_and_a_batch(live: LiveStack, name: str) -> None:
    one = json.dumps({"user_id": "u1", "event_type": "exposure", "experiment_id": name, "variant": "a"})
    status, first, body = curl(*key(), "--json", one, f"{live.url('experimentation')}/api/v1/events")
    assert status == 200 and json.loads(body)["data"]["id"]
    many = json.dumps({"events": [{"user_id": f"u{n}", "event_type": "exposure", "experiment_id": name, "variant": "ab"[n % 2]} for n in range(2, 9)]})
    status, second, body = curl(*key("X-API-Key:"), "--json", many, f"{live.main_url}/experimentation/api/v1/events/batch")
    assert status == 200 and json.loads(body)["data"]["processed"] == 7
    figures = window(live, name, f"{first['x-millstream-position']},{second['x-millstream-position']}")
    assert (figures["*"]["units"], figures["a"]["units"], figures["b"]["units"]) == (8, 5, 3)


def test_a_large_body_that_waits_for_100_continue(live: LiveStack, name: str, tmp_path: Path) -> None:
    file = tmp_path / "batch.json"
    events = [{"user_id": f"u{n}", "event_type": "exposure", "experiment_id": name, "variant": "a", "metadata": {"pad": "x" * 900}} for n in range(2_000)]
    file.write_text(json.dumps({"events": events}))
    arguments = ("-H", "Content-Type: application/json", "-H", "Expect: 100-continue", "--data-binary", f"@{file}")
    status, headers, body = curl(*key(), *arguments, f"{live.main_url}/experimentation/api/v1/events/batch")
    assert status == 200 and json.loads(body)["data"]["processed"] == 2_000
    assert window(live, name, headers["x-millstream-position"])["*"]["units"] == 2_000


def test_telemetry(live: LiveStack, name: str) -> None:
    status, headers, body = curl(*key(), "--json", json.dumps({"events": [{"event_name": name}]}), f"{live.url('crucible')}/api/v1/telemetry/events")
    assert status == 202 and json.loads(body) == {"data": {"accepted": 1, "rejected": 0}} and "x-millstream-position" in headers


def test_otlp_json_without_a_key(live: LiveStack, name: str) -> None:
    span = {
        "traceId": uuid.uuid4().hex.upper(), "spanId": uuid.uuid4().hex[:16], "name": name, "kind": 3, "startTimeUnixNano": "1780000000000000000",
        "endTimeUnixNano": 1_780_000_000_500_000_000, "attributes": [{"key": "n", "value": {"intValue": "7"}}], "unknownField": 1,
    }  # fmt: skip
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    for url in (f"{live.url('otlp_http')}/v1/traces", f"{live.url('llm')}/v1/traces"):
        status, headers, answer = curl("--json", body, url)
        assert (status, answer) == (200, "{}")
    wait = f"X-Millstream-Wait-For: {headers['x-millstream-position']}"
    status, _, answer = curl(*key(), "-H", wait, f"{live.url('llm')}/v1/projects/default/spans?trace_id={span['traceId']}")
    (found,) = json.loads(answer)["data"]
    assert status == 200 and found["name"] == name and found["attributes"] == {"n": 7}
    assert found["start_time"].startswith("2026-05-28T20:26:40") and found["end_time"].startswith("2026-05-28T20:26:40.5")
