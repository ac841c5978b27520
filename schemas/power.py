"""How many units, and so how many days, an experiment needs to find an effect.

The fixed-horizon size is that of a two-sided test of two means looked at once (Cohen 1988, "Statistical Power Analysis for the
Behavioral Sciences", 2nd edition, in the form with unequal variances): `n = (z_alpha + z_power)^2 * (v_c + v_t) / difference^2`
units per arm. The always-valid size solves the same question for the boundary of `schemas.confidence_sequence`, which is wider
and changes with n: the least n at which `difference / se(n)` is `z_power` above the boundary. It is the size by which the effect
is found at the latest with that chance; reading at every look only finds it earlier. Against control there are `variants - 1` comparisons; each is planned at
`alpha / (variants - 1)` (Bonferroni), so that all together keep alpha. Pure and non-blocking.
"""

import math
from dataclasses import asdict, dataclass
from typing import Final

from scipy import special

from schemas.confidence_sequence import MIN_UNITS, TUNED_UNITS, boundary, two_arms

MAX_UNITS: Final = 1e15
"""Units per arm beyond which an effect is said to be out of reach."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes for one way of reading the result."""

    units_per_variant: int
    units: int
    days: int | None
    """Whole days until that many units came; None without a daily number."""

    def as_dict(self) -> dict[str, object]:
        """Every field, as values JSON can carry."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Power:
    """What an experiment needs, by how its result will be read."""

    difference: float
    """The absolute difference to be found, in the metric's unit."""
    alpha_per_comparison: float
    fixed: Plan
    anytime: Plan

    @property
    def factor(self) -> float:
        """How many times the fixed-horizon size the always-valid one is at most."""
        return self.anytime.units_per_variant / self.fixed.units_per_variant

    @property
    def reachable(self) -> bool:
        """Whether both sizes are below `MAX_UNITS`."""
        return max(self.fixed.units_per_variant, self.anytime.units_per_variant) < MAX_UNITS


def plan(
    baseline: float,
    relative_effect: float,
    *,
    standard_deviation: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
    variants: int = 2,
    daily_units: float | None = None,
    tuned_units: int = TUNED_UNITS,
) -> Power:
    """Plan for a baseline value and a relative effect (0.1 is +10 %).

    Without a standard deviation the metric is a proportion: the baseline must lie in (0, 1) and the effect must leave it there.
    Raises ValueError, with the fix in it, for anything that no experiment can be planned from.
    """
    if not 0.0 < alpha < 1.0 or not 0.0 < power < 1.0:
        raise ValueError("alpha and power must lie between 0 and 1")
    if power <= alpha / 2.0:
        raise ValueError("power must be above half of alpha; less than chance needs no units")
    if variants < 2:
        raise ValueError("variants: at least 2, control included")
    if not all(map(math.isfinite, (baseline, relative_effect))) or relative_effect == 0.0 or baseline == 0.0:
        raise ValueError("baseline and effect must be numbers other than 0")
    if daily_units is not None and not daily_units >= 1.0:
        raise ValueError("daily_units: at least 1")
    treated = baseline * (1.0 + relative_effect)
    if treated == baseline:
        raise ValueError("the effect is too small to be told from none; give a larger one")
    variances = _variances(baseline, treated, standard_deviation)
    level = alpha / (variants - 1)
    size = _fixed(treated - baseline, variances, level, power)
    found = _anytime(treated - baseline, variances, level, power, tuned_units)
    return Power(treated - baseline, level, _plan(size, variants, daily_units), _plan(max(found, size), variants, daily_units))


def _variances(baseline: float, treated: float, standard_deviation: float | None) -> tuple[float, float]:
    if standard_deviation is not None:
        if not 1e-100 < standard_deviation < 1e100:
            raise ValueError("standard_deviation must be above 0 and a usual number")
        return standard_deviation**2, standard_deviation**2
    if not 0.0 < baseline < 1.0:
        raise ValueError("the baseline of a proportion must lie between 0 % and 100 %; give standard_deviation for a mean")
    if not 0.0 < treated < 1.0:
        raise ValueError("the effect would take the proportion out of 0 % to 100 %; give a smaller one")
    return baseline * (1.0 - baseline), treated * (1.0 - treated)


def _fixed(difference: float, variances: tuple[float, float], alpha: float, power: float) -> float:
    z = float(special.ndtri(power)) - float(special.ndtri(alpha / 2.0))
    return max(2.0, (z / difference) * (z / difference) * sum(variances))


def _anytime(difference: float, variances: tuple[float, float], alpha: float, power: float, tuned_units: int) -> float:
    """Units per arm; the signal grows with the root of n and the boundary with that of log n, so there is one crossing."""
    z_power = float(special.ndtri(power))

    def enough(units: float) -> bool:
        signal = abs(difference) / math.sqrt(sum(variances) / units)
        return signal - float(boundary(two_arms(units, units), alpha, tuned_units / 2.0)) >= z_power

    low, high = float(MIN_UNITS), float(MIN_UNITS)
    while not enough(high):
        low, high = high, high * 2.0
        if high > MAX_UNITS:
            return MAX_UNITS
    while high - low > 0.5:
        middle = (low + high) / 2.0
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _plan(size: float, variants: int, daily_units: float | None) -> Plan:
    units = math.ceil(min(size, MAX_UNITS))
    days = None if daily_units is None else math.ceil(units * variants / daily_units)
    return Plan(units, units * variants, days)
