"""`power`: how many units and days an experiment needs."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed
from query_api.domain.power_plan import plan_experiment
from query_api.errors import error_responses
from query_api.surfaces.experimentation.answers import READ_ERRORS, Nothing, one
from query_api.surfaces.experimentation.policy import EXPERIMENTATION

router = APIRouter(tags=["results"])


class Size(BaseModel):
    """What one way of reading needs."""

    units_per_variant: int
    units: int = Field(description="Of all variants together.")
    days: int | None = Field(description="Until that many came; null without `daily_units`.")


class Plan(BaseModel):
    """What an experiment needs."""

    type: Literal["proportion", "mean"]
    difference: float = Field(description="The absolute effect to be found; of a proportion in percentage points.")
    alpha_per_comparison: float = Field(description="alpha / (variants - 1), so that all comparisons together keep alpha.")
    fixed_horizon: Size = Field(description="For one look at this size.")
    always_valid: Size = Field(description="For looking at any time: the effect is found at the latest here with that chance, and often much earlier.")
    always_valid_factor: float = Field(description="The second by the first.")


class PlanAnswer(BaseModel):
    """A plan."""

    data: Plan
    meta: Nothing


_EXAMPLE: Final[dict[str, Any]] = {
    "data": {
        "type": "proportion",
        "difference": 0.32,
        "alpha_per_comparison": 0.05,
        "fixed_horizon": {"units_per_variant": 49774, "units": 99548, "days": 10},
        "always_valid": {"units_per_variant": 111802, "units": 223604, "days": 23},
        "always_valid_factor": 2.246,
    },
    "meta": {},
}


@router.get(
    "/power",
    response_model=PlanAnswer,
    operation_id="plan_experiment",
    summary="Plan the size and duration of an experiment",
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}, **error_responses(EXPERIMENTATION, *READ_ERRORS)},
)
async def power(
    _: Annotated[Caller, Allowed("results:read")],
    baseline: Annotated[
        float, Query(allow_inf_nan=False, description="Value of control: percent for a proportion, as results show it; else the mean.", examples=[3.2])
    ],
    mde: Annotated[
        float, Query(allow_inf_nan=False, description="Least effect worth finding, percent of the baseline; negative for a decrease.", examples=[10])
    ],
    standard_deviation: Annotated[
        float | None, Query(gt=0, allow_inf_nan=False, description="Of one unit's value; makes the metric a mean. Left out: a proportion.")
    ] = None,
    alpha: Annotated[float, Query(gt=0, lt=1, description="Error rate.")] = 0.05,
    power: Annotated[float, Query(gt=0, lt=1, description="Chance to find the effect if it is there.")] = 0.8,
    variants: Annotated[int, Query(ge=2, le=100, description="Control included; equal allocations.")] = 2,
    daily_units: Annotated[float | None, Query(ge=1, allow_inf_nan=False, description="Units that enter the experiment a day.", examples=[10_000])] = None,
) -> Response:
    """Two sizes: for the textbook test, looked at once, and for the always-valid test that results use. Methods: `infra/docs/statistics.md`."""
    found = plan_experiment(baseline, mde, standard_deviation=standard_deviation, alpha=alpha, power=power, variants=variants, daily_units=daily_units)
    return one(found)
