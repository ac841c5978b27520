"""Guardrails trip for harm and, over their whole life, hardly ever for chance."""

import functools
import json
from typing import Any

import numpy as np
import pytest

from schemas.definition_kinds import Direction, Experiment, Guardrail, Variant
from schemas.guardrail import guarded, worsened, worst
from schemas.metric_arms import MetricArms
from schemas.moments import Moments

ARMS = (Variant("control"), Variant("treatment"))
LOOKS = np.unique(np.geomspace(100, 20_000, 30).astype(int))


def experiment(*guardrails: Guardrail, variants: tuple[Variant, ...] = ARMS) -> Experiment:
    return Experiment(tenant="shop", id="checkout", variants=variants, guardrails=guardrails)


def item(of: Experiment, metric: str, control: Moments, treatment: Moments, variant: str = "treatment") -> dict[str, Any]:
    """An item of a window as the streams write it."""
    arms = MetricArms("proportion", {"control": control, variant: treatment})
    guards = guarded(of, metric, variant, functools.partial(arms.compare, "control", variant))
    whole: dict[str, Any] = json.loads(
        json.dumps({"metric": metric, "variant": variant, "control": "control", **arms.compare("control", variant, 0.05).as_dict(), **guards})
    )
    return whole


def trips(guardrail: Guardrail, control: Moments, treatment: Moments, direction: Direction = "increase") -> bool:
    return worsened(guardrail, 0, direction, item(experiment(guardrail), guardrail.metric, control, treatment)) is not None


def rate(converted: int, units: int = 10_000) -> Moments:
    return Moments.proportion(converted, units)


@pytest.mark.parametrize(
    ("control", "treatment", "direction", "threshold", "tripped"),
    [
        (1_000, 700, "increase", 0.0, True),
        (1_000, 700, "decrease", 0.0, False),
        (1_000, 1_300, "increase", 0.0, False),
        (1_000, 1_300, "decrease", 0.0, True),
        (1_000, 990, "increase", 0.0, False),
        (1_000, 1_000, "increase", 0.0, False),
        (1_000, 700, "increase", 0.10, True),
        (1_000, 700, "increase", 0.30, False),
        (1_000, 700, "increase", 0.50, False),
        (1_000, 1_400, "decrease", 0.20, True),
        (1_000, 1_400, "decrease", 0.40, False),
        (0, 300, "decrease", 0.0, True),
        (0, 300, "decrease", 0.1, False),
        (0, 0, "decrease", 0.0, False),
    ],
)
def test_harm_beyond_what_is_tolerated_trips(control: int, treatment: int, direction: Direction, threshold: float, tripped: bool) -> None:
    assert trips(Guardrail("errors", threshold=threshold), rate(control), rate(treatment), direction) is tripped


def test_nothing_is_said_of_few_units() -> None:
    assert not trips(Guardrail("conversion"), rate(99, 99), rate(0, 99))
    assert trips(Guardrail("conversion"), rate(100, 100), rate(2, 100))


def test_a_smaller_alpha_asks_for_more() -> None:
    control, treatment = rate(1_000), rate(860)
    assert trips(Guardrail("conversion", alpha=0.05), control, treatment)
    assert not trips(Guardrail("conversion", alpha=1e-4), control, treatment)


def test_the_level_is_shared_between_guardrails_and_treatments() -> None:
    three = (*ARMS, Variant("other"))
    guards = (Guardrail("conversion", alpha=0.06), Guardrail("errors", alpha=0.06))
    found = item(experiment(*guards, variants=three), "conversion", rate(1_000), rate(900))
    assert [each["level"] for each in found["guarded"]] == [pytest.approx(0.015)]
    assert "guarded" not in item(experiment(*guards), "another", rate(1_000), rate(900))


def test_control_is_not_compared_with_itself() -> None:
    of = experiment(Guardrail("conversion"))
    arms = MetricArms("proportion", {"control": rate(1_000)})
    assert guarded(of, "conversion", "control", functools.partial(arms.compare, "control", "control")) == {}


def test_a_reading_from_before_another_guardrail_was_added_does_not_count() -> None:
    guardrail = Guardrail("conversion")
    old = item(experiment(guardrail), "conversion", rate(1_000), rate(500))
    assert worsened(guardrail, 0, "increase", old) and worsened(guardrail, 1, "increase", old) is None
    assert worsened(Guardrail("conversion", alpha=0.01), 0, "increase", old) is None


def test_the_evidence_says_all_that_decided() -> None:
    guardrail = Guardrail("conversion", "roll_back", 0.02)
    evidence = worsened(guardrail, 0, "increase", item(experiment(guardrail), "conversion", rate(1_000), rate(700)))
    assert evidence is not None
    assert (evidence["metric"], evidence["variant"], evidence["action"], evidence["threshold"]) == ("conversion", "treatment", "roll_back", 0.02)
    assert evidence["relative_interval"][1] < -0.02 and evidence["p_value"] < evidence["level"] == 0.05
    assert (evidence["control_value"], evidence["treatment_value"], evidence["control_units"]) == (0.1, pytest.approx(0.07), 10_000)
    json.dumps(evidence, allow_nan=False)
    assert worst([{**evidence, "p_value": 0.04}, evidence]) is evidence


def _life(seed: int, runs: int, conversion: tuple[float, float], errors: tuple[float, float]) -> np.ndarray[Any, Any]:
    """Cumulative converted and failed units of both arms at each look: (arm, metric, run, look). Who converts fails less often, so metrics hang together."""
    random = np.random.default_rng(seed)
    steps = np.diff(LOOKS, prepend=0)
    sums = np.zeros((2, 2, runs, len(LOOKS)), dtype=np.int64)
    for arm in (0, 1):
        for look, size in enumerate(steps):
            converted = random.binomial(size, conversion[arm], runs)
            failed = random.binomial(converted, errors[arm] / 2) + random.binomial(size - converted, errors[arm])
            sums[arm, 0, :, look], sums[arm, 1, :, look] = converted, failed
    return sums.cumsum(axis=3)


def _tripped(guardrails: tuple[Guardrail, Guardrail], sums: np.ndarray[Any, Any]) -> int:
    """Experiments of which any guardrail trips at any look."""
    of = experiment(*guardrails)
    directions: tuple[Direction, Direction] = ("increase", "decrease")

    def trips_at(run: int, look: int, place: int) -> bool:
        arms = MetricArms("proportion", {arm.name: rate(int(sums[index, place, run, look]), int(LOOKS[look])) for index, arm in enumerate(ARMS)})
        guards = guarded(of, guardrails[place].metric, "treatment", functools.partial(arms.compare, "control", "treatment"))
        return worsened(guardrails[place], 1, directions[place], guards) is not None

    return sum(any(trips_at(run, look, place) for look in range(len(LOOKS)) for place in (0, 1)) for run in range(sums.shape[2]))


def test_of_1000_harmless_experiments_looked_at_all_the_time_at_most_alpha_trip() -> None:
    alpha = 0.05
    guardrails = (Guardrail("conversion", alpha=alpha), Guardrail("errors", alpha=alpha))
    assert _tripped(guardrails, _life(1, 1_000, (0.10, 0.10), (0.04, 0.04))) <= alpha * 1_000


def test_harm_within_the_tolerance_is_harmless_too() -> None:
    alpha = 0.05
    guardrails = (Guardrail("conversion", threshold=0.05, alpha=alpha), Guardrail("errors", threshold=0.05, alpha=alpha))
    assert _tripped(guardrails, _life(2, 200, (0.20, 0.19), (0.10, 0.105))) <= alpha * 200


def test_harmful_experiments_trip() -> None:
    guardrails = (Guardrail("conversion"), Guardrail("errors"))
    assert _tripped(guardrails, _life(3, 100, (0.10, 0.08), (0.04, 0.04))) >= 99
    assert _tripped(guardrails, _life(4, 100, (0.10, 0.10), (0.04, 0.06))) >= 99
