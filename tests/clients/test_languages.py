"""The languages the documents name, each by its standard library: evaluate a flag by OFREP and send events. Rows exp.sdk.*, exp.base_url.*."""

import json
import shutil
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest

from tests.flow.rows import needs_catalogue, row
from tests.flow.stack import KEY, LiveStack
from tests.support import eventually_sync

FOLDER = Path(__file__).parent / "languages"


@pytest.fixture(scope="module")
def flag(live: LiveStack) -> str:
    """Key of a flag that is on for everybody, once ingest knows it."""
    name = f"languages-{uuid.uuid4().hex[:10]}"
    variations = [{"id": "v1", "key": "on", "value": True}, {"id": "v2", "key": "off", "value": False}]
    live.define({"kind": "flag", "id": name, "key": name, "enabled": True, "variations": variations, "default_rule": {"rollout_percentage": 100}})
    url = f"{live.url('experimentation')}/ofrep/v1/evaluate/flags/{name}"
    eventually_sync(lambda: httpx.post(url, json={"context": {"targetingKey": "u"}}, headers=live.headers).status_code == 200)
    return name


def _compiles() -> bool:
    """Whether `java` can run a source file."""
    if not shutil.which("java"):
        return False
    return "jdk.compiler" in subprocess.run(["java", "--list-modules"], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("exp.sdk.python", [sys.executable, "client.py"]),
        pytest.param("exp.sdk.javascript", ["node", "client.js"], marks=pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")),
        pytest.param("exp.sdk.ruby", ["ruby", "client.rb"], marks=pytest.mark.skipif(not shutil.which("ruby"), reason="ruby is not installed")),
        pytest.param("exp.sdk.java", ["java", "Client.java"], marks=pytest.mark.skipif(not _compiles(), reason="no java with a compiler is installed")),
    ],
)
def test_a_program_of_the_language(live: LiveStack, flag: str, name: str, command: list[str]) -> None:
    """On the documented port and under the prefix of the main port."""
    for base in (live.url("experimentation"), f"{live.main_url}/experimentation"):
        done = subprocess.run([*command, base, KEY, flag, f"{name}-{flag}"], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"value": True, "processed": 3}


RUBY = ["Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3", "Accept: */*", "User-Agent: Ruby", "Connection: close"]
"""What Net::HTTP sends by itself."""
JAVA = [
    "Connection: Upgrade, HTTP2-Settings",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    "Upgrade: h2c",
    "User-Agent: Java-http-client/17.0.15",
]
"""What java.net.http.HttpClient sends by itself: it offers HTTP/2 in its first request."""


@pytest.mark.parametrize("own", [RUBY, JAVA], ids=["exp.sdk.ruby", "exp.sdk.java"])
def test_a_request_as_the_standard_library_sends_it(live: LiveStack, flag: str, own: list[str]) -> None:
    body = json.dumps({"context": {"targetingKey": "u1"}}).encode()
    port = live.settings.port.experimentation
    given = [f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {KEY}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head = "\r\n".join([f"POST /ofrep/v1/evaluate/flags/{flag} HTTP/1.1", *own, *given, "", ""])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode() + body)
        answer = b""
        while b"}" not in answer:
            chunk = connection.recv(65_536)
            assert chunk, answer
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200") and b'"value":true' in answer.replace(b" ", b"")


@needs_catalogue
@pytest.mark.parametrize("name", ["exp.base_url.production", "exp.base_url.development"])
def test_the_documented_hosts_are_answered(live: LiveStack, flag: str, name: str) -> None:
    """Behind a proxy that ends TLS, requests keep the host they were sent to."""
    url = httpx.URL(row(name)["path"])
    headers = {**live.headers, "Host": url.host, "X-Forwarded-Proto": url.scheme}
    with httpx.Client(base_url=live.url("experimentation"), headers=headers) as client:
        stored = client.post("/api/v1/events", json={"user_id": "u", "event_type": "view", "experiment_id": flag})
        listed = client.get("/api/v1/experiments")
    assert (stored.status_code, listed.status_code) == (200, 200)
