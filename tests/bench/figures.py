"""What a benchmark returns, and the list of all of them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """One measured number beside a reference measured in the same run."""

    value: float
    unit: str
    reference: str
    """What the reference is, in words; empty when the number stands alone."""
    ratio: float | None
    """Value over reference (for times: reference over value would say less, so it is value over reference too)."""
    conditions: str
    """Everything somebody needs to measure it again."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


Figures = dict[str, Figure]
Benchmark = Callable[[], Figures]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which the share of them lies; NaN when there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def tell(text: str) -> None:
    """What a long benchmark is doing now."""
    print(f"  {text}", flush=True)
