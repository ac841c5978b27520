"""The events that webhooks tell of, which change makes which, and what a message says."""

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import msgspec

from schemas.windows import to_iso

WebhookEvent = Literal[
    "experiment.started", "experiment.stopped", "experiment.significant", "flag.toggled", "experiment.guardrail_tripped", "evaluation.threshold_crossed"
]  # fmt: skip
WEBHOOK_EVENTS: Final[tuple[WebhookEvent, ...]] = get_args(WebhookEvent)
TEST_EVENT: Final = "webhook.test"
"""Sent only by the test button."""
GUARDRAIL_TRIPPED: Final = "experiment.guardrail_tripped"
"""Also the action of the audit entry that holds the evidence."""


def event_of(kind: str, action: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> WebhookEvent | None:
    """The event that a change of a definition is, None for none. `before` and `after` hold the fields that changed.

    What changed decides, not how it was asked for: an experiment that becomes active by an update or by `millstream apply` has
    started just as well.
    """
    if action == GUARDRAIL_TRIPPED:
        return "experiment.guardrail_tripped"
    if kind == "experiment":
        old, new = before.get("status", "draft"), after.get("status")
        if new == "active" and old == "draft":
            return "experiment.started"
        if new == "completed" and old in ("active", "paused"):
            return "experiment.stopped"
    if kind == "flag" and "enabled" in before and "enabled" in after:
        return "flag.toggled"
    return None


def body_of(event: str, at_us: int, data: Mapping[str, Any]) -> str:
    """The JSON text of a message: `type`, `timestamp` (when it happened) and `data`."""
    return msgspec.json.encode({"type": event, "timestamp": to_iso(at_us), "data": data}).decode()
