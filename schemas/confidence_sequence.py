"""The normal-mixture confidence sequence: an interval and a p-value that stay honest however often one looks.

An estimate whose standard error is `se` after effective size `n` is compared with Robbins' normal mixture

    e-value  = (1 + h)^(-1/2) * exp(z^2 / 2 * h / (1 + h)),        z = estimate / se,  h = n / n_tuned * h*
    p-value  = min(1, 1 / e-value)
    interval = estimate +- se * sqrt((1 + 1 / h) * log((1 + h) / alpha^2))

With a variance estimated from the data this is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy
and Ramdas (Annals of Statistics 2024, "Time-uniform central limit theory and asymptotic confidence sequences"), the same
boundary as the mixture SPRT of Johari et al. and GAVI of Lindon et al. The chance that the interval ever leaves out the
truth, or the p-value ever falls to alpha without an effect, is at most alpha over all looks together; the caller keeps no
state and may stop whenever it likes. Smallest p-value so far and intersection of intervals so far are valid too.

The mixture must be fixed before the data, so it is tuned to a declared size: `h*` is the `h` at which the interval is
narrowest, the solution of `h = log((1 + h) / alpha^2)`, that is `h* = -W_{-1}(-alpha^2 / e) - 1`. It is always taken at
`TUNED_ALPHA`, so that one data set has one p-value whatever level it is read at. The price of looking at any time is
then an interval 1.55 times as wide as the fixed one at the tuned size, 1.6 at a third or five times of it, and far more in
the first hundreds of units, which is what protects the first looks, where the normal approximation is worst.

Everything takes floats or numpy arrays and works element by element; nothing blocks, raises on numbers, or returns p = 0.
"""

from __future__ import annotations

import sys
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

TUNED_ALPHA: Final = 0.05
"""Level at which the mixture is tuned."""

TUNED_UNITS: Final = 5_000
"""Units per arm at which the interval is tightest: experiments small enough to matter and common enough to serve best."""

MIN_UNITS: Final = 100
"""Units in every arm before anything anytime-valid is said: below it variances are guesses and the error rate is not promised."""

SMALLEST_P: Final = sys.float_info.min
"""The least p-value ever reported: smaller ones underflow, and 0 would claim certainty."""

_TUNED_H: Final = float(-special.lambertw(-(TUNED_ALPHA**2) / np.e, k=-1).real - 1.0)


def two_arms(control: ArrayLike, treatment: ArrayLike) -> NDArray[np.float64]:
    """Effective size of a difference between arms of these many units: `1 / (1/n_c + 1/n_t)`, half an arm when balanced.

    The difference of two means gathers information in proportion to it whatever the split, so a ramp from 1:99 to 50:50
    does not disturb the clock.
    """
    n_c, n_t = np.asarray(control, dtype=np.float64), np.asarray(treatment, dtype=np.float64)
    return np.asarray(n_c * n_t / (n_c + n_t), dtype=np.float64)


def _h(size: ArrayLike, tuned_size: float) -> NDArray[np.float64]:
    return np.asarray(size, dtype=np.float64) * (_TUNED_H / tuned_size)


def prior_units(tuned_size: float) -> float:
    """Weight, in units, of the Beta prior whose mixture of Bernoulli likelihoods is as sharp at the same sizes as the normal one:
    its variance is that of one unit divided by `tuned_size / h*`, as the normal mixture's is."""
    return tuned_size / _TUNED_H - 1.0


def boundary(size: ArrayLike, alpha: float, tuned_size: float) -> NDArray[np.float64]:
    """Half width of the interval in standard errors after effective size `size`; larger than any fixed-horizon quantile."""
    h = _h(size, tuned_size)
    return np.asarray(np.sqrt((1.0 + 1.0 / h) * (np.log1p(h) - 2.0 * np.log(alpha))), dtype=np.float64)


def p_value(z: ArrayLike, size: ArrayLike, tuned_size: float) -> NDArray[np.float64]:
    """The p-value at any look, in [SMALLEST_P, 1]; at most alpha exactly when `|z| >= boundary(size, alpha, tuned_size)`."""
    h = _h(size, tuned_size)
    # Past 1e100 every z gives SMALLEST_P, and squaring it would overflow.
    distance = np.minimum(np.abs(np.asarray(z, dtype=np.float64)), 1e100)
    log_e = 0.5 * (np.square(distance) * (h / (1.0 + h)) - np.log1p(h))
    return np.asarray(np.clip(np.exp(-log_e), SMALLEST_P, 1.0), dtype=np.float64)


def pooled_inflation(control_units: ArrayLike, control_variance: ArrayLike, treatment_units: ArrayLike, treatment_variance: ArrayLike) -> NDArray[np.float64]:
    """Factor (at least 1) by which the squared standard error of a difference is raised to that of equal variances.

    While events are rare the smaller arm of an uneven split has often seen none, its variance reads as 0, and a
    difference looks certain that is not. Under no effect the pooled variance is right, so the larger of the two is used;
    with even arms both are the same and the factor is 1. The variances are per unit and must not both be 0.
    """
    n_c, n_t = np.asarray(control_units, dtype=np.float64), np.asarray(treatment_units, dtype=np.float64)
    v_c, v_t = np.asarray(control_variance, dtype=np.float64), np.asarray(treatment_variance, dtype=np.float64)
    share = n_c / (n_c + n_t)
    pooled = (share * v_c + (1.0 - share) * v_t) * (1.0 / n_c + 1.0 / n_t)
    return np.maximum(1.0, pooled / (v_c / n_c + v_t / n_t))
