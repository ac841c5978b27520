"""How figures become results: percent, the best of several variants, the family that is corrected, and reasons for what is absent."""

import json
from typing import Any

import pytest

from query_api.domain.result_figures import MAX_CONFIDENCE, MetricFigures, corrections, metric_results, reasons_in, segment_corrections
from schemas.correction import holm
from schemas.definition_kinds import Metric
from schemas.metric_arms import MetricArms
from schemas.moments import Moments


def _metric(name: str = "m", **settings: Any) -> Metric:
    return Metric(tenant="t", id=name, event_type="e", **settings)


def _figures(metric: Metric, arms: dict[str, Moments], control: str = "control") -> MetricFigures:
    assert metric.kind != "quantile"
    compared = MetricArms(metric.kind, arms)
    return MetricFigures(metric, control, {name: compared.figures(control, name, 0.05) for name in arms})


def _shown(figures: MetricFigures, **settings: Any) -> dict[str, Any]:
    answer = metric_results(figures, corrections([figures], "none"), bayesian=True, **settings)
    json.dumps(answer, allow_nan=False)
    return answer


SHARES = {"control": Moments.proportion(320, 10_000), "a": Moments.proportion(410, 10_000), "b": Moments.proportion(430, 10_000)}


def test_proportions_are_in_percent() -> None:
    shown = _shown(_figures(_metric(), SHARES))
    results, comparison = shown["results"], shown["comparisons"][0]
    assert shown["unit"] == "percent"
    assert results["control"]["value"] == pytest.approx(3.2) and results["a"]["value"] == pytest.approx(4.1)
    assert comparison["difference"] == pytest.approx(0.9) and comparison["improvement"] == pytest.approx(28.125)
    low, high = comparison["always_valid"]["interval"]
    assert low < 0.9 < high < 3
    assert comparison["bayesian"]["chance_to_win"] > 99


def test_the_headline_speaks_of_the_best_variant() -> None:
    up = _shown(_figures(_metric(), SHARES))
    assert up["best_variant"] == "b" and up["results"]["improvement"] == pytest.approx(34.375)
    down = _shown(_figures(_metric(direction="decrease"), SHARES))
    assert down["best_variant"] == "a" and down["results"]["improvement"] == pytest.approx(28.125)
    for shown in (up, down):
        best = next(each for each in shown["comparisons"] if each["variant"] == shown["best_variant"])
        assert shown["results"]["confidence"] == best["confidence"] == pytest.approx(min(100 * (1 - best["always_valid"]["p_value"]), MAX_CONFIDENCE))
        assert shown["results"]["is_significant"] == best["is_significant"]


def test_certainty_is_never_claimed() -> None:
    arms = {"control": Moments.proportion(10, 10**6), "treatment": Moments.proportion(10**6 - 10, 10**6)}
    assert _shown(_figures(_metric(), arms))["results"]["confidence"] == MAX_CONFIDENCE


def test_goals_are_corrected_together_and_guardrails_stay() -> None:
    goals = [_figures(_metric("one"), SHARES), _figures(_metric("two"), {**SHARES, "a": Moments.proportion(325, 10_000)})]
    guard = _figures(_metric("guard", use="guardrail"), SHARES)
    found = corrections([*goals, guard], "holm")
    plain = [goal.items[name]["anytime"]["p_value"] for goal in goals for name in ("a", "b")]
    assert [found[name].anytime for name in (("one", "a"), ("one", "b"), ("two", "a"), ("two", "b"))] == holm(plain)
    assert found["guard", "a"].anytime == guard.items["a"]["anytime"]["p_value"]
    shown = metric_results(goals[0], found, bayesian=False)
    assert shown["comparisons"][0]["confidence"] == pytest.approx(min(100 * (1 - holm(plain)[0]), MAX_CONFIDENCE))
    assert "bayesian" not in shown["comparisons"][0]


@pytest.mark.parametrize(
    ("arms", "reason"),
    [
        ({"control": Moments(0, 0.0, 0.0), "treatment": Moments(0, 0.0, 0.0)}, "empty_arm"),
        ({"control": Moments.of([1.0, 2.0] * 500), "treatment": Moments(0, 0.0, 0.0)}, "empty_arm"),
        ({"control": Moments.of([2.0] * 500), "treatment": Moments.of([3.0] * 500)}, "no_spread"),
    ],
    ids=["nobody yet", "one-sided traffic", "zero variance"],
)
def test_what_cannot_be_said_is_null_with_a_reason(arms: dict[str, Moments], reason: str) -> None:
    shown = _shown(_figures(_metric(kind="mean"), arms))
    comparison = shown["comparisons"][0]
    assert comparison["always_valid"]["reason"] == comparison["fixed_horizon"]["reason"] == comparison["bayesian"]["reason"] == reason
    assert comparison["always_valid"]["p_value"] is None and comparison["confidence"] is None and comparison["is_significant"] is False
    assert shown["results"]["confidence"] is None and shown["results"]["is_significant"] is False
    assert reason in reasons_in(shown) and all(reasons_in(shown).values())


def test_a_negative_baseline_has_a_difference_but_no_improvement() -> None:
    arms = {"control": Moments.of([-3.0, -1.0] * 500), "treatment": Moments.of([1.0, 2.0] * 500)}
    shown = _shown(_figures(_metric(kind="mean"), arms))
    comparison = shown["comparisons"][0]
    assert comparison["difference"] == pytest.approx(3.5) and comparison["is_significant"] is True
    assert comparison["improvement"] is None and comparison["always_valid"]["relative_reason"] == "baseline_not_positive"
    assert "baseline_not_positive" in reasons_in(shown)


def test_an_experiment_with_control_alone_has_no_headline() -> None:
    shown = _shown(_figures(_metric(), {"control": SHARES["control"]}))
    assert shown["best_variant"] is None and shown["comparisons"] == []
    assert shown["results"]["improvement"] is None and shown["results"]["is_significant"] is False


def test_segments_are_corrected_as_one_family() -> None:
    goal, guardrail = _metric("goal"), _metric("guard", use="guardrail")
    worse = {"control": Moments.proportion(320, 10_000), "a": Moments.proportion(395, 10_000)}
    segments = {name: [_figures(goal, arms), _figures(guardrail, arms)] for name, arms in (("web", SHARES), ("app", worse))}
    found = segment_corrections(segments, "holm")
    places = [("web", "a"), ("web", "b"), ("app", "a")]
    plain = {(segment, name): corrections(segments[segment], "none")["goal", name].anytime for segment, name in places}
    expected = holm([p for p in plain.values() if p is not None])
    assert [found[segment]["goal", name].anytime for segment, name in places] == pytest.approx(expected)
    assert found["app"]["guard", "a"] == corrections(segments["app"], "none")["guard", "a"]
