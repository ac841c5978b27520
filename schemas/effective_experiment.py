"""What is computed for an experiment, whether or not somebody defined it.

The streams compute from the first event on. Defined and undefined experiments go through the same function, so a
definition only replaces guesses by facts:

- variants: those defined; else those seen in the data, with equal weights. Once defined, a variant seen but not
  defined is not part of the experiment.
- control: the variant flagged, else the one named `control`, else the first by name.
- metrics: those the experiment names and the tenant defines. Without names: every metric of the tenant, made for no
  experiment in particular, whose events were seen, and for each event type that no proportion covers a default proportion named like the event type.
"""

import hashlib
from collections.abc import Collection, Iterable

import msgspec

from schemas.definition_kinds import Experiment, Metric, Variant

DEFAULT_METRIC_LIMIT = 50
"""Most metrics computed without being named, so that an event type per user cannot flood the windows."""


class EffectiveExperiment(msgspec.Struct, frozen=True):
    """What the streams compute for one experiment."""

    experiment: Experiment
    metrics: tuple[Metric, ...]
    defined: bool
    """Whether somebody defined the experiment."""


def default_metric(tenant: str, event_type: str) -> Metric:
    """The metric that stands for an event type nobody defined a metric for: the share of units that had one."""
    return Metric(tenant=tenant, id=event_type, event_type=event_type, name=event_type)


def resolve_experiment(
    defined: Experiment | None,
    tenant: str,
    experiment_id: str,
    metrics: Iterable[Metric],
    seen_event_types: Collection[str],
    seen_variants: Collection[str],
) -> EffectiveExperiment:
    """What to compute. `metrics` are all of the tenant; `seen_event_types` are those of outcomes, without exposures.
    Pure, and the same for the same input in any order."""
    experiment = defined or Experiment(tenant=tenant, id=experiment_id, name=experiment_id)
    if not experiment.variants and len(set(seen_variants)) > 1:
        variants = tuple(Variant(name) for name in sorted(set(seen_variants)))
        experiment = msgspec.structs.replace(experiment, variants=variants)
    by_id = {metric.id: metric for metric in metrics}
    if experiment.metrics:
        chosen = tuple(by_id[name] for name in experiment.metrics if name in by_id)
    else:
        chosen = _default_metrics(tenant, by_id, set(seen_event_types))
    return EffectiveExperiment(experiment, chosen, defined is not None)


def _default_metrics(tenant: str, by_id: dict[str, Metric], seen: set[str]) -> tuple[Metric, ...]:
    chosen = {name: metric for name, metric in by_id.items() if metric.event_type in seen and not metric.experiment}
    covered = {metric.event_type for metric in chosen.values() if metric.kind == "proportion"}
    for event_type in sorted(seen - covered - by_id.keys()):
        chosen[event_type] = default_metric(tenant, event_type)
    return tuple(chosen[name] for name in sorted(chosen)[:DEFAULT_METRIC_LIMIT])


def fingerprint(defined: Experiment | None, metrics: Iterable[Metric]) -> str:
    """Stands for all that the figures of an experiment's windows depend on in its definitions: windows computed under equal texts need no
    recomputation. `metrics` are all of the tenant, in any order."""
    named = set(defined.metrics) if defined else set()
    chosen = sorted((metric for metric in metrics if (metric.id in named if named else not metric.experiment)), key=lambda metric: metric.id)
    measured = [msgspec.structs.replace(metric, name="", description="", direction="increase", use="goal", experiment="") for metric in chosen]
    experiment = defined and (
        [(variant.name, variant.weight, variant.control) for variant in defined.variants],
        defined.metrics,
        defined.alpha,
        defined.starts_at,
        defined.ends_at,
        [(guardrail.metric, guardrail.alpha) for guardrail in defined.guardrails],
    )
    return hashlib.sha256(msgspec.json.encode((experiment, measured))).hexdigest()[:32]
