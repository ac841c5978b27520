"""What an event says of its experiment, held against the definitions: does it have that variant, and is it there at all."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import product

from infra.runtime.errors import ValidationFailed
from infra.runtime.settings import IngestSettings
from ingest.events import EventIn
from schemas.definitions import Change, Definitions, Experiment

MAX_SUGGESTIONS = 10
"""Closest ids looked for per request; each look goes over all experiments of the tenant."""
_LONGEST = 64
"""Ids longer than this are not compared with others."""
_FEW = 100
"""Combinations that are judged without looking which of them came."""


class ExperimentCheck:
    """Checks the events of one request against the experiments as they stood when it came; may be used in another thread."""

    def __init__(self, experiments: Mapping[str, Experiment], refuse_unknown: bool) -> None:
        self._experiments = experiments
        self._refuse_unknown = refuse_unknown
        self._suggestions = MAX_SUGGESTIONS

    def passes(self, events: Sequence[EventIn]) -> bool:
        """Whether every event does. Costs two looks at each event: what is judged are the distinct experiments and variants, which are few."""
        if not self._experiments and not self._refuse_unknown:
            return True
        experiments, variants = {event.experiment_id for event in events}, {event.variant for event in events}
        if len(experiments) * len(variants) <= _FEW and not any(self._is_bad(*pair) for pair in product(experiments, variants)):
            return True
        return not any(self._is_bad(*pair) for pair in {(event.experiment_id, event.variant) for event in events})

    def verify(self, event: EventIn) -> None:
        """Raise ValidationFailed, with the field and the fix, when the event does not pass."""
        if not self._is_bad(event.experiment_id, event.variant):
            return
        name = event.experiment_id or ""
        experiment = self._experiments.get(name)
        if experiment is None:
            raise ValidationFailed(self._unknown(name), details={"field": "experiment_id"})
        raise ValidationFailed(_no_variant(experiment, event.variant or ""), details={"field": "variant"})

    def _is_bad(self, experiment_id: str | None, variant: str | None) -> bool:
        if not experiment_id:
            return False
        experiment = self._experiments.get(experiment_id)
        if experiment is None:
            return self._refuse_unknown
        # Without declared variants they are found in the data.
        return bool(variant and experiment.variants) and all(variant != known.name for known in experiment.variants)

    def _unknown(self, experiment_id: str) -> str:
        close: list[str] = []
        if self._suggestions > 0 and len(experiment_id) <= _LONGEST:
            self._suggestions -= 1
            close = get_close_matches(experiment_id, self._experiments, 1)
        hint = f"Did you mean {close[0]!r}?" if close else "Create it first."
        return f"There is no experiment {experiment_id[:_LONGEST]!r}. {hint}"


def _no_variant(experiment: Experiment, variant: str) -> str:
    names = ", ".join(repr(known.name) for known in experiment.variants)
    by_id = next((known.name for known in experiment.variants if known.id == variant), None)
    hint = f" That is the id of the variant {by_id!r}; send its name." if by_id else ""
    return f"Experiment {experiment.id!r} has no variant {variant[:_LONGEST]!r}; it has {names}.{hint}"


class ExperimentChecks:
    """Makes the check of each request; keeps the experiments of every tenant that sends until one of them changes."""

    def __init__(self, definitions: Definitions, settings: IngestSettings) -> None:
        self._definitions = definitions
        self._refuse_unknown = settings.unknown_experiments == "refuse"
        self._known: dict[str, dict[str, Experiment]] = {}
        definitions.on_change(self._forget)

    def of(self, tenant: str) -> ExperimentCheck:
        """A check for one request of the tenant."""
        known = self._known.get(tenant)
        if known is None:
            known = self._known[tenant] = {experiment.id: experiment for experiment in self._definitions.experiments(tenant)}
        return ExperimentCheck(known, self._refuse_unknown)

    def _forget(self, change: Change) -> None:
        if change.kind == "experiment":
            self._known.pop(change.tenant, None)
