"""Assignments: even, independent, stable where they promise it, and decided in the documented order."""

from functools import cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from schemas.assignment import assign, assigner
from schemas.bucketing import bucket, fnv1a_32
from schemas.definition_kinds import Experiment, Variant
from schemas.exclusion import ExclusionGroup, Slot
from schemas.targeting import Rule

Places = npt.NDArray[np.float64]


def experiment(name: str = "exp", **values: Any) -> Experiment:
    """An active experiment with two equal variants, unless told otherwise."""
    two = (Variant("control", 50.0, id="var_c"), Variant("treatment", 50.0, id="var_t"))
    return Experiment(**{"tenant": "t", "id": name, "variants": two, **values})


def variants(given: Experiment, count: int, group: ExclusionGroup | None = None) -> list[str]:
    """The variant of each of many units; empty for none."""
    one = assigner(given, group)
    found = (one(f"user-{n}", {}).variant for n in range(count))
    return [variant.name if variant else "" for variant in found]


def fnv(texts: npt.NDArray[np.uint8], start: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """FNV-1a of many ASCII texts at once; a zero byte ends a text."""
    value = start.copy()
    for column in texts.T:
        value = np.where(column > 0, (value ^ column) * np.uint32(0x01000193), value)
    return value


@cache
def places(seed: str, count: int = 1_000_000) -> Places:
    """`bucket` of a million units."""
    units = np.char.add("user-", np.arange(count).astype("U7")).astype("S12")
    start = np.full(count, fnv1a_32(seed), np.uint32)
    first = fnv(units.view(np.uint8).reshape(count, -1), start).astype("S10")
    offset = np.full(count, 0x811C9DC5, np.uint32)
    return fnv(first.view(np.uint8).reshape(count, -1), offset) % 10_000 / 10_000


def test_the_fast_hash_of_this_test_is_the_hash() -> None:
    assert [float(place) for place in places("exp_12345")[:500]] == [bucket(f"user-{n}", "exp_12345") for n in range(500)]


@pytest.mark.parametrize("seed", ["exp_12345", "checkout", "01JD2Q8", "exp_12345/traffic", "group-1/group"])
def test_a_million_units_fall_evenly(seed: str) -> None:
    counts = np.histogram(places(seed), bins=100, range=(0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-4
    thirds = np.bincount(np.searchsorted([1 / 3, 2 / 3], places(seed), side="right"))
    assert stats.chisquare(thirds).pvalue > 1e-4


@pytest.mark.parametrize(
    ("first", "second"),
    [("exp_1", "exp_2"), ("exp_12345", "exp_12346"), ("a", "b"), ("checkout", "checkout/traffic"), ("checkout", "checkout/group"), ("x", "x-copy")],
)
def test_experiments_are_independent_over_a_million_units(first: str, second: str) -> None:
    table = np.histogram2d(places(first), places(second), bins=10, range=((0, 1), (0, 1)))[0]
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_shares_are_those_of_the_weights() -> None:
    weights = {"a": 10.0, "b": 20.0, "c": 70.0}
    found = variants(experiment(variants=tuple(Variant(name, weight) for name, weight in weights.items())), 60_000)
    counts = [found.count(name) for name in weights]
    assert sum(counts) == 60_000
    assert stats.chisquare(counts, [600 * weight for weight in weights.values()]).pvalue > 1e-4


def test_two_experiments_split_users_independently() -> None:
    first, second = variants(experiment("exp_1"), 20_000), variants(experiment("exp_2"), 20_000)
    table = [[sum(pair == (a, b) for pair in zip(first, second, strict=True)) for b in ("control", "treatment")] for a in ("control", "treatment")]
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_raising_traffic_moves_nobody_and_keeps_the_split() -> None:
    before = [""] * 20_000
    for traffic in (1.0, 10.0, 50.0, 99.0, 100.0):
        found = variants(experiment(traffic=traffic), 20_000)
        assert all(now == then for now, then in zip(found, before, strict=True) if then)
        inside = 20_000 - found.count("")
        assert stats.binomtest(inside, 20_000, traffic / 100).pvalue > 1e-4
        assert stats.binomtest(found.count("control"), inside, 0.5).pvalue > 1e-4
        before = found


def test_new_weights_move_only_those_between_the_borders() -> None:
    half = variants(experiment(), 20_000)
    most = variants(experiment(variants=(Variant("control", 80.0), Variant("treatment", 20.0))), 20_000)
    assert all(now == "control" for now, then in zip(most, half, strict=True) if then == "control")
    moved = sum(now != then for now, then in zip(most, half, strict=True))
    assert stats.binomtest(moved, 20_000, 0.3).pvalue > 1e-4


def test_borders_are_exact() -> None:
    """A unit in bucket 0.3 belongs to the third tenth-wide variant even though 0.1 + 0.2 is a little more than 0.3."""
    tenths = experiment(variants=tuple(Variant(f"v{n}", 0.1) for n in range(10)))
    one = assigner(tenths, None)
    for n in range(3_000):
        unit = f"user-{n}"
        found = one(unit, {}).variant
        assert found is not None and found.name == f"v{int(round(bucket(unit, 'exp') * 10_000) // 1_000)}"


def test_groups_are_exclusive_and_the_holdout_takes_part_in_none() -> None:
    group = ExclusionGroup("t", "g", holdout=20.0, slots=(Slot("one", 30.0), Slot("two", 40.0)))
    found = {name: variants(experiment(name, group="g"), 20_000, group) for name in ("one", "two")}
    both = [unit for unit, pair in enumerate(zip(found["one"], found["two"], strict=True)) if all(pair)]
    assert both == []
    for name, share in (("one", 0.3), ("two", 0.4)):
        inside = [variant for variant in found[name] if variant]
        assert stats.binomtest(len(inside), 20_000, share).pvalue > 1e-4
        assert stats.binomtest(inside.count("control"), len(inside), 0.5).pvalue > 1e-4, "the slot does not bias the split"
    assert found["one"] == variants(experiment("one", group="g"), 20_000, msgspec.structs.replace(group, slots=(*group.slots, Slot("three", 10.0))))


def test_why_a_unit_of_a_group_takes_no_part() -> None:
    group = ExclusionGroup("t", "g", holdout=50.0, slots=(Slot("one", 25.0),))
    reasons = {assign(experiment("one", group="g"), group, f"user-{n}", {}).reason for n in range(200)}
    assert reasons == {"holdout", "exclusion_group", "assigned"}
    assert {assign(experiment("two", group="g"), group, f"user-{n}", {}).reason for n in range(200)} == {"exclusion_group"}
    assert assign(experiment("one", group="g"), None, "user", {}).reason == "exclusion_group", "without the group nothing keeps experiments apart"


def test_a_group_named_like_its_experiment_does_not_choose_the_variant() -> None:
    group = ExclusionGroup("t", "same", slots=(Slot("same", 50.0),))
    inside = [variant for variant in variants(experiment("same", group="same"), 20_000, group) if variant]
    assert stats.binomtest(inside.count("control"), len(inside), 0.5).pvalue > 1e-4


def test_the_order_of_decisions() -> None:
    germans = Rule("equals", "country", "DE")
    given = experiment(targeting=germans, overrides={"tester": "treatment"}, traffic=0.0)
    assert assign(given, None, "tester", {}).reason == "override", "a tester needs to fit nothing"
    assert assign(given, None, "user", {"country": "FR"}).reason == "targeting"
    assert assign(given, None, "user", {"country": "DE"}).reason == "traffic"
    rolled_back = msgspec.structs.replace(given, rolled_back=True, status="paused")
    control = assign(rolled_back, None, "user", {"country": "FR"})
    assert control.reason == "rolled_back" and control.variant is not None and control.variant.name == "control"
    assert assign(rolled_back, None, "tester", {}).reason == "override"
    assert assign(experiment(variants=()), None, "user", {}).reason == "no_variants"


@pytest.mark.parametrize("status", ["draft", "paused", "completed", "archived"])
def test_only_an_active_experiment_assigns(status: str) -> None:
    found = assign(experiment(status=status), None, "user", {})
    assert (found.variant, found.reason, found.counts) == (None, "not_running", False)


def test_only_what_the_hash_decided_counts() -> None:
    given = experiment(overrides={"tester": "treatment"})
    assert assign(given, None, "user", {}).counts
    assert not assign(given, None, "tester", {}).counts
    assert not assign(msgspec.structs.replace(given, rolled_back=True), None, "user", {}).counts


def test_the_seed_decides_and_not_the_name() -> None:
    same = variants(experiment("a", seed="s"), 300)
    assert same == variants(experiment("b", seed="s"), 300) != variants(experiment("b"), 300)
