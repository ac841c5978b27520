"""A fingerprint changes with what windows are computed by, and with nothing else."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from schemas.definition_kinds import Experiment, Guardrail, Metric, Variant
from schemas.effective_experiment import fingerprint

ARMS = (Variant("control"), Variant("treatment"))
REVENUE = Metric("t", "revenue", "purchase", "mean")
CLICKS = Metric("t", "clicks", "click")
OWN = Metric("t", "own", "click", experiment="e2")
EXPERIMENT = Experiment("t", "e", variants=ARMS, metrics=("revenue",))
METRICS = (REVENUE, CLICKS, OWN)


@pytest.mark.parametrize(
    "changed",
    [
        {"variants": (Variant("control", 2.0), Variant("treatment"))},
        {"variants": (Variant("control"), Variant("treatment", control=True))},
        {"metrics": ("revenue", "clicks")},
        {"alpha": 0.01},
        {"starts_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"ends_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"guardrails": (Guardrail("revenue"),)},
    ],
)
def test_what_the_figures_depend_on_changes_it(changed: dict[str, Any]) -> None:
    assert fingerprint(msgspec.structs.replace(EXPERIMENT, **changed), METRICS) != fingerprint(EXPERIMENT, METRICS)


def test_what_they_do_not_depend_on_leaves_it_alone() -> None:
    other = msgspec.structs.replace(
        EXPERIMENT, name="n", status="paused", traffic=10.0, overrides={"u": "control"}, updated_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert fingerprint(other, METRICS) == fingerprint(EXPERIMENT, tuple(reversed(METRICS)))
    renamed = msgspec.structs.replace(REVENUE, name="r", description="d", direction="decrease")
    unnamed = msgspec.structs.replace(CLICKS, window_s=60)
    assert fingerprint(EXPERIMENT, (renamed, unnamed)) == fingerprint(EXPERIMENT, METRICS)


def test_the_metrics_it_names_count_and_without_names_those_of_the_tenant() -> None:
    capped = msgspec.structs.replace(REVENUE, winsorize=0.9)
    assert fingerprint(EXPERIMENT, (capped, CLICKS)) != fingerprint(EXPERIMENT, METRICS)
    for unnamed in (msgspec.structs.replace(EXPERIMENT, metrics=()), None):
        assert fingerprint(unnamed, (capped, CLICKS, OWN)) != fingerprint(unnamed, METRICS)
        assert fingerprint(unnamed, (REVENUE, CLICKS)) == fingerprint(unnamed, METRICS), "made for another experiment"
    assert fingerprint(None, ()) != fingerprint(EXPERIMENT, ())
