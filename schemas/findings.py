"""What a statistical test came to, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.effect_size import Magnitude
from schemas.group_tests import Group, Outcome, TestType, Wanted

Significance = Literal["significant", "not_significant"]


@dataclass(frozen=True)
class Interpretation:
    """`significance` is about the p-value of the test, for a single look; `effect_magnitude` by the bounds of `schemas.effect_size`."""

    significance: Significance
    effect_magnitude: Magnitude
    practical_significance: str
    """One sentence that names the groups. Which of them is better is not said: higher may be worse."""


def interpretation(test: TestType, metric: str, groups: Sequence[Group], outcome: Outcome, wanted: Wanted) -> Interpretation:
    """Of an outcome that `schemas.group_tests.run` gave for these groups."""
    significant = outcome.p_value <= wanted.alpha
    magnitude = outcome.effect.magnitude
    sentence = _found(test, metric, groups, outcome) if significant else _not_found(metric, groups, wanted)
    chance = f"p = {outcome.p_value:.2g} {'is at most' if significant else 'is above'} {wanted.alpha:g}"
    return Interpretation("significant" if significant else "not_significant", magnitude, f"{sentence}: {chance}, and the difference seen is {magnitude}.")


def _found(test: TestType, metric: str, groups: Sequence[Group], outcome: Outcome) -> str:
    if test == "one_way_anova":
        highest, lowest = max(groups, key=lambda group: group.mean), min(groups, key=lambda group: group.mean)
        names = ", ".join(group.name for group in groups)
        return f"Not all of {names} have the same mean {metric}; it is highest for {highest.name} ({highest.mean:.4g}) and lowest for {lowest.name} ({lowest.mean:.4g})"
    first, second = groups if outcome.effect.value > 0 else reversed(groups)
    if test == "mann_whitney_u":
        return f"Values of {metric} tend to be higher for {first.name} than for {second.name}"
    what = "share" if test == "two_proportion_z_test" else "mean"
    return f"The {what} of {metric} is higher for {first.name} ({first.mean:.4g}) than for {second.name} ({second.mean:.4g})"


def _not_found(metric: str, groups: Sequence[Group], wanted: Wanted) -> str:
    if wanted.alternative != "two_sided":
        return f"The data do not show that {metric} is {wanted.alternative} for {groups[0].name} than for {groups[1].name}"
    *names, last = (group.name for group in groups)
    return f"The data do not show that {', '.join(names)} and {last} differ in {metric}"
