"""Which variant of an experiment a unit gets: a function of the definition, the unit and its attributes, and of nothing else.

The first of these that applies decides:

1. an override for this unit: that variant, never counted;
2. the experiment is rolled back: the control for everybody, never counted;
3. it is not active (draft, paused, completed, archived), or has no variants defined: none;
4. the targeting does not match the attributes: none;
5. the unit lies in the holdout of the exclusion group, or outside the experiment's slot of it: none;
6. the unit lies outside the experiment's share of the traffic: none;
7. a pin of this unit: the variant that it was shown before the weights changed;
8. the variant in whose range of the weights the unit lies.

Steps 5, 6 and 8 each hash the unit with a seed of their own, so they are independent: raising `traffic` lets units in and moves none that
is in. The ranges of the variants stand in their defined order, so new weights give another variant only to the units between an old and a
new border, and a variant that is appended takes from the others what it needs.

Of those units, the ones that were exposed keep their variant by a pin (`schemas.pins`), which is written in one transaction with the new
weights of an experiment that was started. Exposed means: a stored event names the experiment, the unit and a variant; of several variants
the first in event time is kept. Exposures that are on their way into the tables at that moment are pinned some seconds later. A pin says
which variant, not whether the unit takes part: steps 1 to 6 go before it. Other units may move: those never exposed, those whose events
have expired, and all of them when `millstream apply` writes the weights, which sees no exposures.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.bucketing import buckets, places
from schemas.definition_kinds import Experiment, Variant
from schemas.exclusion import ExclusionGroup
from schemas.pins import PinnedUnits
from schemas.targeting import Context, compiled

AssignmentReason = Literal["override", "rolled_back", "not_running", "no_variants", "targeting", "holdout", "exclusion_group", "traffic", "sticky", "assigned"]
Assign = Callable[[str, Context], "Assignment"]
"""The assignment of a unit with these attributes."""


class Assignment(msgspec.Struct, frozen=True):
    """What a unit gets in one experiment, and why."""

    experiment: str
    variant: Variant | None
    """None when the unit takes no part."""
    reason: AssignmentReason

    @property
    def counts(self) -> bool:
        """Whether the unit is part of the experiment, so that seeing the variant is an exposure."""
        return self.reason in ("assigned", "sticky")


def assign(experiment: Experiment, group: ExclusionGroup | None, unit: str, context: Context) -> Assignment:
    """The assignment of one unit. `group` is the one the experiment names; without its definition nobody takes part, because nothing
    else keeps the experiments of a group apart."""
    return assigner(experiment, group)(unit, context)


def assigner(experiment: Experiment, group: ExclusionGroup | None, pins: PinnedUnits | None = None) -> Assign:
    """`assign` with the pins of the experiment, for many units of one experiment; everything that does not depend on the unit is done here, once."""
    variants = {variant.name: variant for variant in experiment.variants}
    none: tuple[AssignmentReason, ...] = ("not_running", "no_variants", "targeting", "traffic")
    answer = {reason: Assignment(experiment.id, None, reason) for reason in none}
    overrides = {unit: Assignment(experiment.id, variants[name], "override") for unit, name in experiment.overrides.items()}
    everybody = _same_for_all(experiment, variants, answer)
    if everybody is not None:
        return lambda unit, _: overrides.get(unit, everybody)

    seed = experiment.seed or experiment.id
    place, traffic_place = buckets(seed), buckets(f"{seed}/traffic")
    borders = _borders(experiment)
    pinned = pins.variant if pins else None
    kept: dict[str | None, Assignment] = {name: Assignment(experiment.id, variant, "sticky") for name, variant in variants.items()}
    arms = [Assignment(experiment.id, variant, "assigned") for variant in experiment.variants]
    matches = compiled(experiment.targeting) if experiment.targeting else None
    excluded = _exclusion(experiment, group)
    traffic = round(experiment.traffic / 100, 9)

    def assign_unit(unit: str, context: Context) -> Assignment:
        if unit in overrides:
            return overrides[unit]
        if matches is not None and not matches(context):
            return answer["targeting"]
        if excluded is not None and (kept_out := excluded(unit)):
            return kept_out
        if traffic < 1 and traffic_place(unit) >= traffic:
            return answer["traffic"]
        if pinned is not None and (sticky := kept.get(pinned(unit))):
            return sticky
        return arms[bisect_right(borders, place(unit))]

    return assign_unit


def _same_for_all(experiment: Experiment, variants: dict[str, Variant], answer: dict[AssignmentReason, Assignment]) -> Assignment | None:
    if not variants:
        return answer["no_variants"]
    if experiment.rolled_back:
        return Assignment(experiment.id, variants[experiment.control], "rolled_back")
    return None if experiment.status == "active" else answer["not_running"]


def _exclusion(experiment: Experiment, group: ExclusionGroup | None) -> Callable[[str], Assignment | None] | None:
    """What keeps a unit out of the experiment because of its group; None when it has no group."""
    if not experiment.group:
        return None
    holdout, elsewhere = Assignment(experiment.id, None, "holdout"), Assignment(experiment.id, None, "exclusion_group")
    slots = [slot.experiment for slot in group.slots] if group else []
    if group is None or experiment.id not in slots:
        return lambda _: elsewhere
    place = buckets(f"{group.seed or group.id}/group")
    borders = [round(border / 100, 9) for border in accumulate((slot.share for slot in group.slots), initial=group.holdout)]
    number = slots.index(experiment.id)
    low, high = borders[number], borders[number + 1]

    def kept_out(unit: str) -> Assignment | None:
        at = place(unit)
        if low <= at < high:
            return None
        return holdout if at < borders[0] else elsewhere

    return kept_out


def same_split(before: Experiment, after: Experiment) -> bool:
    """Whether the weights of two states of an experiment give every unit the same variant."""
    return [arm.name for arm in before.variants] == [arm.name for arm in after.variants] and _borders(before) == _borders(after)


def variants_by_weight(experiment: Experiment, units: Sequence[str]) -> NDArray[np.int64]:
    """The variant that the weights alone (step 8) give each of many units, by its number. The experiment must have variants."""
    return np.searchsorted(_borders(experiment), places(units, experiment.seed or experiment.id), side="right")


def _borders(experiment: Experiment) -> list[float]:
    """Where each variant's range ends, without the last. Rounded, as every share is, because 0.1 + 0.2 must not lie above the bucket 0.3."""
    sums = list(accumulate(variant.weight for variant in experiment.variants))
    return [round(each / sums[-1], 9) for each in sums[:-1]]
