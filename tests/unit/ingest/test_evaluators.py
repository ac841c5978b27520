"""Compiled flags and experiments: always those of this moment."""

from typing import Any

import msgspec

from ingest.evaluators import Evaluators
from schemas.definition_kinds import Variant
from schemas.definitions import Definitions
from schemas.exclusion import ExclusionGroup, Slot
from schemas.flag import DefaultRule, Variation
from schemas.pins import unit_hash, with_pins
from tests.clock import HandClock
from tests.unit.ingest.evaluation_support import define, experiment, flag, key, remove


def ready() -> tuple[Definitions, Evaluators]:
    definitions = Definitions()
    return definitions, Evaluators(definitions, HandClock())


def test_a_change_is_seen_at_once() -> None:
    definitions, evaluators = ready()
    assert evaluators.flag("acme", "checkout") is None
    define(definitions, flag(default_rule=DefaultRule(0.0)))
    first = evaluators.flag("acme", "checkout")
    assert first is not None and first is evaluators.flag("acme", "checkout"), "compiled once"
    define(definitions, flag(default_rule=DefaultRule(100.0)))
    second = evaluators.flag("acme", "checkout")
    assert second is not None and second.evaluate("u", {}).variation.key == "on"
    assert evaluators.flag("other", "checkout") is None
    remove(definitions, flag())
    assert evaluators.flag("acme", "checkout") is None and evaluators.flags("acme") == []


def test_a_renamed_flag_answers_only_by_its_new_key() -> None:
    definitions, evaluators = ready()
    define(definitions, flag("old"))
    assert evaluators.flag("acme", "old") is not None
    define(definitions, msgspec.structs.replace(flag("old"), key="new"))
    assert evaluators.flag("acme", "old") is None and evaluators.flag("acme", "new") is not None
    assert [each.flag.key for each in evaluators.flags("acme")] == ["new"]


def test_a_flag_follows_its_experiment_and_the_experiment_its_group() -> None:
    definitions, evaluators = ready()
    define(definitions, flag(experiment="exp_1"))
    found = evaluators.flag("acme", "checkout")
    assert found is not None and found.evaluate("u", {}).assignment is None, "the experiment is not defined yet"
    define(definitions, experiment(group="g"))
    assert found.evaluate("u", {}).assignment is None, "its group is not defined yet"
    define(definitions, ExclusionGroup("acme", "g", slots=(Slot("exp_1", 100.0),)))
    assert found.evaluate("u", {}).assignment is not None
    define(definitions, experiment(group="g", status="paused"))
    assert found.evaluate("u", {}).assignment is None


def test_the_version_is_that_of_the_content() -> None:
    definitions, evaluators = ready()
    empty = evaluators.version("acme")
    define(definitions, flag("a"), flag("b"), experiment(), key())
    both = evaluators.version("acme")
    other_definitions, other = ready()
    define(other_definitions, experiment(), flag("b", enabled=False), flag("b"), flag("a"))
    assert other.version("acme") == both, "whatever the way there"
    assert other.version("another tenant") == empty != both
    define(definitions, flag("b", enabled=False))
    assert evaluators.version("acme") != both and evaluators.has_seen("acme", both) and not evaluators.has_seen("acme", "unheard of")
    for each in (flag("a"), flag("b"), experiment()):
        remove(definitions, each)
    assert evaluators.version("acme") == empty


def test_one_fraction_makes_every_number_of_a_flag_a_fraction() -> None:
    definitions, evaluators = ready()
    values: dict[str, list[Any]] = {"mixed": [0.5, 10], "whole": [5, 10], "text": ["5", "10"], "switch": [True, False]}
    for name, (high, low) in values.items():
        define(definitions, flag(name, rules=(), variations=(Variation("h", "h", high), Variation("l", "l", low))))
    served = {}
    for name in values:
        found = evaluators.flag("acme", name)
        assert found is not None
        served[name] = msgspec.json.encode([found.value_of(variation) for variation in found.flag.variations])
    assert served == {"mixed": b"[0.5,10.0]", "whole": b"[5,10]", "text": b'["5","10"]', "switch": b"[true,false]"}


def test_an_experiment_is_assigned_by_its_pins() -> None:
    definitions, evaluators = ready()
    given = experiment(variants=(Variant("on", 99.0), Variant("off", 1.0, control=True)))
    define(definitions, given)
    before = evaluators.version("acme")

    def reasons() -> list[str]:
        assign = evaluators.assigner("acme", "exp_1")
        assert assign is not None
        return [assign(unit, {}).reason for unit in ("u1", "u2", "u3")]

    first = with_pins("acme", "exp_1", None, [("off", unit_hash("u1"))])
    define(definitions, *first)
    assert reasons() == ["assigned"] * 3, "until the experiment counts it"
    define(definitions, msgspec.structs.replace(given, pinned=1))
    assert reasons() == ["sticky", "assigned", "assigned"] and evaluators.version("acme") != before
    define(definitions, *with_pins("acme", "exp_1", first[0], [("off", unit_hash("u2"))]), msgspec.structs.replace(given, pinned=2))
    assert reasons() == ["sticky", "sticky", "assigned"]
    define(definitions, given)
    assert reasons() == ["assigned"] * 3
