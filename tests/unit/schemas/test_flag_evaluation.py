"""Flags: which variation a unit gets, and the reason that is given."""

from typing import Any

import msgspec
import pytest

from schemas.assignment import Assignment, AssignmentReason
from schemas.bucketing import bucket
from schemas.definition_kinds import Variant
from schemas.flag import DefaultRule, Flag, FlagRule, Variation
from schemas.flag_evaluation import evaluate, evaluator
from schemas.targeting import Context, Rule

ON, OFF = Variation("var_on", "on", True), Variation("var_off", "off", False)


def flag(**values: Any) -> Flag:
    """An enabled flag that is on or off, unless told otherwise."""
    return Flag(**{"tenant": "t", "id": "flag_1", "key": "checkout", "enabled": True, "variations": (ON, OFF), **values})


def nobody(unit: str, context: Context) -> Assignment | None:
    return None


def gives(name: str, reason: AssignmentReason = "assigned") -> Any:
    return lambda unit, context: Assignment("exp", Variant(name), reason)


PREMIUM = FlagRule("rule_789", Rule("equals", "user_type", "premium"))
QUARTER = FlagRule("rule_012", Rule("in", "country", ["US", "CA"]), 25.0)


def test_the_first_rule_that_matches_decides() -> None:
    given = flag(rules=(PREMIUM, QUARTER))
    found = evaluate(given, "user_123", {"country": "US", "user_type": "premium"}, nobody)
    assert (found.variation, found.reason, found.rule_id) == (ON, "TARGETING_MATCH", "rule_789")
    found = evaluate(given, "user_123", {"country": "UK"}, nobody)
    assert (found.variation, found.reason, found.rule_id) == (OFF, "DEFAULT", "")


def test_outside_the_rollout_of_the_rule_that_matches_it_is_off() -> None:
    everybody = FlagRule("later", Rule())
    given = evaluator(flag(rules=(QUARTER, everybody)))
    for number in range(300):
        unit = f"user-{number}"
        found = given(unit, {"country": "CA"}, nobody)
        inside = bucket(unit, "flag_1") < 0.25
        assert (found.variation, found.reason, found.rule_id) == (ON if inside else OFF, "SPLIT", "rule_012")


def test_a_rollout_keeps_whom_it_reached() -> None:
    reached: set[str] = set()
    for percent in (0.0, 5.0, 33.33, 80.0, 100.0):
        given = evaluator(flag(default_rule=DefaultRule(percent)))
        now = {unit for unit in (f"user-{n}" for n in range(5_000)) if given(unit, {}, nobody).variation == ON}
        assert reached <= now and abs(len(now) - 50 * percent) < 200
        reached = now


def test_two_flags_roll_out_to_different_units() -> None:
    halves = [evaluator(flag(id=name, default_rule=DefaultRule(50.0))) for name in ("flag_1", "flag_2")]
    both = sum(all(half(f"user-{n}", {}, nobody).variation == ON for half in halves) for n in range(4_000))
    assert 850 < both < 1_150


@pytest.mark.parametrize(("percent", "variation"), [(0.0, OFF), (100.0, ON)])
def test_what_is_the_same_for_everybody_is_static(percent: float, variation: Variation) -> None:
    found = evaluate(flag(default_rule=DefaultRule(percent)), None, {}, nobody)
    assert (found.variation, found.reason) == (variation, "STATIC")


def test_a_disabled_flag_is_off() -> None:
    given = flag(enabled=False, rules=(PREMIUM,), default_rule=DefaultRule(100.0), experiment="exp")
    found = evaluate(given, "user", {"user_type": "premium"}, gives("on"))
    assert (found.variation, found.reason, found.rule_id, found.assignment) == (OFF, "DISABLED", "", None)


def test_the_experiment_decides_when_no_rule_does() -> None:
    given = flag(rules=(PREMIUM,), experiment="exp", default_rule=DefaultRule(100.0))
    found = evaluate(given, "user", {}, gives("off"))
    assert (found.variation, found.reason) == (OFF, "SPLIT") and found.assignment is not None and found.assignment.counts
    assert evaluate(given, "user", {"user_type": "premium"}, gives("off")).assignment is None


@pytest.mark.parametrize(("reason", "shown"), [("override", "TARGETING_MATCH"), ("rolled_back", "STATIC"), ("assigned", "SPLIT")])
def test_the_reason_of_an_assignment(reason: AssignmentReason, shown: str) -> None:
    assert evaluate(flag(experiment="exp"), "user", {}, gives("on", reason)).reason == shown


def test_without_a_variant_the_default_rule_decides() -> None:
    given = flag(experiment="exp", default_rule=DefaultRule(100.0))
    outside = Assignment("exp", None, "traffic")
    for assign in (nobody, lambda unit, context: outside, gives("a name that is no variation")):
        found = evaluate(given, "user", {}, assign)
        assert (found.variation, found.reason, found.assignment) == (ON, "DEFAULT", None)


def test_a_missing_unit_is_an_error_only_where_its_hash_is_needed() -> None:
    for needs in (flag(default_rule=DefaultRule(50.0)), flag(experiment="exp"), flag(rules=(FlagRule("r", Rule(), 10.0),))):
        found = evaluate(needs, None, {}, gives("on"))
        assert (found.reason, found.variation) == ("ERROR", OFF)
    assert evaluate(flag(rules=(PREMIUM, QUARTER)), None, {"user_type": "premium"}, nobody).reason == "TARGETING_MATCH"


def test_named_variations() -> None:
    colours = tuple(Variation(f"var_{name}", name, name) for name in ("red", "green", "grey"))
    given = flag(variations=colours, rules=(FlagRule("r", Rule("exists", "vip"), variation="green"),), default_rule=DefaultRule(100.0))
    assert evaluate(given, "user", {"vip": 1}, nobody).variation.key == "green"
    assert evaluate(given, "user", {}, nobody).variation.key == "red", "the first one is on"
    assert evaluate(msgspec.structs.replace(given, default_rule=DefaultRule()), "user", {}, nobody).variation.key == "grey", "the last one is off"
