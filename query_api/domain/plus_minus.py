"""Means with their intervals as people write them: `0.912 ± 0.013 (n=5)`.

The half width of the interval has two digits and the mean goes as far as it does; a mean without an interval has six. Very large and very small ones share
a power of ten.
"""

from dataclasses import dataclass
from decimal import Decimal

from query_api.domain.run_figures import MeanOfRuns


@dataclass(frozen=True)
class _Digits:
    mean: str
    half: str
    """Of the interval's width; empty without an interval."""
    exponent: int
    """Power of ten that both are multiplied by."""


def text(value: MeanOfRuns) -> str:
    """For any table; `(n=5)` alone for a mean that is no number."""
    digits = _digits(value)
    if digits is None:
        return f"(n={value.n})"
    both = f"{digits.mean} ± {digits.half}" if digits.half else digits.mean
    if digits.exponent:
        both = f"{f'({both})' if digits.half else both}e{digits.exponent:+03d}"
    return f"{both} (n={value.n})"


def formula(value: MeanOfRuns) -> str:
    r"""The same as LaTeX sets it in mathematics, such as `0.912 \pm 0.013\ (n = 5)`."""
    digits = _digits(value)
    if digits is None:
        return f"(n = {value.n})"
    both = rf"{digits.mean} \pm {digits.half}" if digits.half else digits.mean
    if digits.exponent:
        both = rf"{f'({both})' if digits.half else both} \times 10^{{{digits.exponent}}}"
    return rf"{both}\ (n = {value.n})"


def _digits(value: MeanOfRuns) -> _Digits | None:
    if value.mean is None:
        return None
    half = 0.0 if value.interval is None else (value.interval[1] - value.interval[0]) / 2
    # Of the rounded number: 999999.9 is shown as 1000000.
    exponent = _exponent(f"{max(abs(value.mean), half):.5e}")
    exponent = 0 if -5 < exponent < 6 else exponent
    # In decimals, since powers of ten of very small doubles are none themselves.
    mean, spread = (Decimal(each).scaleb(-exponent) for each in (value.mean, half))
    if not spread:
        return _Digits(f"{float(mean):.6g}", "", exponent)
    places = max(0, 1 - _exponent(f"{spread:.1e}"))
    return _Digits(f"{mean:z.{places}f}", f"{spread:.{places}f}", exponent)


def _exponent(scientific: str) -> int:
    return int(scientific.partition("e")[2])
