"""What experiments show, kept while it follows from the same things: most reads come between two changes and would work it out again."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from query_api.domain.result_figures import MetricFigures
from schemas.definition_kinds import Experiment

MAX_KEPT: Final = 200
"""Results that are kept, those with Bayesian figures apart; the ones read longest ago go first."""


@dataclass(frozen=True)
class Source:
    """What the results of an experiment follow from, beside the definitions of its metrics."""

    experiment: Experiment
    """As it is stored, with its tenant."""
    compared: str
    """Items of the significance window, as stored."""
    assigned: str
    """Items of the assignments window, as stored."""
    bayesian: bool

    @property
    def place(self) -> tuple[str, str, bool]:
        """Which source this one replaces."""
        return (self.experiment.tenant, self.experiment.id, self.bayesian)


@dataclass(frozen=True)
class Shown:
    """Results without anything that changes by itself, such as their age."""

    source: Source
    experiment: Experiment
    """With the variants seen when nobody defined any."""
    metrics: Sequence[MetricFigures]
    answer: Mapping[str, Any]
    """Nobody changes it."""


class ShownResults:
    """The results that were read last. Belongs to one event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, bool], Shown] = OrderedDict()

    def get(self, source: Source) -> Shown | None:
        """What was worked out from an equal source; whether the metrics are still the same is for the caller to see."""
        kept = self._kept.get(source.place)
        if kept is None or kept.source != source:
            return None
        self._kept.move_to_end(source.place)
        return kept

    def keep(self, shown: Shown) -> None:
        """Instead of what was kept of the same experiment."""
        self._kept[shown.source.place] = shown
        self._kept.move_to_end(shown.source.place)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
