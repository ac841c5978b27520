"""Several p-values judged together, so that testing much does not make chance look like effect.

`holm` keeps the chance of even one false finding at alpha, whatever the tests have to do with each other (Holm 1979,
"A simple sequentially rejective multiple test procedure"). `benjamini_hochberg` keeps the expected share of false ones
among the findings at alpha and finds more; it is proven for independent or positively dependent tests (Benjamini and
Hochberg 1995, "Controlling the false discovery rate"; Benjamini and Yekutieli 2001), which metrics of one experiment
nearly are. Corrected anytime-valid p-values stay valid at every look, since either works on one set of p-values at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from schemas.definition_kinds import Correction


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given: reject where at most alpha, and no true one is rejected but with chance alpha."""
    corrected, floor = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        floor = max(floor, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = floor
    return corrected


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Step-up correction, in the order given: reject where at most alpha, and at most a share alpha of the findings is false on average."""
    corrected, ceiling = [1.0] * len(p_values), 1.0
    for rank, index in reversed(list(enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i]), 1))):
        ceiling = min(ceiling, p_values[index] * (len(p_values) / rank))  # in this order nothing is rounded below the p-value
        corrected[index] = ceiling
    return corrected


def corrected(method: Correction, p_values: Sequence[float]) -> list[float]:
    """The p-values corrected as an experiment says, in the order given."""
    return _METHODS[method](p_values)


_METHODS: Final[Mapping[Correction, Callable[[Sequence[float]], list[float]]]] = {"none": list, "holm": holm, "benjamini_hochberg": benjamini_hochberg}
