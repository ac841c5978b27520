"""Experiments of the crucible surface: what they are, and from which state they may go to which.

An experiment waits, runs, may pause, and ends completed, failed or cancelled, for good. Who runs it says that it completed or failed.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from infra.runtime.errors import NotFound, ValidationFailed
from query_api.access import Caller
from query_api.control.ml_experiments import MlExperiment, MlExperimentFilter, MlExperimentStore
from query_api.control.sorted_list import Sort
from query_api.domain.instants import instant
from query_api.domain.sorted_page import Listed, Wanted, listed
from query_api.parts import Parts

Status = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
Move = Literal["start", "pause", "resume", "cancel", "complete", "fail"]
SortField = Literal["name", "created_at", "updated_at", "status"]

_OPEN: Final[tuple[Status, ...]] = ("pending", "running", "paused")


@dataclass(frozen=True)
class _Step:
    sources: tuple[Status, ...]
    target: Status
    action: str
    """For the audit log."""


MOVES: Final[Mapping[Move, _Step]] = {
    "start": _Step(("pending",), "running", "started"),
    "pause": _Step(("running",), "paused", "paused"),
    "resume": _Step(("paused",), "running", "resumed"),
    "cancel": _Step(_OPEN, "cancelled", "cancelled"),
    "complete": _Step(("running", "paused"), "completed", "completed"),
    "fail": _Step(("running", "paused"), "failed", "failed"),
}
_TO: Final[Mapping[Status, Move]] = {"completed": "complete", "failed": "fail", "cancelled": "cancel"}
"""States that whoever runs an experiment may give it by changing it."""
_COLUMNS: Final[Mapping[SortField, str]] = {"name": "name", "status": "status", "created_at": "created_at_us", "updated_at": "updated_at_us"}
_ATTEMPTS: Final = 5


class MlExperiments:
    """The experiments of a tenant. Raises `Unavailable` without the control store."""

    def __init__(self, parts: Parts) -> None:
        self._store = MlExperimentStore(parts.control.engine, parts.clock)
        self._clock = parts.clock

    async def page(self, tenant: str, wanted: MlExperimentFilter, field: SortField, descending: bool, page: Wanted) -> Listed:
        """One page. Raises ValidationFailed for a bad cursor."""
        sort = Sort(_COLUMNS[field], descending)
        found, total = await self._store.page(tenant, wanted, page.part(sort, of_text=field in ("name", "status")))
        return listed(found, total, page, sort, experiment_json)

    async def get(self, tenant: str, id: str) -> MlExperiment:
        """Raises NotFound."""
        found = await self._store.get(tenant, id)
        if found is None:
            raise NotFound(f"there is no experiment {id[:100]}")
        return found

    async def several(self, tenant: str, ids: Sequence[str]) -> list[MlExperiment]:
        """In the order of the ids. Raises NotFound, which names those that do not exist."""
        found = await self._store.of_ids(tenant, ids)
        missing = [id for id in ids if id not in found]
        if missing:
            messages = [f"there is no experiment {id[:100]}" for id in missing]
            raise NotFound("; ".join(messages), details={"experiment_ids": messages})
        return [found[id] for id in ids]

    async def create(self, caller: Caller, values: Mapping[str, Any]) -> MlExperiment:
        """Stores a pending experiment with this name, description, config and tags."""
        row = {**values, "status": "pending", "started_at_us": None, "completed_at_us": None}
        return await self._store.create(caller.tenant, f"exp_{secrets.token_hex(8)}", row, caller.actor)

    async def update(self, caller: Caller, id: str, values: Mapping[str, Any]) -> MlExperiment:
        """Changes the fields given; a `status` is a move. Raises NotFound, and ValidationFailed for a state it cannot be given."""
        fields = dict(values)
        target = fields.pop("status", None)

        def change(experiment: MlExperiment) -> tuple[dict[str, Any], str]:
            if target is None or target == experiment.status:
                return fields, "ml_experiment.updated"
            if target not in _TO:
                raise _refusal(f"an experiment becomes {target} by an action of its own, not by a change")
            moved, action = self._moved(experiment, _TO[target])
            return {**fields, **moved}, action

        return await self._changed(caller, id, change)

    async def move(self, caller: Caller, id: str, move: Move) -> MlExperiment:
        """Takes it to another state. Raises NotFound, and ValidationFailed from a state that does not allow it."""
        return await self._changed(caller, id, lambda experiment: self._moved(experiment, move))

    async def clone(self, caller: Caller, id: str, name: str) -> MlExperiment:
        """A pending experiment with the description, config and tags of this one. Raises NotFound."""
        source = await self.get(caller.tenant, id)
        return await self.create(caller, {"name": name, "description": source.description, "config": source.config, "tags": source.tags})

    async def delete(self, caller: Caller, id: str) -> None:
        """Its telemetry stays until it is too old. Raises NotFound."""
        if not await self._store.remove(caller.tenant, id, caller.actor):
            raise NotFound(f"there is no experiment {id[:100]}")

    def _moved(self, experiment: MlExperiment, move: Move) -> tuple[dict[str, Any], str]:
        step = MOVES[move]
        if experiment.status not in step.sources:
            raise _refusal(f"cannot {move} an experiment that is {experiment.status}; it must be {' or '.join(step.sources)}")
        values: dict[str, Any] = {"status": step.target}
        if move == "start":
            values["started_at_us"] = self._clock.now_us()
        elif step.target not in _OPEN:
            values["completed_at_us"] = self._clock.now_us()
        return values, f"ml_experiment.{step.action}"

    async def _changed(self, caller: Caller, id: str, change: Any) -> MlExperiment:
        # Decided from what was read; when somebody moved it in between, from what it is then.
        for _ in range(_ATTEMPTS):
            before = await self.get(caller.tenant, id)
            values, action = change(before)
            if not values:
                return before
            after = await self._store.change(before, values, caller.actor, action)
            if after is not None:
                return after
        raise ValidationFailed("others keep changing this experiment; try again", details={"status": ["changed meanwhile"]})


def experiment_json(experiment: MlExperiment) -> dict[str, Any]:
    """As the surface lists an experiment."""
    return {
        "id": experiment.id,
        "name": experiment.name,
        "description": experiment.description,
        "status": experiment.status,
        "config": experiment.config,
        "tags": experiment.tags,
        "started_at": instant(experiment.started_at_us),
        "completed_at": instant(experiment.completed_at_us),
        "created_at": instant(experiment.created_at_us),
        "updated_at": instant(experiment.updated_at_us),
    }


def _refusal(message: str) -> ValidationFailed:
    return ValidationFailed(message, details={"status": [message]})
