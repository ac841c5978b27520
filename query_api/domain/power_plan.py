"""The planner: how many units and days an experiment needs, in the units of the results."""

from typing import Any

from query_api.domain.change import wrong_field
from schemas.power import plan


def plan_experiment(
    baseline: float,
    mde: float,
    *,
    standard_deviation: float | None,
    alpha: float,
    power: float,
    variants: int,
    daily_units: float | None,
) -> dict[str, Any]:
    """Sizes for a baseline (percent without a standard deviation) and a least relative effect (percent). Raises ValidationFailed."""
    scale = 100.0 if standard_deviation is None else 1.0
    try:
        found = plan(
            baseline / scale,
            mde / 100.0,
            standard_deviation=standard_deviation,
            alpha=alpha,
            power=power,
            variants=variants,
            daily_units=daily_units,
        )
    except ValueError as error:
        raise wrong_field(str(error)) from error
    if not found.reachable:
        raise wrong_field("no experiment is large enough for this effect; ask for a larger one")
    return {
        "type": "proportion" if standard_deviation is None else "mean",
        "difference": found.difference * scale,
        "alpha_per_comparison": found.alpha_per_comparison,
        "fixed_horizon": found.fixed.as_dict(),
        "always_valid": found.anytime.as_dict(),
        "always_valid_factor": found.factor,
    }
