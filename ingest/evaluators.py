"""Flags and experiments ready to be evaluated: compiled once for each change of a definition, before the first request asks for them."""

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.runtime.clock import Clock
from schemas.assignment import Assign, Assignment, assigner
from schemas.definition_kinds import Experiment, encode_definition
from schemas.definitions import Change, Definitions
from schemas.flag import Flag, Variation
from schemas.flag_evaluation import AssignTo, Evaluate, Evaluation, evaluator
from schemas.pins import PinnedUnits, Pins, part_ids
from schemas.targeting import Context

_REMEMBERED = 256
"""Former states of a tenant that are recognised."""
_KINDS = ("flag", "experiment", "exclusion_group", "pins")


@dataclass(frozen=True)
class ReadyFlag:
    """A flag that can be evaluated."""

    flag: Flag
    _evaluate: Evaluate
    _assign: AssignTo
    _values: Mapping[str, Any]

    def evaluate(self, unit: str | None, context: Context) -> Evaluation:
        """What a unit with these attributes gets."""
        return self._evaluate(unit, context, self._assign)

    def value_of(self, variation: Variation) -> Any:
        """The value as it is served: where one number of a flag has a fraction, all are served as floating point, because typed clients
        take the 10 of a flag that may also be 0.5 for a whole number and refuse it."""
        return self._values[variation.key]


@dataclass
class _State:
    """What identifies all that a tenant's evaluations depend on."""

    combined: int = 0
    changed_at: int = 0
    former: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class Evaluators:
    """Evaluates with the definitions of this moment. Belongs to the thread of the definitions, and nothing here waits."""

    def __init__(self, definitions: Definitions, clock: Clock) -> None:
        self._definitions = definitions
        self._clock = clock
        self._flags: dict[tuple[str, str], ReadyFlag] = {}
        self._assigners: dict[tuple[str, str], Assign] = {}
        self._listed: dict[str, list[ReadyFlag]] = {}
        self._states: dict[str, _State] = {}
        definitions.on_change(self._changed)

    def flag(self, tenant: str, key: str) -> ReadyFlag | None:
        """The flag with this key; None when it is not defined."""
        return self._flags.get((tenant, key))

    def flags(self, tenant: str) -> list[ReadyFlag]:
        """All flags of a tenant, by id. The list is not to be changed."""
        listed = self._listed.get(tenant)
        if listed is None:
            listed = self._listed[tenant] = [self._flags[(tenant, flag.key)] for flag in self._definitions.flags(tenant)]
        return listed

    def assigner(self, tenant: str, experiment_id: str) -> Assign | None:
        """The assignments of an experiment; None when it is not defined."""
        return self._assigners.get((tenant, experiment_id))

    def version(self, tenant: str) -> str:
        """Identifies the content of all that a tenant's evaluations depend on: equal in every process that knows the same definitions."""
        return f"{self._state(tenant).combined:032x}"

    def changed_at(self, tenant: str) -> int:
        """When this process learned of the last change, seconds since the epoch; 0 before the first."""
        return self._state(tenant).changed_at

    def has_seen(self, tenant: str, version: str) -> bool:
        """Whether a version is the present one or one of the last few before it."""
        return version == self.version(tenant) or version in self._state(tenant).former

    def _state(self, tenant: str) -> _State:
        return self._states.setdefault(tenant, _State())

    def _assign_in(self, tenant: str, experiment_id: str) -> AssignTo:
        def assign(unit: str, context: Context) -> Assignment | None:
            ready = self.assigner(tenant, experiment_id)
            return ready(unit, context) if ready else None

        return assign

    def _changed(self, change: Change) -> None:
        if change.kind not in _KINDS:
            return
        tenant = change.tenant
        state = self._state(tenant)
        state.former.append(self.version(tenant))
        for definition in (change.before, change.after):
            if definition is not None:
                text = f"{change.kind}/{encode_definition(definition)}"
                # By exclusive or, so that one definition leaves and another comes without looking at all the others.
                state.combined ^= int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
        self._compile(change)
        state.changed_at = self._clock.now_us() // 1_000_000

    def _compile(self, change: Change) -> None:
        tenant, before, after = change.tenant, change.before, change.after
        if change.kind == "exclusion_group":
            for experiment in self._definitions.experiments(tenant):
                if experiment.group == change.id:
                    self._compile_experiment(experiment)
        if isinstance(after, Pins):
            # Pins come before the experiment that counts them, which is compiled with all of them at once.
            pinned = self._definitions.experiment(tenant, after.experiment)
            if pinned is not None and after.id in part_ids(pinned.id, pinned.pinned):
                self._compile_experiment(pinned)
        if isinstance(before, Flag):
            self._flags.pop((tenant, before.key), None)
            self._listed.pop(tenant, None)
        elif isinstance(before, Experiment):
            self._assigners.pop((tenant, before.id), None)
        if isinstance(after, Flag):
            self._flags[(tenant, after.key)] = ReadyFlag(after, evaluator(after), self._assign_in(tenant, after.experiment), _values(after))
            self._listed.pop(tenant, None)
        elif isinstance(after, Experiment):
            self._compile_experiment(after)

    def _compile_experiment(self, experiment: Experiment) -> None:
        group = self._definitions.exclusion_group(experiment.tenant, experiment.group) if experiment.group else None
        pins = PinnedUnits(self._definitions.pins(experiment)) if experiment.pinned else None
        self._assigners[(experiment.tenant, experiment.id)] = assigner(experiment, group, pins)


def _values(flag: Flag) -> Mapping[str, Any]:
    fractions = any(isinstance(variation.value, float) for variation in flag.variations)
    return {variation.key: float(variation.value) if fractions else variation.value for variation in flag.variations}
