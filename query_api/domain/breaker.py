"""The circuit breaker: follows the results of running experiments, trips their guardrails, and announces what became significant.

Every refresh of a cumulative significance window is judged once, a moment after it was published. A trip is one transaction: the
experiment with its new state, and the audit entry with the evidence, from which the webhook event is made. Until a person restores or
resumes the experiment its guardrails rest; after that they are armed again, and while the evidence stands the next refresh trips them again.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson
import structlog

from infra.runtime.errors import Conflict
from query_api.control.audit import Actor, audited
from query_api.control.leadership import Leadership
from query_api.control.store import Draft
from query_api.control.webhook_queue import WebhookQueue
from query_api.domain.experiment_lifecycle import moved, with_roll_back
from query_api.domain.stored import StoredDefinitions
from query_api.domain.window_watch import WindowWatch
from query_api.readers.window_state import WindowState
from query_api.readers.windows import WindowReader
from schemas.correction import corrected
from schemas.definition_kinds import Experiment, Guardrail, GuardrailAction, Trip, encode_definition
from schemas.definitions import Definitions
from schemas.guardrail import worsened, worst
from schemas.webhook_events import GUARDRAIL_TRIPPED
from schemas.windows import to_iso

_log = structlog.get_logger()

BREAKER: Final = Actor("", "circuit breaker")
"""Who the audit log names."""
_SEVERITY: Final[Mapping[GuardrailAction, int]] = {"roll_back": 0, "pause": 1, "notify": 2}

Items = Mapping[str, Mapping[str, Any]]
"""Figures by item of a window."""


class Breaker(WindowWatch):
    """Judges the results of experiments."""

    kind = "significance"

    def __init__(self, stored: StoredDefinitions, definitions: Definitions, windows: WindowReader, queue: WebhookQueue, leadership: Leadership) -> None:
        """Does nothing before `run`."""
        super().__init__(definitions, windows, leadership)
        self._stored = stored
        self._queue = queue
        self._announced: set[tuple[str, str, str, str]] | None = None

    def began(self) -> None:
        self._announced = None

    async def judge(self, state: WindowState) -> None:
        """Trips what has to trip and announces what became significant, by one window. Again changes nothing."""
        experiment = self._definitions.experiment(state.tenant, state.subject)
        if experiment is None or experiment.status not in ("active", "paused", "completed"):
            return
        items: Items = orjson.loads(state.items)
        for guardrail in sorted(experiment.guardrails, key=lambda each: _SEVERITY[each.action]):
            evidence = self._evidence(experiment, guardrail, items)
            if evidence is not None:
                await self._trip(state, guardrail, {**evidence, "revision": state.revision, "computed_at": to_iso(state.computed_us)})
        await self._announce(experiment, items)

    def _evidence(self, experiment: Experiment, guardrail: Guardrail, items: Items) -> Mapping[str, Any] | None:
        """Why a guardrail is to trip now; None when it is not broken, or rests."""
        if not _armed(experiment, guardrail):
            return None
        metric = self._definitions.metric(experiment.tenant, guardrail.metric)
        direction = metric.direction if metric is not None else "increase"
        of_metric = [item for item in items.values() if item.get("metric") == guardrail.metric]
        found = [evidence for item in of_metric if (evidence := worsened(guardrail, len(experiment.guardrails) - 1, direction, item)) is not None]
        return {**worst(found), "variants": sorted(str(each["variant"]) for each in found)} if found else None

    async def _trip(self, state: WindowState, guardrail: Guardrail, evidence: Mapping[str, Any]) -> None:
        """Reads the experiment as it is stored, since the one in memory may be older, and writes it with its audit entry."""
        while True:
            found = await self._stored.get_stored(Experiment, state.tenant, state.subject)
            if found is None or guardrail not in found.definition.guardrails or not _armed(found.definition, guardrail):
                return
            before = found.definition
            after = _tripped(before, Trip(guardrail, str(evidence["variant"]), self._stored.now()))
            draft = Draft("experiment", state.tenant, state.subject, encode_definition(after), found.version)
            try:
                await self._stored.write([draft], [audited(BREAKER, GUARDRAIL_TRIPPED, before, after, evidence)])
            except Conflict:
                # Somebody changed it in between.
                continue
            _log.warning("guardrail tripped", tenant=state.tenant, experiment=state.subject, metric=guardrail.metric, action=guardrail.action)
            return

    async def _announce(self, experiment: Experiment, items: Items) -> None:
        """Tells of results that are significant for the first time, corrected as the experiment says."""
        if self._announced is None:
            self._announced = await self._queue.announced()
        goals = [item for item in items.values() if item.get("variant") != item.get("control") and self._is_goal(experiment, str(item.get("metric")))]
        judged = [item for item in goals if item["anytime"]["p_value"] is not None]
        p_values = corrected(experiment.correction, [item["anytime"]["p_value"] for item in judged])
        for item, p in zip(judged, p_values, strict=True):
            place = (experiment.tenant, experiment.id, str(item["metric"]), str(item["variant"]))
            if p <= item["alpha"] and place not in self._announced:
                await self._queue.significant(*place, self._result(experiment, item, p))
                self._announced.add(place)

    def _is_goal(self, experiment: Experiment, metric_id: str) -> bool:
        metric = self._definitions.metric(experiment.tenant, metric_id)
        return metric is None or metric.use == "goal"

    def _result(self, experiment: Experiment, item: Mapping[str, Any], p: float) -> dict[str, Any]:
        metric = self._definitions.metric(experiment.tenant, str(item["metric"]))
        named = ("variant", "control", "control_value", "treatment_value", "difference", "relative_difference", "control_units", "treatment_units", "alpha")
        return {
            "experiment_id": experiment.id,
            "name": experiment.name,
            "metric_id": item["metric"],
            "metric": (metric.name if metric else "") or item["metric"],
            **{name: item.get(name) for name in named},
            "p_value": p,
            "relative_interval": item["anytime"]["relative_interval"],
        }


def _armed(experiment: Experiment, guardrail: Guardrail) -> bool:
    """Whether a guardrail may trip: its action is not in force yet, and a notification was not sent for it as it is now."""
    if experiment.status != "active":
        return False
    if guardrail.action == "roll_back":
        return not experiment.rolled_back
    return guardrail.action == "pause" or guardrail not in [trip.guardrail for trip in experiment.trips]


def _tripped(experiment: Experiment, trip: Trip) -> Experiment:
    """The experiment after a trip."""
    if trip.guardrail.action == "roll_back":
        after = with_roll_back(experiment, True, trip.at)
    elif trip.guardrail.action == "pause":
        after = moved(experiment, "pause", trip.at)
    else:
        after = msgspec.structs.replace(experiment, updated_at=trip.at)
    kept = tuple(each for each in experiment.trips if each.guardrail != trip.guardrail)
    return msgspec.structs.replace(after, trips=(*kept, trip))
