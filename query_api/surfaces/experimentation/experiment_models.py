"""What experiments look like in answers."""

from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel, Field

from query_api.domain.experiment_edits import allocations
from query_api.domain.experiments import Detailed
from query_api.domain.stored import Stored, creation
from query_api.surfaces.experimentation.answers import Nothing, PageMeta, instant
from query_api.surfaces.experimentation.experiment_bodies import Status
from schemas.definition_kinds import Correction, Direction, Experiment, Guardrail, GuardrailAction, Metric, MetricKind, MetricUse, Trip
from schemas.targeting import Operator, Rule


class VariantModel(BaseModel):
    """One arm."""

    id: str = Field(examples=["var_51c09d37a2be48f6"])
    name: str
    description: str
    allocation: float = Field(description="Percent of the units.")
    is_control: bool


class ConditionModel(BaseModel):
    """A condition on one attribute; with `rules` in place of attribute and value when it joins several."""

    attribute: str | None = None
    operator: Operator
    value: Any = None
    rules: list[dict[str, Any]] | None = None


class TargetingModel(BaseModel):
    """Who may take part; no rules: everybody."""

    rules: list[ConditionModel]
    operator: str


class GuardrailModel(BaseModel):
    """What happens when the metric gets worse."""

    action: GuardrailAction
    threshold: float
    alpha: float


class TripModel(GuardrailModel):
    """A guardrail that tripped: what it was set to then, and for whom it acted. The audit log has the evidence."""

    metric_id: str = Field(examples=["met_8c1f0a9be2d34757"])
    variant: str = Field(description="The variant that was worse than control; of several, the one least likely to be chance.")
    at: datetime


class MetricModel(BaseModel):
    """What is measured."""

    id: str = Field(examples=["met_8c1f0a9be2d34757"])
    name: str
    description: str
    event_name: str
    type: MetricKind
    value_path: str
    denominator_event_name: str
    denominator_value_path: str
    quantile: float
    skip_missing: bool
    window_s: int
    winsorize: float
    direction: Direction
    use: MetricUse
    covariate_days: int
    guardrail: GuardrailModel | None


class ExperimentSummary(BaseModel):
    """An experiment in a list."""

    id: str = Field(examples=["exp_8c1f0a9be2d34757"])
    name: str
    description: str
    hypothesis: str
    status: Status
    created_at: datetime | None
    updated_at: datetime | None
    start_date: datetime | None
    end_date: datetime | None
    variants: list[VariantModel]


class ExperimentModel(ExperimentSummary):
    """An experiment."""

    targeting: TargetingModel
    metrics: list[MetricModel]
    traffic: float
    seed: str
    group: str
    group_share: float | None
    overrides: dict[str, str]
    correction: Correction
    alpha: float
    rolled_back: bool = Field(description="Whether every evaluation answers the control.")
    trips: list[TripModel] = Field(description="Guardrails that tripped, each with its latest trip, oldest first.")


class ExperimentAnswer(BaseModel):
    """One experiment."""

    data: ExperimentModel
    meta: Nothing


class ExperimentPage(BaseModel):
    """A page of experiments."""

    data: list[ExperimentSummary]
    meta: PageMeta


class Changed(BaseModel):
    """What a transition changed."""

    id: str
    status: Status
    updated_at: datetime


class Started(Changed):
    """An experiment that runs."""

    start_date: datetime


class Stopped(Changed):
    """An experiment that is over."""

    end_date: datetime


class RolledBack(Changed):
    """An experiment after a roll-back or its undoing."""

    rolled_back: bool


class ChangedAnswer(BaseModel):
    """The changed fields."""

    data: Changed
    meta: Nothing


class StartedAnswer(BaseModel):
    """The changed fields."""

    data: Started
    meta: Nothing


class StoppedAnswer(BaseModel):
    """The changed fields."""

    data: Stopped
    meta: Nothing


class RolledBackAnswer(BaseModel):
    """The changed fields."""

    data: RolledBack
    meta: Nothing


def summary(stored: Stored[Experiment]) -> dict[str, Any]:
    """For `ExperimentSummary`. Times of one defined without them are those of its last change."""
    experiment = stored.definition
    return {
        "id": experiment.id,
        "name": experiment.name or experiment.id,
        "description": experiment.description,
        "hypothesis": experiment.hypothesis,
        "status": experiment.status.upper(),
        "created_at": instant(creation(stored)),
        "updated_at": instant(experiment.updated_at or stored.changed_at),
        "start_date": instant(experiment.starts_at),
        "end_date": instant(experiment.ends_at),
        "variants": [
            {
                "id": variant.id or variant.name,
                "name": variant.name,
                "description": variant.description,
                "allocation": number(share),
                "is_control": variant.name == experiment.control,
            }
            for variant, share in zip(experiment.variants, allocations(experiment.variants), strict=True)
        ],
    }


def full(detailed: Detailed) -> dict[str, Any]:
    """For `ExperimentModel`."""
    experiment = detailed.experiment
    guardrails = {guardrail.metric: guardrail for guardrail in experiment.guardrails}
    return summary(detailed.stored) | {
        "targeting": _targeting(experiment.targeting),
        "metrics": [_metric(metric, guardrails.get(metric.id)) for metric in detailed.metrics],
        "traffic": number(experiment.traffic),
        "seed": experiment.seed,
        "group": experiment.group,
        "group_share": None if detailed.group_share is None else number(detailed.group_share),
        "overrides": experiment.overrides,
        "correction": experiment.correction,
        "alpha": experiment.alpha,
        "rolled_back": experiment.rolled_back,
        "trips": [_trip(trip) for trip in sorted(experiment.trips, key=lambda trip: trip.at)],
    }


def changed(detailed: Detailed, *fields: str) -> dict[str, Any]:
    """For `Changed`, and beyond it the named fields."""
    everything = full(detailed)
    return {name: everything[name] for name in ("id", "status", "updated_at", *fields)}


def number(value: float) -> float | int:
    """A whole number without a fraction, as people write percentages."""
    return int(value) if value == int(value) else value


def _targeting(rule: Rule | None) -> dict[str, Any]:
    if rule is None:
        return {"rules": [], "operator": "and"}
    if rule.operator not in ("and", "or"):
        return {"rules": [_condition(rule)], "operator": "and"}
    return {"rules": [_condition(part) for part in rule.rules], "operator": rule.operator}


def _condition(rule: Rule) -> dict[str, Any]:
    if rule.operator in ("and", "or"):
        return {"operator": rule.operator, "rules": [_condition(part) for part in rule.rules]}
    return {"attribute": rule.attribute, "operator": rule.operator, "value": rule.value}


def _metric(metric: Metric, guardrail: Guardrail | None) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(metric)
    for inside, outside in (("event_type", "event_name"), ("denominator_event_type", "denominator_event_name")):
        values[outside] = values.pop(inside)
    values["name"] = metric.name or metric.id
    values["guardrail"] = None if guardrail is None else _guardrail(guardrail)
    return {name: values[name] for name in MetricModel.model_fields}


def _guardrail(guardrail: Guardrail) -> dict[str, Any]:
    return {"action": guardrail.action, "threshold": guardrail.threshold, "alpha": guardrail.alpha}


def _trip(trip: Trip) -> dict[str, Any]:
    return {**_guardrail(trip.guardrail), "metric_id": trip.guardrail.metric, "variant": trip.variant, "at": instant(trip.at)}
