"""What the evaluations of some time add up to, and what thresholds say of it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.evaluation_rule import Alert

RESULTS: Final = "results"
"""Item of a window that holds its tally."""
_DIGITS: Final = 9
"""Decimals of sums: what is added in another order is the same sum."""


@dataclass(frozen=True)
class Tally:
    """Sums over evaluations; tallies of disjoint times add up."""

    count: int = 0
    """Evaluations, failed ones included."""
    failures: int = 0
    scores: int = 0
    """Evaluations with a score."""
    score_sum: float = 0.0
    labels: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Failures by reason."""
    calls: int = 0
    """Of a model."""
    tokens: int = 0
    """Of these calls."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """Of these calls, by currency, where the price list has a price."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.count + other.count,
            self.failures + other.failures,
            self.scores + other.scores,
            self.score_sum + other.score_sum,
            Counter(self.labels) + Counter(other.labels),
            Counter(self.reasons) + Counter(other.reasons),
            self.calls + other.calls,
            self.tokens + other.tokens,
            {name: self.costs.get(name, 0.0) + other.costs.get(name, 0.0) for name in {*self.costs, *other.costs}},
        )

    @property
    def mean_score(self) -> float | None:
        """None without a score."""
        return self.score_sum / self.scores if self.scores else None

    def figures(self) -> dict[str, Any]:
        """As a window holds it."""
        mean = self.mean_score
        return {
            "count": self.count,
            "failures": self.failures,
            "scores": self.scores,
            "score_sum": round(self.score_sum, _DIGITS),
            "mean_score": None if mean is None else round(mean, _DIGITS),
            "labels": dict(sorted(self.labels.items())),
            "failure_reasons": dict(sorted(self.reasons.items())),
            "calls": self.calls,
            "tokens": self.tokens,
            "costs": {name: round(cost, _DIGITS) for name, cost in sorted(self.costs.items())},
        }

    @classmethod
    def from_figures(cls, figures: Mapping[str, Any]) -> "Tally":
        """The tally a window holds; the inverse of `figures`. An empty one for empty figures."""
        if not figures:
            return cls()
        plain = {name: figures[name] for name in ("count", "failures", "scores", "score_sum", "labels", "calls", "tokens", "costs")}
        return cls(reasons=figures["failure_reasons"], **plain)


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum."""
    return sum(tallies, Tally())


def value_of(alert: Alert, tally: Tally) -> tuple[float | None, int]:
    """What an alert watches, and over how many evaluations; None without any."""
    if alert.measure == "mean_score":
        return tally.mean_score, tally.scores
    if alert.measure == "failure_share":
        return (tally.failures / tally.count if tally.count else None), tally.count
    labelled = sum(tally.labels.values())
    return (tally.labels.get(alert.label, 0) / labelled if labelled else None), labelled


def judged(alert: Alert, tally: Tally) -> dict[str, Any]:
    """The state of a threshold as a window holds it; `crossed` is null while there are too few evaluations."""
    value, count = value_of(alert, tally)
    return {
        "measure": alert.measure,
        "label": alert.label or None,
        "below": alert.below,
        "above": alert.above,
        "over_minutes": alert.over_minutes,
        "at_least": alert.at_least,
        "count": count,
        "value": None if value is None else round(value, _DIGITS),
        "crossed": alert.crossed(value) if value is not None and count >= alert.at_least else None,
    }
