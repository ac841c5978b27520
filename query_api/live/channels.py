"""What a client of the crucible socket may join: an experiment, telemetry, or the dashboard of a user."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from infra.runtime.clock import Clock
from infra.runtime.errors import InvalidArgument
from query_api.control.ml_experiments import MlExperiment
from query_api.domain.instants import instant
from query_api.domain.run_view import progress_of, shown_metrics
from query_api.domain.telemetry_view import event_json
from query_api.readers.runs import Run
from query_api.readers.telemetry import TelemetryEvent

Push = Callable[[str, dict[str, Any]], None]
"""Sends an event of the channel with its payload; never blocks."""
Answer = dict[str, Any]

MAX_TYPES: Final = 100
_LONGEST_TYPE: Final = 512
"""Characters: no event has a longer name."""
_FINISHED: Final = ("completed", "failed", "cancelled")


class Channel(Protocol):
    """A topic that a client joined."""

    def handle(self, event: str, payload: dict[str, Any]) -> Answer:
        """Answer an event of the client. Raises InvalidArgument for one that it does not know."""
        ...


class ExperimentChannel:
    """`experiment:ID`: its state, and what becomes of its runs."""

    types: frozenset[str] | None = frozenset()
    wants_runs = True

    def __init__(self, push: Push, experiment: MlExperiment, clock: Clock) -> None:
        """`experiment` is what the client can know from reading it; it is told of what differs from that. Of runs it is told from `begin` on."""
        self.tenant = experiment.tenant
        self.experiment = experiment.id
        self._push = push
        self._clock = clock
        self._status = experiment.status
        self._known: dict[str, tuple[str, float | None]] = {}
        self._early: list[Run] | None = []

    def begin(self, runs: Sequence[Run]) -> None:
        """`runs` are those that the client can know. What came while they were read is told now, where it differs from them."""
        self._known = {run.run_id: (run.status, progress_of(run)) for run in runs}
        early, self._early = self._early or [], None
        self.runs(early)

    def handle(self, event: str, payload: dict[str, Any]) -> Answer:
        raise InvalidArgument(f"an experiment takes no event {event[:100]}")

    def changed(self, experiment: MlExperiment) -> None:
        if experiment.status != self._status:
            self._status = experiment.status
            times = {"started_at": instant(experiment.started_at_us), "completed_at": instant(experiment.completed_at_us)}
            self._push("status_changed", {"status": experiment.status, **times})

    def events(self, events: Sequence[TelemetryEvent], skipped: int) -> None:
        """Nothing: runs say what telemetry comes to."""

    def runs(self, runs: Sequence[Run]) -> None:
        if self._early is not None:
            self._early += runs
            return
        for run in runs:
            progress = progress_of(run)
            status_before, progress_before = self._known.get(run.run_id, ("", None))
            self._known[run.run_id] = (run.status, progress)
            if progress is not None and progress != progress_before:
                self._push("progress_updated", {"run_id": run.run_id, "progress": progress, "eta_seconds": self._left(run, progress)})
            if run.status == status_before:
                continue
            if run.status == "completed":
                self._push("run_completed", {"run_id": run.run_id, "metrics": shown_metrics(run)})
            elif run.status == "failed":
                self._push("error", {"run_id": run.run_id, "message": f"run {run.run_id} failed", "code": "run_failed"})

    def _left(self, run: Run, progress: float) -> int | None:
        """Seconds until the run is done if it goes on as until now; None while nothing tells."""
        if run.status in _FINISHED:
            return 0
        took_us = self._clock.now_us() - (run.started_us or run.began_us)
        return round(took_us / 1e6 * (1 - progress) / progress) if progress > 0 and took_us > 0 else None


class TelemetryChannel:
    """`telemetry:ID` or `telemetry:all`: every event as it is stored, of all types until the client subscribes to some."""

    wants_runs = False

    def __init__(self, push: Push, tenant: str, experiment: str | None) -> None:
        self.tenant = tenant
        self.experiment = experiment
        self._push = push
        self.types: frozenset[str] | None = None

    def handle(self, event: str, payload: dict[str, Any]) -> Answer:
        match event:
            case "subscribe":
                wanted = (self.types or frozenset()) | _types(payload)
                if len(wanted) > MAX_TYPES:
                    raise InvalidArgument(f"a channel may subscribe to {MAX_TYPES} event types; unsubscribe from some, or join without any")
                self.types = wanted
            case "unsubscribe":
                self.types = (self.types or frozenset()) - _types(payload)
            case _:
                raise InvalidArgument(f"telemetry takes subscribe and unsubscribe, and no event {event[:100]}")
        return {"event_types": sorted(self.types)}

    def events(self, events: Sequence[TelemetryEvent], skipped: int) -> None:
        for event in events:
            if self.types is None or any(_is_of(event.event_name, wanted) for wanted in self.types):
                self._push("event", event_json(event))
        if skipped:
            self._push("events_skipped", {"count": skipped})

    def runs(self, runs: Sequence[Run]) -> None:
        """Nothing: their events are told."""


class DashboardChannel:
    """`dashboard:USER`: how the machine is, and how many experiments run."""

    def __init__(self, push: Push, tenant: str) -> None:
        self.tenant = tenant
        self._push = push
        self._told: Answer | None = None

    def handle(self, event: str, payload: dict[str, Any]) -> Answer:
        raise InvalidArgument(f"a dashboard takes no event {event[:100]}")

    def machine(self, stats: Answer) -> None:
        """How the machine is now."""
        self._push("system_stats", stats)

    def summary(self, active: int, completed_today: int) -> None:
        """How many experiments are under way, and how many were completed since midnight UTC; told when it changes."""
        now = {"active": active, "completed_today": completed_today}
        if now != self._told:
            self._told = now
            self._push("experiment_summary", now)


def _types(payload: dict[str, Any]) -> frozenset[str]:
    found = payload.get("event_types")
    if not isinstance(found, list) or not found or not all(isinstance(each, str) and each for each in found):
        raise InvalidArgument('send `{"event_types": ["model.inference"]}`')
    if any(len(each) > _LONGEST_TYPE for each in found):
        raise InvalidArgument(f"an event type has at most {_LONGEST_TYPE} characters")
    return frozenset(found)


def _is_of(name: str, wanted: str) -> bool:
    """Whether an event is of a type: its name, or the end of it from a dot on, as `model.inference` is of `crucible.model.inference`."""
    return name == wanted or name.endswith(f".{wanted}")
