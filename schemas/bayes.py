"""Chance to win: how probable it is, given the data and nothing else, that a treatment is better than control.

The estimated difference is taken as normal around the true one, and before the data every true difference was as probable
as any other (an improper flat prior), so the true difference is normal around the estimate with the same standard error:
Gelman et al., "Bayesian Data Analysis", 3rd edition, section 2.5. It is a way of saying how strong the evidence is, not a
test: it does not keep an error rate when one stops as soon as it looks good. Pure and non-blocking.
"""

import math
from dataclasses import asdict, dataclass

from scipy import special

from schemas.significance import Interval


@dataclass(frozen=True, slots=True)
class Belief:
    """What is known of the true difference (treatment minus control) of a metric."""

    chance_to_win: float
    """Probability, in [0, 1], that the treatment is better."""
    expected_loss: float
    """What choosing the treatment costs on average if it is the worse one, and 0 if it is not; in the metric's unit."""
    credible_interval: Interval
    """Holds the true difference with probability 1 - alpha."""

    def as_dict(self) -> dict[str, object]:
        """Every field, as values JSON can carry."""
        return asdict(self)


def belief(difference: float, standard_error: float, *, alpha: float = 0.05, lower_is_better: bool = False) -> Belief | None:
    """The belief after an estimate; None without a finite estimate or a positive standard error. Raises ValueError for an alpha outside (0, 1)."""
    if not 0.0 < alpha < 1.0:
        raise ValueError("alpha must lie between 0 and 1")
    if not (math.isfinite(difference) and math.isfinite(standard_error) and standard_error > 0.0):
        return None
    gain = -difference if lower_is_better else difference
    z = max(-1e6, min(1e6, gain / standard_error))  # beyond, nothing changes but squares overflow
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    loss = max(0.0, standard_error * density - gain * float(special.ndtr(-z)))
    half = -float(special.ndtri(alpha / 2.0)) * standard_error
    return Belief(float(special.ndtr(z)), loss, (difference - half, difference + half))
