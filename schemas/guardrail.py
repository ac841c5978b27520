"""Guardrails: metrics that must not get worse, decided so that harmless experiments are left alone for their whole life.

A guardrail with level alpha trips when an always-valid interval (`schemas.confidence_sequence`, for quantiles `schemas.quantiles`) leaves no
doubt that a treatment is worse than control by more than the tolerated threshold. The chance that such an interval ever leaves out
the truth is at most its level over all looks together, so looking at every refresh costs nothing. The statement is two-sided although
only one side trips, so the real rate of false trips is nearer to half of the level.

An experiment with G guardrails and V treatments makes G * V such statements; each is made at `alpha / (G * V)` (Bonferroni), so the chance
that a harmless experiment ever trips anything is at most the largest alpha of its guardrails, whatever the metrics have to do with each other.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from schemas.definition_kinds import Direction, Experiment, Guardrail
from schemas.significance import Comparison

FIGURES: Final = "guarded"
"""Where the readings stand in an item of a significance window: a list, one for each alpha."""


def is_guarded(experiment: Experiment | None) -> bool:
    """Whether units are protected by a guardrail now."""
    return experiment is not None and experiment.status == "active" and bool(experiment.guardrails)


def guarded(experiment: Experiment, metric: str, variant: str, compare: Callable[[float], Comparison]) -> dict[str, Any]:
    """What an item of a window says for the guardrails on a metric: the anytime reading at each level needed. Empty where nothing is guarded.

    `experiment` has its variants; `compare` compares this variant with control at a level."""
    treatments = len(experiment.variants) - 1
    alphas = sorted({guardrail.alpha for guardrail in experiment.guardrails if guardrail.metric == metric})
    if not alphas or variant == experiment.control or treatments < 1:
        return {}
    levels = {alpha: alpha / (len(experiment.guardrails) * treatments) for alpha in alphas}
    return {FIGURES: [{"alpha": alpha, "level": level, **asdict(compare(level).anytime)} for alpha, level in levels.items()]}


def worsened(guardrail: Guardrail, others: int, direction: Direction, item: Mapping[str, Any]) -> dict[str, Any] | None:
    """The evidence that a guardrail is broken by a variant, as values JSON can carry; None when it is not, or cannot be told yet.

    `others` is how many more guardrails the experiment has, `direction` which way of the metric is better, `item` the figures of the variant in
    a cumulative window. Without tolerance the absolute difference decides, which any baseline has; with it the relative one.
    """
    reading = next((each for each in item.get(FIGURES, ()) if each["alpha"] == guardrail.alpha), None)
    # A reading from before a guardrail was added was taken at a level too high.
    if reading is None or reading["level"] > guardrail.alpha / (others + 1) * (1 + 1e-12):
        return None
    interval = reading["relative_interval"] if guardrail.threshold else reading["interval"]
    if interval is None:
        return None
    low, high = interval
    if not (high < -guardrail.threshold if direction == "increase" else low > guardrail.threshold):
        return None
    named = ("metric", "variant", "control", "control_value", "treatment_value", "difference", "relative_difference", "control_units", "treatment_units")
    return {
        **{name: item.get(name) for name in named},
        "better_is": direction,
        "action": guardrail.action,
        "threshold": guardrail.threshold,
        "alpha": guardrail.alpha,
        "level": reading["level"],
        "p_value": reading["p_value"],
        "interval": reading["interval"],
        "relative_interval": reading["relative_interval"],
        "sample_ratio": item.get("sample_ratio"),
    }


def worst(evidence: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of the evidence on several variants, the one least likely to be chance. Raises ValueError for none."""
    return min(evidence, key=lambda each: each["p_value"])
