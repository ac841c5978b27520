"""OpenFeature's JavaScript SDKs, for servers and for pages, with their OFREP providers, unmodified."""

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.ofrep_flags import VALUES, OfrepFlags
from tests.flow.stack import KEY, LiveStack
from tests.support import end_by_stdin

_FOLDER = Path(__file__).parent / "openfeature_js"
_DEADLINE_S = 30.0

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and (shutil.which("node") is None or not (_FOLDER / "node_modules").exists()),
    reason="needs Node.js 20 and its packages: npm ci --prefix tests/clients/openfeature_js",
)


@pytest.fixture(params=[("experimentation", ""), ("main", "/experimentation")], ids=["port", "prefix"])
def url(live: LiveStack, request: pytest.FixtureRequest) -> str:
    port, prefix = request.param
    return live.url(port) + str(prefix)


@pytest.fixture
def flags(live: LiveStack) -> OfrepFlags:
    return OfrepFlags(live)


def on_server(url: str, asked: list[dict[str, Any]], context: dict[str, Any], key: str = KEY) -> list[dict[str, Any]]:
    """The evaluation details that the server SDK gives."""
    given = json.dumps({"url": url, "key": key, "flags": asked, "context": context})
    ended = subprocess.run(["node", "server.mjs"], cwd=_FOLDER, input=given, capture_output=True, text=True, timeout=_DEADLINE_S)
    assert ended.returncode == 0, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


class Page:
    """A running page with the web SDK."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def next(self) -> dict[str, Any]:
        """The next evaluation that the page shows. Raises queue.Empty when none comes in time."""
        found: dict[str, Any] = json.loads(self._lines.get(timeout=_DEADLINE_S))
        return found

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.put(line)


@contextmanager
def on_page(url: str, flag: str, context: dict[str, Any], then: dict[str, Any]) -> Iterator[Page]:
    """A page that evaluates one flag for a context, for another one, and then after each change."""
    given = json.dumps({"url": url, "key": KEY, "flag": flag, "fallback": False, "context": context, "next": then})
    process = subprocess.Popen(["node", "web.mjs", given], cwd=_FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Page(process)
    finally:
        end_by_stdin(process)


def test_the_server_sdk(url: str, flags: OfrepFlags) -> None:
    types = {"boolean": "boolean", "string": "string", "integer": "number", "float": "number", "object": "object"}
    fallbacks = {"boolean": False, "string": "fallback", "number": -1, "object": {"fallback": True}}
    made = {kind: flags.make(kind) for kind in VALUES}
    disabled = flags.make(enabled=False)
    asked = [{"key": made[kind]["key"], "type": types[kind], "fallback": fallbacks[types[kind]]} for kind in VALUES]
    asked += [{"key": disabled["key"], "type": "boolean", "fallback": True}, {"key": "client-no-such-flag", "type": "boolean", "fallback": True}]
    *found, off, missing = on_server(url, asked, {"targetingKey": "user-1", "plan": "pro"})
    for kind, details in zip(VALUES, found, strict=True):
        assert (details["value"], details["variant"], details["reason"]) == (VALUES[kind][0], "on", "TARGETING_MATCH"), details
        assert details["flagMetadata"] == {"flagId": made[kind]["id"], "ruleId": made[kind]["rules"][0]["id"]}
    assert (off["value"], off["reason"]) == (False, "DISABLED") and "errorCode" not in off
    assert (missing["value"], missing["errorCode"]) == (True, "FLAG_NOT_FOUND")


def test_the_server_sdk_without_a_user_and_without_a_key(url: str, flags: OfrepFlags) -> None:
    half = flags.make(rules=[], default_rule={"rollout_percentage": 50})
    asked = [{"key": half["key"], "type": "boolean", "fallback": True}]
    assert on_server(url, asked, {})[0]["errorCode"] == "TARGETING_KEY_MISSING"
    (refused,) = on_server(url, asked, {"targetingKey": "u"}, key="wrong")
    assert refused["value"] is True and refused["errorCode"] == "GENERAL"


def test_the_web_sdk_follows_context_and_changes(url: str, flags: OfrepFlags) -> None:
    flag = flags.make()
    with on_page(url, flag["key"], {"targetingKey": "user-1", "plan": "free"}, {"targetingKey": "user-1", "plan": "pro"}) as page:
        first = page.next()
        assert (first["value"], first["variant"], first["reason"]) == (False, "off", "STATIC")
        assert page.next()["value"] is True, "the ETag of another context must not keep the old values"
        flags.change(flag, enabled=False)
        # Flags that other tests change are told to this page too.
        while (told := page.next())["reason"] != "DISABLED":
            assert told["value"] is True
        assert told["value"] is False


def test_the_web_sdk_starts_without_a_user(url: str, flags: OfrepFlags) -> None:
    flag = flags.make(rules=[], default_rule={"rollout_percentage": 100})
    flags.make(rules=[], default_rule={"rollout_percentage": 50})
    with on_page(url, flag["key"], {}, {"targetingKey": "user-1"}) as page:
        assert page.next()["value"] is True and page.next()["value"] is True
