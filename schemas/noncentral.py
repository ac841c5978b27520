"""Which noncentrality a t or F statistic is compatible with: the step from a test statistic to an interval of an effect size.

The limits are those values at which the statistic seen would be the quantile `1 - alpha / 2` and the quantile `alpha / 2` (Steiger, Psychological Methods
2004, "Beyond the F test"; Cumming and Finch, Educational and Psychological Measurement 2001). The distribution functions are integrated here: the ones at
hand take minutes, or lose digits, where statistics are in the thousands, and a request may bring any data. Pure; a few milliseconds a pair of limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from scipy import special

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_REACH: Final = 12.0
"""Standard deviations from the middle of a weight to where it counts for nothing."""
_STEPS: Final = 50
_ALL_WITHIN: Final = 1e10
"""F statistics beyond this vary only by what is within the groups."""


def t_limits(t: float, freedom: float, alpha: float) -> tuple[float, float]:
    """Limits, at level 1 - alpha, of the noncentrality of a t statistic with at least 1 degree of freedom, which need not be whole."""
    width = 5.0 * (1.0 + abs(t) / math.sqrt(2.0 * freedom))

    def limit(quantile: float, towards: float) -> float:
        far = t + towards * width
        while (t_below(t, freedom, far) > quantile) == (towards > 0):
            far = t + 2.0 * (far - t)
        return _crossing(lambda noncentrality: t_below(t, freedom, noncentrality) - quantile, min(t, far) - width, max(t, far) + width)

    return limit(1.0 - alpha / 2.0, -1.0), limit(alpha / 2.0, 1.0)


def f_limits(f: float, between: float, within: float, alpha: float) -> tuple[float, float]:
    """The same for an F statistic with these degrees of freedom; 0 where even no effect would make a value so low likely enough."""
    if f > _ALL_WITHIN:
        return tuple(between * f / within * float(special.chdtri(within, quantile)) for quantile in (1.0 - alpha / 2.0, alpha / 2.0))  # type: ignore[return-value]

    def limit(quantile: float) -> float:
        if f_below(f, between, within, 0.0) <= quantile:
            return 0.0
        far = between * max(f, 1.0)
        while f_below(f, between, within, far) > quantile:
            far *= 2.0
        return _crossing(lambda noncentrality: f_below(f, between, within, noncentrality) - quantile, 0.0, far)

    return limit(1.0 - alpha / 2.0), limit(alpha / 2.0)


def t_below(t: float, freedom: float, noncentrality: float) -> float:
    """The chance that a noncentral t, `(z + noncentrality) / s` with a normal z and a scaled chi s, is at most `t`."""
    if t < 0.0:
        return 1.0 - t_below(-t, freedom, -noncentrality)
    if t * t > 2.0 * freedom:
        # s varies more than z does: integrated over z, the chance that s is large enough has no steep part.
        low = min(max(-_REACH, -noncentrality), _REACH)
        z = low + (_NODES + 1.0) * (_REACH - low) / 2.0
        above = special.chdtrc(freedom, freedom * np.square((z + noncentrality) / t))
        weights = _WEIGHTS * (_REACH - low) / 2.0 * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        return min(1.0, float(special.ndtr(low)) + float(weights @ above))
    reach = _REACH / math.sqrt(2.0 * freedom)
    low = max(0.0, 1.0 - reach)
    s = low + (_NODES + 1.0) * (1.0 + reach - low) / 2.0
    log_density = (freedom - 1.0) * np.log(s) - freedom * (np.square(s) - 1.0) / 2.0
    weights = _WEIGHTS * np.exp(log_density - log_density.max())
    return float(weights @ special.ndtr(t * s - noncentrality)) / float(weights.sum())


def f_below(f: float, between: float, within: float, noncentrality: float) -> float:
    """The chance that a noncentral F is at most `f`: beta distributions weighted by a Poisson one (Johnson, Kotz and Balakrishnan 1995, chapter 30)."""
    mean = noncentrality / 2.0
    reach = _REACH * math.sqrt(mean) + 40.0
    low, high = math.floor(max(0.0, mean - reach)), math.ceil(mean + reach)
    # Of many steps a part is enough, since the weights hardly change from one to the next.
    steps = np.arange(low, high + 1.0) if high - low < 500 else np.linspace(low, high, 500)
    log_weight = special.xlogy(steps, mean) - special.gammaln(steps + 1.0)
    weights = np.exp(log_weight - log_weight.max())
    rest = within / (between * f + within)
    return float(weights @ special.betaincc(within / 2.0, between / 2.0 + steps, rest)) / float(weights.sum())


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function is 0."""
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if falling(middle) > 0.0 else (low, middle)
    return (low + high) / 2.0
