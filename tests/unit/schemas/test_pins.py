"""Pins: exposed units keep their variant, others follow the new weights."""

import random
from typing import Any

import msgspec
import pytest
from scipy import stats

from schemas.assignment import assign, assigner, same_split, variants_by_weight
from schemas.bucketing import bucket, places
from schemas.definition_kinds import Experiment, Variant
from schemas.pins import CHUNK, Pin, PinnedUnits, Pins, part_ids, unit_hash, with_pins
from schemas.targeting import Rule

UNITS = [f"user-{n}" for n in range(20_000)]


def experiment(first: float = 50.0, **values: Any) -> Experiment:
    """An active experiment whose control has that share."""
    variants = (Variant("control", first, control=True), Variant("treatment", 100.0 - first))
    return Experiment(**{"tenant": "t", "id": "exp", "variants": variants, **values})


def pinned(*pins: tuple[str, str]) -> PinnedUnits:
    """Pins of these units, by variant."""
    return PinnedUnits(with_pins("t", "exp", None, [(variant, unit_hash(unit)) for unit, variant in pins]))


def names(given: Experiment, units: list[str], pins: PinnedUnits | None = None) -> list[str]:
    """The variant of each unit; empty for none."""
    one = assigner(given, None, pins)
    return [variant.name if (variant := one(unit, {}).variant) else "" for unit in units]


def test_the_hash_is_the_published_one() -> None:
    """The digests are what `printf user-1 | b2sum -l 64` prints."""
    assert unit_hash("user-1").to_bytes(8, "little").hex() == "9aac5a8621eae188"
    assert len({unit_hash(unit) for unit in UNITS}) == len(UNITS)
    assert unit_hash("\ud800") != unit_hash("é")


def test_every_pin_is_found_and_nothing_else() -> None:
    chosen = random.Random(1).sample(UNITS, 5_000)
    found = pinned(*((unit, f"v{n % 7}") for n, unit in enumerate(chosen)))
    wanted = {unit: f"v{n % 7}" for n, unit in enumerate(chosen)}
    assert [found.variant(unit) for unit in UNITS] == [wanted.get(unit) for unit in UNITS] and len(found) == 5_000
    assert PinnedUnits(()).variant("user-1") is None


def test_the_earlier_of_two_pins_counts() -> None:
    first, second = (Pins("t", "exp", n, {name: unit_hash("u").to_bytes(8, "little")}) for n, name in enumerate(("b", "a")))
    assert PinnedUnits((first, second)).variant("u") == "b"


def test_parts_fill_up_and_their_ids_follow_from_the_count() -> None:
    pins: list[Pin] = [("a" if n % 3 else "b", n) for n in range(2 * CHUNK + 100)]
    stored: dict[str, Pins] = {}
    last: Pins | None = None
    for start, end in ((0, 10), (10, CHUNK), (CHUNK, CHUNK + 1), (CHUNK + 1, len(pins))):
        parts = with_pins("t", "exp", last, pins[start:end])
        stored |= {part.id: part for part in parts}
        last = parts[-1]
        assert list(stored) == part_ids("exp", end)
    assert [len(part) for part in stored.values()] == [CHUNK, CHUNK, 100]
    assert sorted(pin for part in stored.values() for pin in part.each()) == sorted(pins)
    assert part_ids("exp", 0) == []


@pytest.mark.parametrize(("units", "problem"), [({"a": b"1234567"}, "'a' has 7 bytes"), ({"a": bytes(8 * CHUNK), "b": bytes(8)}, "too many")])
def test_what_is_not_a_part(units: dict[str, bytes], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Pins("t", "exp", 0, units)
    with pytest.raises(msgspec.ValidationError, match="units"):
        msgspec.json.decode(msgspec.json.encode({"tenant": "t", "experiment": "exp", "number": 0, "units": units}), type=Pins)


def test_pinned_units_stay_and_new_ones_follow_the_new_weights() -> None:
    exposed, new = UNITS[:10_000], UNITS[10_000:]
    before, after = experiment(50), experiment(80)
    shown = dict(zip(exposed, names(before, exposed), strict=True))
    moved = [unit for unit, now in zip(exposed, names(after, exposed), strict=True) if now != shown[unit]]
    pins = pinned(*((unit, shown[unit]) for unit in moved))
    assert stats.binomtest(len(moved), len(exposed), 0.3).pvalue > 1e-4
    assert names(after, exposed, pins) == list(shown.values())
    split = [names(after, new, pins).count(name) for name in ("control", "treatment")]
    assert stats.chisquare(split, [8_000, 2_000]).pvalue > 1e-4
    reasons = {assigner(after, None, pins)(unit, {}).reason for unit in moved}
    assert reasons == {"sticky"} and assigner(after, None, pins)(moved[0], {}).counts
    assert assigner(after, None, pins)(next(unit for unit in exposed if unit not in moved), {}).reason == "assigned"


def test_a_pin_decides_only_between_variants() -> None:
    given = experiment(99.99, targeting=Rule("equals", "country", "DE"), overrides={"tester": "control"})
    pins = pinned(("user", "treatment"), ("tester", "treatment"), ("other", "gone"))

    def reason(changed: Experiment, unit: str, **context: str) -> str:
        return assigner(changed, None, pins)(unit, context).reason

    assert reason(given, "user", country="DE") == "sticky"
    assert reason(given, "tester") == "override"
    assert reason(given, "user", country="FR") == "targeting"
    assert reason(given, "other", country="DE") == "assigned", "its variant is not there"
    assert reason(msgspec.structs.replace(given, traffic=0.0), "user", country="DE") == "traffic"
    assert reason(msgspec.structs.replace(given, rolled_back=True), "user", country="DE") == "rolled_back"
    assert reason(msgspec.structs.replace(given, status="paused"), "user", country="DE") == "not_running"


def test_weights_of_many_units_at_once_are_those_of_each() -> None:
    given = Experiment("t", "exp", variants=tuple(Variant(name, weight) for name, weight in (("a", 10.0), ("b", 20.0), ("c", 70.0))))
    for units in (UNITS[:2_000], ["", "a", "é", "\U0001f600", "\ud800", "nul\0", "x" * 300], ["nul\0", "nul"], []):
        assert [given.variants[number].name for number in variants_by_weight(given, units)] == [
            variant.name for unit in units if (variant := assign(given, None, unit, {}).variant)
        ]
        assert places(units, "seed").tolist() == [bucket(unit, "seed") for unit in units]


def test_when_the_split_is_the_same() -> None:
    assert same_split(experiment(50), experiment(50, name="other"))
    halves = experiment(variants=(Variant("control", 0.5), Variant("treatment", 0.5)))
    assert same_split(experiment(50), halves) and not same_split(experiment(50), experiment(50.01))
