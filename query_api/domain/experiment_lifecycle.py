"""The states of an experiment, the ways between them, and what may still change in each."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

import msgspec

from infra.runtime.errors import Conflict
from schemas.definition_kinds import Experiment, ExperimentStatus, Metric, Variant

Move = Literal["start", "pause", "resume", "stop", "archive"]


class Way(NamedTuple):
    """One way between states."""

    origins: tuple[ExperimentStatus, ...]
    target: ExperimentStatus
    action: str
    """What the audit log calls it."""


WAYS: Final[Mapping[Move, Way]] = {
    "start": Way(("draft",), "active", "experiment.started"),
    "pause": Way(("active",), "paused", "experiment.paused"),
    "resume": Way(("paused",), "active", "experiment.resumed"),
    "stop": Way(("active", "paused"), "completed", "experiment.stopped"),
    "archive": Way(("draft", "completed"), "archived", "experiment.archived"),
}


class Freedom(NamedTuple):
    """How far a field may change while units take part."""

    rule: str
    """For the message of a refusal."""
    holds: Callable[[Any, Any], bool]
    """Whether the value before may become the value after."""


def _same_arms(before: tuple[Variant, ...], after: tuple[Variant, ...]) -> bool:
    return [(arm.id, arm.name, arm.control) for arm in before] == [(arm.id, arm.name, arm.control) for arm in after]


_FREE = Freedom("may change", lambda before, after: True)
_FIXED = Freedom("is fixed", lambda before, after: False)

WHILE_RUNNING: Final[Mapping[str, Freedom]] = {
    "name": _FREE,
    "description": _FREE,
    "hypothesis": _FREE,
    "ends_at": _FREE,
    "overrides": _FREE,
    "guardrails": _FREE,
    "traffic": Freedom("may only be raised", lambda before, after: after >= before),
    "variants": Freedom("may only change allocations and descriptions", _same_arms),
    "metrics": Freedom("may only be added to", lambda before, after: set(before) <= set(after)),
}
"""Fields of an experiment that is active or paused: units that take part stay where they are, and what is measured stays the same. Others are fixed."""
WHEN_FINISHED: Final[Mapping[str, Freedom]] = {"name": _FREE, "description": _FREE}
"""Fields of an experiment that is completed or archived."""
METRIC_WHILE_RUNNING: Final = ("name", "description", "use")
"""Fields of a metric that may change while an experiment with it is active or paused."""

_JUDGED: Final = tuple(name for name in Experiment.__struct_fields__ if name not in ("tenant", "id", "status", "rolled_back", "created_at", "updated_at"))
SURFACE_NAMES: Final[Mapping[str, str]] = {
    "starts_at": "start_date",
    "ends_at": "end_date",
    "event_type": "event_name",
    "denominator_event_type": "denominator_event_name",
    "kind": "type",
    "weight": "allocation",
}
"""What users call fields whose name inside differs."""


def moved(experiment: Experiment, move: Move, now: datetime) -> Experiment:
    """The experiment after a move. Starting and stopping set the start and the end to now; an end that has passed is dropped when it goes on.

    Raises `Conflict` when there is no such way from its state, or when it has no variants to start with."""
    way = WAYS[move]
    if experiment.status not in way.origins:
        raise Conflict(
            f"experiment {experiment.id!r} is {experiment.status.upper()} and cannot {move}; {_possible(experiment.status)}",
            details={"status": experiment.status.upper(), "possible": possible_moves(experiment.status)},
        )
    starts_at, ends_at = experiment.starts_at, experiment.ends_at
    if move == "start":
        if not experiment.variants:
            raise Conflict(f"experiment {experiment.id!r} has no variants; add at least two before it starts", details={"field": "variants"})
        starts_at = now
    if way.target == "active" and ends_at is not None and ends_at <= now:
        ends_at = None
    if move == "stop":
        # At least one instant after the start, however fast somebody stops.
        ends_at = now if starts_at is None else max(now, starts_at + timedelta(microseconds=1))
    return msgspec.structs.replace(experiment, status=way.target, starts_at=starts_at, ends_at=ends_at, updated_at=now)


def ended(experiment: Experiment, now: datetime) -> Experiment:
    """The experiment completed when it is active and its end has passed, else itself. The end stays the one that was planned."""
    if experiment.status != "active" or experiment.ends_at is None or experiment.ends_at > now:
        return experiment
    return msgspec.structs.replace(experiment, status="completed", updated_at=now)


def move_to(experiment: Experiment, wanted: ExperimentStatus) -> Move:
    """The move that leads to a state. Raises `Conflict` when no single one does."""
    for move, way in WAYS.items():
        if experiment.status in way.origins and way.target == wanted:
            return move
    raise Conflict(
        f"experiment {experiment.id!r} is {experiment.status.upper()} and cannot become {wanted.upper()}; {_possible(experiment.status)}",
        details={"status": experiment.status.upper(), "possible": possible_moves(experiment.status)},
    )


def possible_moves(status: ExperimentStatus) -> list[Move]:
    """The moves from a state."""
    return [move for move, way in WAYS.items() if status in way.origins]


def with_roll_back(experiment: Experiment, rolled_back: bool, now: datetime) -> Experiment:
    """Every evaluation answers the control, or no longer. Unchanged when it is so already. Raises `Conflict` unless it is active or paused."""
    if experiment.status not in ("active", "paused"):
        word = "rolled back" if rolled_back else "restored"
        raise Conflict(
            f"experiment {experiment.id!r} is {experiment.status.upper()}; only an ACTIVE or PAUSED one can be {word}",
            details={"status": experiment.status.upper(), "possible": possible_moves(experiment.status)},
        )
    return experiment if experiment.rolled_back == rolled_back else msgspec.structs.replace(experiment, rolled_back=rolled_back, updated_at=now)


def check_edit(before: Experiment, after: Experiment, metrics_before: Mapping[str, Metric], metrics_after: Mapping[str, Metric]) -> None:
    """Raises `Conflict` naming every field that may not change so in the experiment's state."""
    if before.status == "draft":
        return
    running = before.status in ("active", "paused")
    freedoms = WHILE_RUNNING if running else WHEN_FINISHED
    refused: dict[str, str] = {}
    for name in _JUDGED:
        old, new, freedom = getattr(before, name), getattr(after, name), freedoms.get(name, _FIXED)
        if old != new and not freedom.holds(old, new):
            refused[SURFACE_NAMES.get(name, name)] = freedom.rule
    for metric_id in metrics_before.keys() & metrics_after.keys():
        old_metric, new_metric = metrics_before[metric_id], metrics_after[metric_id]
        for name in Metric.__struct_fields__:
            if getattr(old_metric, name) != getattr(new_metric, name) and not (running and name in METRIC_WHILE_RUNNING):
                refused[f"metrics[{old_metric.name or metric_id}].{SURFACE_NAMES.get(name, name)}"] = _FIXED.rule
    if refused:
        said = "; ".join(f"{name} {rule}" for name, rule in sorted(refused.items()))
        raise Conflict(f"experiment {before.id!r} is {before.status.upper()}: {said}", details={"status": before.status.upper(), "fields": sorted(refused)})


def _possible(status: ExperimentStatus) -> str:
    moves = possible_moves(status)
    return f"possible from here: {', '.join(moves)}" if moves else "nothing leads on from here"
