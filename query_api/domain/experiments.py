"""Experiments: listed, read, created, changed, and moved through their states. Every change is one transaction with its lines in the audit log."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from infra.runtime.errors import Conflict
from query_api.control.audit import Actor, AuditEntry, audited
from query_api.control.store import Draft
from query_api.domain.change import existing, missing, wrong_field
from query_api.domain.exclusion_groups import with_slot
from query_api.domain.experiment_edits import Edit, Fields, edited
from query_api.domain.experiment_lifecycle import WAYS, Move, check_edit, move_to, moved, with_roll_back
from query_api.domain.pinning import Pinning, released
from query_api.domain.stored import Stored, StoredDefinitions, creation, new_id
from schemas.assignment import same_split
from schemas.definition_kinds import Definition, Experiment, ExperimentStatus, Metric, encode_definition, kind_of
from schemas.exclusion import ExclusionGroup

Sort = Literal["created_at", "name", "status"]
Order = Literal["asc", "desc"]

_ATTEMPTS: Final = 5
_FINISHED: Final = ("completed", "archived")


class Detailed(NamedTuple):
    """An experiment with what belongs to it."""

    stored: Stored[Experiment]
    metrics: tuple[Metric, ...]
    """Those it names, in its order; ones that nobody defines are left out."""
    group_share: float | None
    """Share of its exclusion group, None without a group."""

    @property
    def experiment(self) -> Experiment:
        return self.stored.definition


class _Change(NamedTuple):
    """What is to be written, the experiment first, and what there is then."""

    drafts: list[Draft]
    audit: list[AuditEntry]
    experiment: Experiment
    metrics: tuple[Metric, ...]
    group_share: float | None
    pins: Sequence[Draft] = ()
    """Written before everything else, so that they are known before the weights they protect from."""
    moves_units: bool = False
    """Whether the weights of an experiment that was started change."""


class Experiments:
    """The experiments of a tenant, as one actor reads and changes them. Reads go on while the store is away; changes raise `Unavailable`."""

    def __init__(self, stored: StoredDefinitions, tenant: str, actor: Actor, pinning: Pinning) -> None:
        self._stored = stored
        self._pinning = pinning
        self._tenant = tenant
        self._actor = actor

    async def found(self, status: ExperimentStatus | None, sort: Sort, order: Order | None) -> list[Stored[Experiment]]:
        """All experiments in a state, sorted; without an order the newest first, names and states from A to Z. Equal ones stand by id."""
        all_of_them = await self._stored.every(Experiment, self._tenant)
        wanted = [each for each in all_of_them if status in (None, each.definition.status)]
        down = order == "desc" if order else sort == "created_at"
        return sorted(wanted, key=lambda each: _sort_key(each, sort), reverse=down)

    async def get(self, name: str) -> Detailed:
        """One experiment. Raises `NotFound`."""
        found = await self._stored.get(Experiment, self._tenant, name)
        if found is None:
            raise missing("experiment", name)
        metrics = [await self._stored.get(Metric, self._tenant, metric) for metric in found.definition.metrics]
        group = await self._stored.get(ExclusionGroup, self._tenant, found.definition.group) if found.definition.group else None
        return Detailed(found, tuple(metric.definition for metric in metrics if metric), _share(group, name))

    async def create(self, fields: Fields) -> Detailed:
        """Stores a new experiment as a draft, or started when `status` is "active". Raises `ValidationFailed`, and `Conflict` when its group has no room."""
        name = new_id("exp")
        now = self._stored.now()
        start = Experiment(tenant=self._tenant, id=name, status="draft", created_at=now, updated_at=now)
        variants = [{key: value for key, value in each.items() if key != "id"} for each in fields.get("variants", ())]

        async def planned() -> _Change:
            metrics = await self._metrics(start, fields)
            edit = edited(start, metrics, {**fields, "variants": variants})
            wanted_start = edit.experiment.starts_at
            plan = await self._planned(None, start, metrics, edit, fields)
            if fields.get("status", "draft") == "draft":
                return plan
            if fields["status"] != "active":
                raise wrong_field("status: an experiment begins as DRAFT or ACTIVE")
            running = moved(edit.experiment, "start", now)
            if wanted_start is not None and wanted_start < now:
                running = msgspec.structs.replace(running, starts_at=wanted_start)
            return self._then(plan, running, "experiment.started")

        return await self._write(planned, None)

    async def update(self, name: str, fields: Fields, expected: int | None = None) -> Detailed:
        """Sets the fields given; another `status` is the move that leads there. Units that were exposed keep their variants when the weights change, which
        takes a read of all exposures and so raises `Unavailable` and `QueryLimit` when those cannot be read. Raises `NotFound`, `ValidationFailed`, and `Conflict` when the experiment is not
        at version `expected`, when there is no such move, or for fields that may not change in its state (`WHILE_RUNNING`, `WHEN_FINISHED`)."""

        async def planned() -> _Change:
            found = await existing(self._stored, Experiment, self._tenant, name)
            before = found.definition
            metrics = await self._metrics(before, fields)
            edit = edited(before, metrics, fields)
            check_edit(before, edit.experiment, metrics, edit.metrics)
            plan = await self._planned(found.version, before, metrics, edit, fields)
            if fields.get("status", before.status) == before.status:
                return plan
            move = move_to(before, fields["status"])
            return self._then(plan, moved(plan.experiment, move, self._stored.now()), WAYS[move].action)

        return await self._write(planned, expected)

    async def move(self, name: str, move: Move, expected: int | None = None, evidence: Mapping[str, Any] | None = None) -> Detailed:
        """Starts, pauses, resumes, stops or archives. Raises `NotFound`, and `Conflict` when there is no such way from its state."""
        return await self._transition(name, WAYS[move].action, expected, evidence, lambda before: moved(before, move, self._stored.now()))

    async def roll_back(self, name: str, expected: int | None = None, evidence: Mapping[str, Any] | None = None) -> Detailed:
        """Lets every evaluation answer the control from now on. Again changes nothing. Raises `NotFound`, and `Conflict` unless active or paused."""
        return await self._transition(name, "experiment.rolled_back", expected, evidence, lambda before: with_roll_back(before, True, self._stored.now()))

    async def restore(self, name: str, expected: int | None = None) -> Detailed:
        """Takes a roll-back back."""
        return await self._transition(name, "experiment.restored", expected, None, lambda before: with_roll_back(before, False, self._stored.now()))

    async def _transition(
        self, name: str, action: str, expected: int | None, evidence: Mapping[str, Any] | None, alter: Callable[[Experiment], Experiment]
    ) -> Detailed:
        async def planned() -> _Change:
            found = await existing(self._stored, Experiment, self._tenant, name)
            before, after = found.definition, alter(found.definition)
            metrics = await self._metrics(before, {})
            after, unpinned = released(after) if after.status == "archived" else (after, [])
            audit = [] if after == before else [audited(self._actor, action, before, after, evidence)]
            return _Change([_draft(after, found.version), *unpinned], audit, after, tuple(metrics.values()), await self._group_share(after))

        return await self._write(planned, expected)

    async def _planned(self, version: int | None, before: Experiment, metrics: Mapping[str, Metric], edit: Edit, fields: Fields) -> _Change:
        """The drafts for an edit; `version` None means a new experiment."""
        after, new = edit.experiment, version is None
        moves_units = before.status in ("active", "paused") and not same_split(before, after)
        after, pins = await self._pinning.pinned(after) if moves_units else (after, [])
        drafts, audit = await self._metric_drafts(before, metrics, edit)
        share, joined = await self._group_share(before), await self._joined(before, after, fields)
        if joined is not None:
            group, in_it = joined
            drafts.append(_draft(in_it, group.version))
            audit.append(audited(self._actor, "exclusion_group.updated", group.definition, in_it))
            share = fields["group_share"]
        if not new and (after != before or drafts):
            after = msgspec.structs.replace(after, updated_at=self._stored.now())
            audit.insert(0, audited(self._actor, "experiment.updated", before, after))
        elif new:
            audit.insert(0, audited(self._actor, "experiment.created", None, after))
        return _Change([_draft(after, version or 0), *drafts], audit, after, tuple(edit.metrics.values()), share, pins, moves_units)

    def _then(self, plan: _Change, after: Experiment, action: str) -> _Change:
        """The plan with a move on top, which the log shows as a change of its own."""
        after, unpinned = released(after) if after.status == "archived" else (after, [])
        drafts = [_draft(after, plan.drafts[0].expected), *plan.drafts[1:], *unpinned]
        return plan._replace(drafts=drafts, audit=[*plan.audit, audited(self._actor, action, plan.experiment, after)], experiment=after)

    async def _metric_drafts(self, before: Experiment, metrics: Mapping[str, Metric], edit: Edit) -> tuple[list[Draft], list[AuditEntry]]:
        """New, changed and dropped metrics. A dropped one goes when it was defined with an experiment and no other one uses it.

        Raises `Conflict` for a change to a metric that another experiment uses too."""
        dropped = [metrics[name] for name in before.metrics if name in metrics and name not in edit.metrics and metrics[name].experiment]
        changed = [metric for metric in edit.metrics.values() if metrics.get(metric.id) != metric]
        users: dict[str, str] = {}
        if dropped or any(metric.id in metrics for metric in changed):
            others = (each.definition for each in await self._stored.every(Experiment, self._tenant) if each.definition.id != before.id)
            users = {metric: other.id for other in others for metric in other.metrics}
        drafts: list[Draft] = []
        audit: list[AuditEntry] = []
        for metric in changed:
            if metric.id not in metrics:
                drafts.append(_draft(metric, 0))
                audit.append(audited(self._actor, "metric.created", None, metric))
                continue
            if metric.id in users:
                raise Conflict(
                    f"metrics: {metric.name or metric.id!r} is measured by experiment {users[metric.id]!r} too; define another one under a new name",
                    details={"metric": metric.id, "experiment": users[metric.id]},
                )
            drafts.append(_draft(metric, None))
            audit.append(audited(self._actor, "metric.updated", metrics[metric.id], metric))
        for metric in dropped:
            if metric.id not in users:
                drafts.append(Draft("metric", self._tenant, metric.id, None))
                audit.append(audited(self._actor, "metric.deleted", metric, None))
        return drafts, audit

    async def _joined(self, before: Experiment, after: Experiment, fields: Fields) -> tuple[Stored[ExclusionGroup], ExclusionGroup] | None:
        """The group that the experiment joins, as it is and with its slot; None when it joins none now."""
        if "group_share" in fields and not after.group:
            raise wrong_field("group_share: is a share of an exclusion group; name the `group` too")
        if after.group == before.group:
            share = await self._group_share(before)
            if fields.get("group_share", share) != share:
                raise Conflict(
                    "group_share: a slot keeps its share, because units would move; it is chosen together with `group`", details={"fields": ["group_share"]}
                )
            return None
        if before.group:
            raise Conflict(f"group: the experiment has a slot in {before.group!r} and keeps it, because units would move", details={"fields": ["group"]})
        group = await self._stored.get_stored(ExclusionGroup, self._tenant, after.group)
        if group is None:
            raise wrong_field(f"group: there is no exclusion group {after.group!r}; create it first")
        if "group_share" not in fields:
            raise wrong_field("group_share: say the share of the group's units, in percent, that the experiment may use")
        everything = await self._stored.every(Experiment, self._tenant)
        finished = {each.definition.id for each in everything if each.definition.status in _FINISHED}
        return group, with_slot(group.definition, after.id, fields["group_share"], finished)

    async def _group_share(self, experiment: Experiment) -> float | None:
        return _share(await self._stored.get(ExclusionGroup, self._tenant, experiment.group), experiment.id) if experiment.group else None

    async def _metrics(self, experiment: Experiment, fields: Fields) -> dict[str, Metric]:
        """The metrics an experiment has and those that the fields name by id, as far as they are defined."""
        named = [each["id"] for each in fields.get("metrics", ()) if each.get("id")]
        found = [await self._stored.get_stored(Metric, self._tenant, name) for name in dict.fromkeys((*experiment.metrics, *named))]
        return {each.definition.id: each.definition for each in found if each is not None}

    async def _write(self, planned: Callable[[], Awaitable[_Change]], expected: int | None) -> Detailed:
        """Plans and writes, and again when somebody else was faster, unless the caller asked for one version."""
        for attempt in range(_ATTEMPTS):
            plan = await planned()
            drafts = plan.drafts if expected is None else [plan.drafts[0]._replace(expected=expected), *plan.drafts[1:]]
            try:
                versions = await self._stored.write([*plan.pins, *drafts], plan.audit)
            except Conflict:
                if expected is not None or attempt == _ATTEMPTS - 1:
                    raise
                continue
            if plan.moves_units:
                self._pinning.look_again(self._tenant, plan.experiment.id)
            return Detailed(Stored(plan.experiment, versions[len(plan.pins)], plan.experiment.updated_at), plan.metrics, plan.group_share)
        raise AssertionError("unreachable")


def _draft(definition: Definition, expected: int | None) -> Draft:
    return Draft(kind_of(definition), definition.tenant, definition.id, encode_definition(definition), expected)


def _share(group: Stored[ExclusionGroup] | None, experiment: str) -> float | None:
    return next((slot.share for slot in group.definition.slots if slot.experiment == experiment), None) if group else None


def _sort_key(each: Stored[Experiment], sort: Sort) -> tuple[Any, ...]:
    experiment = each.definition
    if sort == "name":
        return (experiment.name.casefold(), experiment.name, experiment.id)
    if sort == "status":
        return (experiment.status, experiment.id)
    created = creation(each)
    # From memory, one defined without a time of creation stands before all others.
    return (created is not None, created, experiment.id)
