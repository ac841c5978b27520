"""`feature-flags`: the definitions of flags. What a flag answers for a unit is served by ingest; see `doors`."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts
from query_api.domain.flags import create_flag, delete_flag, get_flag, list_flags, toggle_flag, update_flag
from query_api.errors import error_responses
from query_api.surfaces.bodies import NAME_FORM, Body, Name, Percent
from query_api.surfaces.experimentation.answers import READ_ERRORS, WRITE_ERRORS, Nothing, PageLimit, PageMeta, PageNumber, instant, numbered, on_page, one
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from schemas.flag import KEY_FORM, Flag, FlagRule
from schemas.targeting import Operator

router = APIRouter(tags=["feature flags"])

FlagId = Annotated[str, Path(pattern=NAME_FORM, description="Id of the flag.", examples=["flag_8c1f0a9be2d34757"])]
VariationKey = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,200}$")]


class Condition(Body):
    """A condition on one attribute, or, with the operator `and` or `or`, several."""

    operator: Operator = Field(description="How the attribute is compared; `and` and `or` join `rules`.", examples=["equals"])
    attribute: str = Field("", max_length=200, description="Attribute of the context; a dot goes into nested objects.", examples=["country"])
    value: Any = Field(None, description="What it is compared with; a list for `in` and `not_in`.", examples=["US"])
    rules: list["Condition"] = Field([], description="Parts of an `and` or `or`.")


class Rule(Condition):
    """Who gets which variation; the first rule that matches decides."""

    id: Name | None = Field(None, description="Of a rule the flag has already: it keeps its units. Left out, a rule that says the same keeps its id.")
    rollout_percentage: Percent = Field(100, description="Share of the matching units that get the variation; the others get the off variation.")
    variation: VariationKey = Field("", description="Key of the variation; empty means the first.")


class DefaultRule(Body):
    """What holds for units that no rule matches."""

    rollout_percentage: Percent = Field(0, description="Share of these units that get the variation; the others get the off variation.")
    variation: VariationKey = Field("", description="Key of the variation; empty means the first.")


class Variation(Body):
    """A value the flag can take."""

    id: Name | None = Field(None, description="Ignored: a variation keeps its id by its key.")
    key: Name = Field(examples=["on"])
    value: Any = Field(description="Any JSON value; those of one flag are of one type.", examples=[True])


class FlagChanges(Body):
    """The fields to change; the others stay."""

    key: str = Field("", pattern=f"^{KEY_FORM}$", description="What clients ask for; cannot change once the flag exists.", examples=["new_checkout_flow"])
    name: str = Field("", max_length=200, description="For people; the key when left out.", examples=["New Checkout Flow"])
    description: str = Field("", max_length=10_000, examples=["Enable the new checkout flow"])
    enabled: bool = Field(False, description="A disabled flag answers its off variation to everybody.")
    rules: list[Rule] = Field([], max_length=200)
    default_rule: DefaultRule = DefaultRule()
    variations: list[Variation] = Field([], min_length=2, max_length=100, description="The first is on, the last is off; left out: `on`/true and `off`/false.")
    experiment_id: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,200}$")] | None = Field(
        None, description="Experiment whose assignment decides for units that no rule matches; its variants are the keys of variations."
    )
    id: str | None = Field(None, description="Ignored, so that what was read can be sent back.")
    created_at: str | None = Field(None, description="Ignored.")
    updated_at: str | None = Field(None, description="Ignored.")


class NewFlag(FlagChanges):
    """A flag to create."""

    key: str = Field(pattern=f"^{KEY_FORM}$", description="What clients ask for; one flag of the tenant has it.", examples=["new_checkout_flow"])


class Toggle(Body):
    """Whether the flag is enabled from now on."""

    enabled: bool


class FlagSummary(BaseModel):
    """A flag in a list."""

    id: str = Field(examples=["flag_8c1f0a9be2d34757"])
    key: str = Field(examples=["new_checkout_flow"])
    name: str
    description: str
    enabled: bool
    created_at: datetime | None
    updated_at: datetime | None


class RuleModel(BaseModel):
    """A rule as stored; `rules` instead of `attribute` and `value` when it joins several conditions."""

    id: str
    operator: Operator
    attribute: str | None = None
    value: Any = None
    rules: list[dict[str, Any]] | None = None
    rollout_percentage: float
    variation: str | None = Field(None, description="Left out when it is the first.")


class DefaultRuleModel(BaseModel):
    """What holds for units that no rule matches."""

    rollout_percentage: float
    variation: str | None = Field(None, description="Left out when it is the first.")


class VariationModel(BaseModel):
    """A value the flag can take."""

    id: str
    key: str
    value: Any


class FlagModel(FlagSummary):
    """A flag."""

    rules: list[RuleModel]
    default_rule: DefaultRuleModel
    variations: list[VariationModel]
    experiment_id: str | None


class FlagAnswer(BaseModel):
    """One flag."""

    data: FlagModel
    meta: Nothing


class FlagPage(BaseModel):
    """A page of flags."""

    data: list[FlagSummary]
    meta: PageMeta


class Toggled(BaseModel):
    """The flag after toggling."""

    id: str
    key: str
    enabled: bool
    updated_at: datetime


class ToggledAnswer(BaseModel):
    """The flag after toggling."""

    data: Toggled
    meta: Nothing


class Deleted(BaseModel):
    """What is gone."""

    id: str
    deleted: Literal[True]


class DeletedAnswer(BaseModel):
    """What is gone."""

    data: Deleted
    meta: Nothing


@router.get(
    "/feature-flags",
    response_model=FlagPage,
    operation_id="list_feature_flags",
    summary="List feature flags",
    responses=error_responses(EXPERIMENTATION, *READ_ERRORS),
)
async def list_(
    parts: SharedParts,
    caller: Annotated[Caller, Allowed("flags:read")],
    enabled: Annotated[bool | None, Query(description="Only flags that are enabled, or only those that are not.")] = None,
    page: PageNumber = 1,
    limit: PageLimit = EXPERIMENTATION.paging.default,
) -> Response:
    """Newest first, without rules and variations."""
    flags = await list_flags(parts.stored, caller.tenant, enabled)
    return numbered([_summary(flag) for flag in on_page(flags, page, limit)], len(flags), page, limit)


@router.get(
    "/feature-flags/{flag_id}",
    response_model=FlagAnswer,
    operation_id="get_feature_flag",
    summary="Get a feature flag",
    responses=error_responses(EXPERIMENTATION, *READ_ERRORS, "not_found"),
)
async def get(parts: SharedParts, caller: Annotated[Caller, Allowed("flags:read")], flag_id: FlagId) -> Response:
    """With rules, variations and default rule."""
    return one(_full(await get_flag(parts.stored, caller.tenant, flag_id)))


@router.post(
    "/feature-flags",
    response_model=FlagAnswer,
    status_code=201,
    operation_id="create_feature_flag",
    summary="Create a feature flag",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def create(parts: SharedParts, caller: Annotated[Caller, Allowed("flags:write")], body: NewFlag) -> Response:
    """The key must be free in the tenant, else 409. Evaluation follows within two seconds, here and for every other change."""
    return one(_full(await create_flag(parts, caller, body.given())), status=201)


@router.put(
    "/feature-flags/{flag_id}",
    response_model=FlagAnswer,
    operation_id="update_feature_flag",
    summary="Update a feature flag",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def update(parts: SharedParts, caller: Annotated[Caller, Allowed("flags:write")], flag_id: FlagId, body: FlagChanges) -> Response:
    """Fields that are left out stay as they are; a list that is given replaces the whole list. The key cannot change (409)."""
    return one(_full(await update_flag(parts, caller, flag_id, body.given())))


@router.patch(
    "/feature-flags/{flag_id}/toggle",
    response_model=ToggledAnswer,
    operation_id="toggle_feature_flag",
    summary="Enable or disable a feature flag",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def toggle(parts: SharedParts, caller: Annotated[Caller, Allowed("flags:write")], flag_id: FlagId, body: Toggle) -> Response:
    """Sets `enabled` to the value given; asking again changes nothing."""
    flag = await toggle_flag(parts, caller, flag_id, body.enabled)
    return one({"id": flag.id, "key": flag.key, "enabled": flag.enabled, "updated_at": instant(flag.updated_at)})


@router.delete(
    "/feature-flags/{flag_id}",
    response_model=DeletedAnswer,
    operation_id="delete_feature_flag",
    summary="Delete a feature flag",
    responses=error_responses(EXPERIMENTATION, *WRITE_ERRORS),
)
async def delete(parts: SharedParts, caller: Annotated[Caller, Allowed("flags:write")], flag_id: FlagId) -> Response:
    """Clients that ask for it get a 404 and use their own default. The key may be given to a new flag."""
    await delete_flag(parts, caller, flag_id)
    return one({"id": flag_id, "deleted": True})


def _summary(flag: Flag) -> dict[str, Any]:
    return {
        "id": flag.id,
        "key": flag.key,
        "name": flag.name,
        "description": flag.description,
        "enabled": flag.enabled,
        "created_at": instant(flag.created_at),
        "updated_at": instant(flag.updated_at),
    }


def _full(flag: Flag) -> dict[str, Any]:
    return _summary(flag) | {
        "rules": [_rule(rule) for rule in flag.rules],
        "default_rule": _share(flag.default_rule.rollout_percentage, flag.default_rule.variation),
        "variations": [{"id": variation.id, "key": variation.key, "value": variation.value} for variation in flag.variations],
        "experiment_id": flag.experiment or None,
    }


def _rule(rule: FlagRule) -> dict[str, Any]:
    joined = rule.rule.operator in ("and", "or")
    condition = {"rules": [_condition(part) for part in rule.rule.rules]} if joined else {"attribute": rule.rule.attribute, "value": rule.rule.value}
    return {"id": rule.id, "operator": rule.rule.operator, **condition, **_share(rule.rollout_percentage, rule.variation)}


def _condition(rule: Any) -> dict[str, Any]:
    if rule.operator in ("and", "or"):
        return {"operator": rule.operator, "rules": [_condition(part) for part in rule.rules]}
    return {"attribute": rule.attribute, "operator": rule.operator, "value": rule.value}


def _share(percentage: float, variation: str) -> dict[str, Any]:
    share = {"rollout_percentage": int(percentage) if percentage == int(percentage) else percentage}
    return share | ({"variation": variation} if variation else {})
