"""Which change is which event."""

import json

import pytest

from schemas.webhook_events import body_of, event_of


@pytest.mark.parametrize(
    ("kind", "action", "before", "after", "event"),
    [
        ("experiment", "experiment.started", {"status": "draft"}, {"status": "active"}, "experiment.started"),
        ("experiment", "experiment.updated", {"status": "draft"}, {"status": "active"}, "experiment.started"),
        ("experiment", "experiment.created", {}, {"status": "active", "name": "x"}, "experiment.started"),
        ("experiment", "experiment.created", {}, {"status": "draft", "name": "x"}, None),
        ("experiment", "experiment.resumed", {"status": "paused"}, {"status": "active"}, None),
        ("experiment", "experiment.stopped", {"status": "active"}, {"status": "completed"}, "experiment.stopped"),
        ("experiment", "experiment.stopped", {"status": "paused"}, {"status": "completed"}, "experiment.stopped"),
        ("experiment", "experiment.archived", {"status": "completed"}, {"status": "archived"}, None),
        ("experiment", "experiment.updated", {"name": "a"}, {"name": "b"}, None),
        ("experiment", "experiment.guardrail_tripped", {"status": "active"}, {"status": "paused"}, "experiment.guardrail_tripped"),
        ("flag", "flag.toggled", {"enabled": False}, {"enabled": True}, "flag.toggled"),
        ("flag", "flag.updated", {"enabled": True, "name": "a"}, {"enabled": False, "name": "b"}, "flag.toggled"),
        ("flag", "flag.created", {}, {"enabled": True}, None),
        ("flag", "flag.deleted", {"enabled": True}, {}, None),
        ("user", "user.created", {}, {"enabled": True}, None),
    ],
)
def test_what_changed_decides(kind: str, action: str, before: dict[str, object], after: dict[str, object], event: str | None) -> None:
    assert event_of(kind, action, before, after) == event


def test_a_body_says_what_when_and_about_what() -> None:
    body = json.loads(body_of("flag.toggled", 1_767_225_600_000_000, {"flag_id": "f"}))
    assert body == {"type": "flag.toggled", "timestamp": "2026-01-01T00:00:00Z", "data": {"flag_id": "f"}}
