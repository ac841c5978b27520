"""What experiments look like in requests."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from query_api.domain.experiment_edits import Fields
from query_api.surfaces.bodies import Body, Instant, Name, Percent
from query_api.surfaces.experimentation.flags import Condition
from schemas.definition_kinds import Correction, Direction, GuardrailAction, MetricKind, MetricUse
from schemas.targeting import Rule

Status = Literal["DRAFT", "ACTIVE", "PAUSED", "COMPLETED", "ARCHIVED"]
Text = Annotated[str, StringConstraints(max_length=10_000)]
OptionalName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,200}$")]
Rate = Annotated[float, Field(gt=0, lt=1)]

_READ_ONLY = ("id", "created_at", "updated_at", "rolled_back", "trips")


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


class VariantBody(Body):
    """One arm."""

    id: Name | None = Field(None, description="Of a variant the experiment has, to rename it while it is a draft. Ignored for a new experiment.")
    name: Name = Field(description="Unique within the experiment.", examples=["treatment"])
    description: Text = Field("", examples=["New homepage design"])
    allocation: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="Percent of the units; all together 100. Left out everywhere: equal shares.", examples=[50]
    )
    is_control: bool = Field(False, description="Whether the others are compared with it. Without a flag: the variant named `control`, else the first.")


class TargetingBody(Body):
    """Who may take part: conditions joined by an operator. No rules: everybody."""

    rules: list[Condition] = Field([], max_length=200)
    operator: Literal["and", "or"] = "and"

    def rule(self) -> Rule | None:
        """As it is stored; None for everybody."""
        return Rule(operator=self.operator, rules=tuple(_rule(each) for each in self.rules)) if self.rules else None


class GuardrailBody(Body):
    """What happens when the metric gets worse, decided by the always-valid test at every refresh."""

    action: GuardrailAction = Field("notify", description="Tell the webhooks, or also pause the experiment, or also roll it back to control.")
    threshold: float = Field(0.0, ge=0, description="Relative worsening that is tolerated: 0.02 is two percent.")
    alpha: Rate = Field(0.05, description="Chance that a harmless experiment trips, over its whole life.")


class MetricBody(Body):
    """What is measured per unit, from its events after the first exposure. A metric the experiment has already, told by `id` or else by `name`, keeps what is left out."""

    id: Name | None = Field(None, description="Of a metric that exists already; left out to define a new one.", examples=["met_8c1f0a9be2d34757"])
    name: Name | None = Field(None, description="Unique within the experiment; a new metric needs it.", examples=["conversion_rate"])
    description: Text = Field("", examples=["Percentage of users who complete a purchase"])
    event_name: Name | None = Field(None, description="`event_type` of the events; a new metric needs it.", examples=["purchase_completed"])
    type: MetricKind = Field(
        "proportion",
        description="Per unit: whether there was an event (`proportion`), their number (`count`), the sum of a value (`mean`), a quantile of that sum over "
        "units (`quantile`), or the sum over units of one value by that of another (`ratio`).",
    )
    value_path: OptionalName = Field("value", description="Key in the event's `metadata` of the value, for mean, ratio and quantile; empty counts events.")
    denominator_event_name: OptionalName = Field("", description="Ratio only.")
    denominator_value_path: OptionalName = Field("", description="The same key for the denominator; empty counts events.")
    quantile: Rate = Field(0.5, description="Quantile only: which one.")
    skip_missing: bool = Field(False, description="Quantile only: leave units without the event out instead of counting them as 0.")
    window_s: int = Field(0, ge=0, le=2**31, description="Seconds after the first exposure in which events count; 0 is for ever.")
    winsorize: float = Field(1.0, gt=0.5, le=1, description="Values per unit above this quantile of all units are set to it; 1 leaves them alone.")
    direction: Direction = Field("increase", description="Which way is better.")
    use: MetricUse = Field("goal", description="`guardrail` when a `guardrail` is given.")
    covariate_days: int = Field(0, ge=0, le=365, description="Days before the first exposure whose events reduce the variance (CUPED); 0 is off.")
    guardrail: GuardrailBody | None = Field(None, description="null takes it away.")


class ExperimentChanges(Body):
    """The fields to change; the others stay. `variants` and `metrics` replace the whole list. Fields that only answers have (`id`, `created_at`,
    `updated_at`, `rolled_back`, `trips`) may be sent back and are ignored."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Name = Field("", examples=["Homepage Redesign Test"])
    description: Text = Field("", examples=["Testing the new homepage design"])
    hypothesis: Text = Field("", examples=["The new homepage design will increase conversion rates"])
    status: Status = Field("DRAFT", description="Another status is the transition that leads there in one step, else 409.")
    start_date: Instant | None = Field(None, description="Events before it do not count; starting sets it.")
    end_date: Instant | None = Field(
        None, description="Events from it on do not count, and an active experiment is completed a second later at most; stopping sets it."
    )
    variants: list[VariantBody] = Field([], max_length=100)
    targeting: TargetingBody | None = Field(None, description="null is everybody.")
    metrics: list[MetricBody] = Field([], max_length=100)
    traffic: Percent = Field(100.0, description="Percent of the targeted units that take part; raising it moves no unit that takes part already.")
    seed: OptionalName = Field("", description="What units are hashed with; empty is the experiment's id.")
    group: OptionalName = Field("", description="Exclusion group that it shares units with; a slot once taken is kept.")
    group_share: Annotated[float, Field(gt=0, le=100)] | None = Field(None, description="Percent of the group's units; needed with `group`.")
    overrides: dict[Name, Name] = Field(
        {}, description="Variant by unit, for testers; they are not counted.", max_length=1_000, examples=[{"user_1": "treatment"}]
    )
    correction: Correction = Field("none", description="How p-values are corrected over several metrics and variants.")
    alpha: Rate = Field(0.05, description="Error rate that intervals and significance keep.")
    id: Name = Field("", description="Ignored.")
    created_at: Instant | None = Field(None, description="Ignored.")
    updated_at: Instant | None = Field(None, description="Ignored.")
    rolled_back: bool = Field(False, description="Ignored; see `rollback` and `restore`.")
    trips: list[dict[str, Any]] = Field([], description="Ignored.", max_length=100)

    def fields(self) -> Fields:
        """By the names of `query_api.domain.experiment_edits`."""
        given = {name: value for name, value in self.given().items() if name not in _READ_ONLY}
        for outside, inside in (("start_date", "starts_at"), ("end_date", "ends_at")):
            if outside in given:
                given[inside] = given.pop(outside)
        if "status" in given:
            given["status"] = given["status"].lower()
        if "targeting" in given:
            given["targeting"] = self.targeting.rule() if self.targeting else None
        if given.get("group_share", 0) is None:
            del given["group_share"]
        given |= {name: [_inside(each) for each in given[name]] for name in ("variants", "metrics") if name in given}
        return given


class NewExperiment(ExperimentChanges):
    """An experiment to create."""

    model_config = ConfigDict(json_schema_extra=lambda schema: None)

    name: Name = Field(examples=["Homepage Redesign Test"])
    status: Literal["DRAFT", "ACTIVE"] = Field("DRAFT", description="ACTIVE starts it at once; a `start_date` in the past is kept then.")


_INSIDE = {
    "allocation": "weight",
    "is_control": "control",
    "event_name": "event_type",
    "denominator_event_name": "denominator_event_type",
}


def _inside(item: dict[str, Any]) -> dict[str, Any]:
    """A variant or metric by the names inside; null says nothing, except of a guardrail."""
    return {_INSIDE.get(name, name): value for name, value in item.items() if value is not None or name == "guardrail"}


def _rule(condition: Condition) -> Rule:
    return Rule(condition.operator, condition.attribute, condition.value, tuple(_rule(part) for part in condition.rules))
