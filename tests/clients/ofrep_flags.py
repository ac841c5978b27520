"""Flags for the tests of OpenFeature's own clients, made over the documented API."""

import uuid
from typing import Any

import httpx

from tests.flow.stack import LiveStack
from tests.support import eventually_sync

VALUES: dict[str, tuple[Any, Any]] = {
    "boolean": (True, False),
    "string": ("green", "grey"),
    "integer": (12, 3),
    "float": (0.5, 10.0),
    "object": ({"a": [1]}, {}),
}
"""The values of a flag of each type: on and off."""


class OfrepFlags:
    """Makes and changes flags, and waits until ingest evaluates them."""

    def __init__(self, live: LiveStack) -> None:
        self._client = httpx.Client(base_url=live.url("experimentation"), headers=live.headers, timeout=20)

    def make(self, kind: str = "boolean", **fields: Any) -> dict[str, Any]:
        """A new flag of a type: on for the plan "pro", off for everybody else."""
        on, off = VALUES[kind]
        rules = [{"attribute": "plan", "operator": "equals", "value": "pro", "rollout_percentage": 100}]
        variations = [{"key": "on", "value": on}, {"key": "off", "value": off}]
        body = {"key": f"client-{kind}-{uuid.uuid4().hex[:12]}", "name": kind, "enabled": True, "rules": rules, "variations": variations}
        answer = self._client.post("/api/v1/feature-flags", json=body | {"default_rule": {"rollout_percentage": 0}} | fields)
        assert answer.status_code == 201, answer.text
        data: dict[str, Any] = answer.json()["data"]
        eventually_sync(lambda: self._asked(data["key"]).status_code != 404)
        return data

    def change(self, flag: dict[str, Any], **fields: Any) -> None:
        """Change fields of a flag; returns when the control store has them."""
        answer = self._client.put(f"/api/v1/feature-flags/{flag['id']}", json=fields)
        assert answer.status_code == 200, answer.text

    def _asked(self, key: str) -> httpx.Response:
        return self._client.post(f"/ofrep/v1/evaluate/flags/{key}", json={"context": {}})
