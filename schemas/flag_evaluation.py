"""Which variation of a flag a unit gets: a function of the definitions, the unit and its attributes, and of nothing else.

A disabled flag answers its off variation, the last one. Otherwise the first of these that applies decides:

1. the first rule that matches: inside the rule's rollout its variation, outside it the off variation (a later rule is not asked);
2. the experiment that the flag runs, when it has a variant for the unit and the flag a variation with that variant's name as key;
3. the default rule: inside its rollout its variation, outside it the off variation.

Rollouts hash the unit with the flag's seed, so a unit that got a variation at 10 % keeps it at 20 %, and two rules of a flag that are
rolled out to 10 % reach the same units.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from schemas.assignment import Assignment
from schemas.bucketing import buckets
from schemas.flag import DefaultRule, Flag, FlagRule, Variation
from schemas.targeting import Context, compiled

EvaluationReason = Literal["STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "DISABLED", "ERROR"]
"""As OpenFeature names them. STATIC: everybody gets this. DEFAULT: no rule matched. TARGETING_MATCH: a rule or an override decided.
SPLIT: the hash of the unit decided. ERROR: the unit is missing and its hash was needed."""
AssignTo = Callable[[str, Context], Assignment | None]
"""The assignment of a unit in the flag's experiment; None when that experiment is not defined."""


class Evaluation(msgspec.Struct, frozen=True):
    """What a unit gets from one flag, and why."""

    variation: Variation
    reason: EvaluationReason
    rule_id: str = ""
    """The rule that decided; empty when none did."""
    assignment: Assignment | None = None
    """Set when the flag's experiment decided."""


Evaluate = Callable[[str | None, Context, AssignTo], Evaluation]
"""The evaluation for a unit with these attributes; without a unit, only what needs no hash can be answered."""


def evaluate(flag: Flag, unit: str | None, context: Context, assign: AssignTo) -> Evaluation:
    """The evaluation for one unit."""
    return evaluator(flag)(unit, context, assign)


def evaluator(flag: Flag) -> Evaluate:
    """`evaluate` for many units of one flag; everything that does not depend on the unit is done here, once."""
    off = flag.variations[-1]
    if not flag.enabled:
        disabled = Evaluation(off, "DISABLED")
        return lambda _unit, _context, _assign: disabled
    variations = {variation.key: variation for variation in flag.variations}
    place = buckets(flag.seed or flag.id)
    rules = [(compiled(rule.rule), _share(flag, place, rule)) for rule in flag.rules]
    otherwise = _share(flag, place, flag.default_rule)
    missing = Evaluation(off, "ERROR")

    def by_experiment(unit: str | None, context: Context, assign: AssignTo) -> Evaluation | None:
        if unit is None:
            return missing
        assignment = assign(unit, context)
        if assignment is None or assignment.variant is None or assignment.variant.name not in variations:
            return None
        return Evaluation(variations[assignment.variant.name], _REASONS[assignment.reason], assignment=assignment)

    def evaluate_unit(unit: str | None, context: Context, assign: AssignTo) -> Evaluation:
        for matches, share in rules:
            if matches(context):
                return share(unit)
        return (by_experiment(unit, context, assign) if flag.experiment else None) or otherwise(unit)

    return evaluate_unit


_REASONS: dict[str, EvaluationReason] = {"override": "TARGETING_MATCH", "rolled_back": "STATIC", "assigned": "SPLIT", "sticky": "SPLIT"}


def _share(flag: Flag, place: Callable[[str], float], rule: FlagRule | DefaultRule) -> Callable[[str | None], Evaluation]:
    """Who gets what of those that a rule holds for."""
    on = next((variation for variation in flag.variations if variation.key == rule.variation), flag.variations[0])
    off = flag.variations[-1]
    rule_id = rule.id if isinstance(rule, FlagRule) else ""
    percent = rule.rollout_percentage
    if percent in (0, 100):
        same: EvaluationReason = "TARGETING_MATCH" if rule_id else "DEFAULT" if flag.rules or flag.experiment else "STATIC"
        always = Evaluation(on if percent else off, same, rule_id)
        return lambda _: always
    inside, outside, missing = Evaluation(on, "SPLIT", rule_id), Evaluation(off, "SPLIT", rule_id), Evaluation(off, "ERROR", rule_id)
    share = round(percent / 100, 9)

    def split(unit: str | None) -> Evaluation:
        if unit is None:
            return missing
        return inside if place(unit) < share else outside

    return split
