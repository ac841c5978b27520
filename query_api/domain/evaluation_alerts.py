"""Alerts of evaluation rules: tells the webhooks of a threshold that was crossed, once, and again after it had recovered."""

from collections.abc import Mapping
from typing import Any

import orjson
import structlog

from query_api.control.leadership import Leadership
from query_api.control.webhook_queue import WebhookQueue
from query_api.domain.window_watch import WindowWatch
from query_api.readers.window_state import WindowState
from query_api.readers.windows import WindowReader
from schemas.definitions import Definitions, EvaluationRule
from schemas.windows import to_iso

_log = structlog.get_logger()


class EvaluationAlerts(WindowWatch):
    """Judges the windows of evaluation rules. The window says of each threshold what its value is and whether that is beyond it."""

    kind = "evaluation"

    def __init__(self, definitions: Definitions, windows: WindowReader, queue: WebhookQueue, leadership: Leadership) -> None:
        """Does nothing before `run`."""
        super().__init__(definitions, windows, leadership)
        self._queue = queue
        self._crossed: set[tuple[str, str, str]] | None = None

    def began(self) -> None:
        self._crossed = None

    async def judge(self, state: WindowState) -> None:
        """Tells of thresholds that were crossed since the last window, and remembers those that recovered. Too few evaluations change nothing."""
        rule = self._definitions.evaluation_rule(state.tenant, state.subject)
        if rule is None or not rule.alerts:
            return
        if self._crossed is None:
            self._crossed = await self._queue.crossed()
        items: Mapping[str, Mapping[str, Any]] = orjson.loads(state.items)
        for alert in rule.alerts:
            figures = items.get(alert.name)
            place = (rule.tenant, rule.id, alert.name)
            if figures is None or figures["crossed"] is None or figures["crossed"] == (place in self._crossed):
                continue
            if figures["crossed"]:
                await self._queue.threshold_crossed(*place, _told(rule, alert.name, figures, state))
                self._crossed.add(place)
                _log.warning("evaluation threshold crossed", tenant=rule.tenant, rule=rule.id, alert=alert.name, value=figures["value"])
            else:
                await self._queue.threshold_recovered(*place)
                self._crossed.discard(place)


def _told(rule: EvaluationRule, alert: str, figures: Mapping[str, Any], state: WindowState) -> dict[str, Any]:
    """What the message says."""
    named = ("measure", "label", "below", "above", "over_minutes", "at_least", "count", "value")
    return {
        "rule_id": rule.id,
        "name": rule.name,
        "annotation": rule.annotation,
        "project": rule.project or None,
        "alert": alert,
        **{name: figures[name] for name in named},
        "computed_at": to_iso(state.computed_us),
        "revision": state.revision,
    }
