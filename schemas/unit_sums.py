"""Sums over units, by variant and event type: the mergeable state that every metric of an experiment is read from."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.moments import Moments
from schemas.significance import Kind

UNITS = ""
"""Event type whose `units` are all exposed units, whether or not they had an event."""
SEVERAL = ""
"""Variant under which units that saw several variants are counted; they take no part in comparisons."""

FIGURES = ("units", "events", "events_sq", "total", "total_sq")
_Key = tuple[str, str]


@dataclass(frozen=True)
class UnitSums:
    """Sums over the units of an experiment."""

    figures: Mapping[_Key, tuple[float, ...]]
    """By (variant, event type), in the order of `FIGURES`."""

    @property
    def variants(self) -> list[str]:
        """Variants that units take part with, sorted."""
        return sorted({variant for variant, _ in self.figures if variant != SEVERAL})

    @property
    def event_types(self) -> list[str]:
        """Event types seen, sorted."""
        return sorted({event_type for _, event_type in self.figures if event_type != UNITS})

    def units(self, variant: str) -> int:
        """Exposed units of a variant."""
        return int(self.figures.get((variant, UNITS), (0,))[0])

    def moments(self, variant: str, event_type: str, kind: Kind, counts: bool) -> Moments:
        """Moments over all exposed units of the variant; units without the event count as 0.

        `counts` sums events instead of values.
        """
        count = self.units(variant)
        converted, events, events_sq, total, total_sq = self.figures.get((variant, event_type), (0.0,) * 5)
        if kind == "proportion":
            return Moments.proportion(int(converted), count)
        if kind == "count" or counts:
            return Moments(count, events, events_sq)
        return Moments(count, total, total_sq)


class BucketedSums:
    """The same sums kept apart by bucket, so that a refresh replaces the buckets that changed and adds the rest up as they are."""

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets
        self._columns: dict[_Key, int] = {}
        self._sums = np.zeros((buckets, 0, len(FIGURES)))

    @property
    def nbytes(self) -> int:
        """Memory the sums take."""
        return int(self._sums.nbytes)

    def replace(self, buckets: Iterable[int], table: pa.Table) -> None:
        """Put the rows of `table` (bucket, variant, event_type and `FIGURES`) in the place of all that the buckets held."""
        self._sums[list(buckets)] = 0.0
        keys = list(zip(table["variant"].to_pylist(), table["event_type"].to_pylist(), strict=True))
        for key in dict.fromkeys(keys):
            self._columns.setdefault(key, len(self._columns))
        missing = len(self._columns) - self._sums.shape[1]
        if missing:
            self._sums = np.concatenate([self._sums, np.zeros((self._buckets, missing, len(FIGURES)))], axis=1)
        rows = table["bucket"].to_numpy()
        columns = np.fromiter((self._columns[key] for key in keys), dtype=np.int64, count=len(keys))
        for place, name in enumerate(FIGURES):
            self._sums[rows, columns, place] = table[name].to_numpy()

    def total(self) -> UnitSums:
        """All buckets added up."""
        sums = self._sums.sum(axis=0)
        return UnitSums({key: tuple(float(x) for x in sums[column]) for key, column in self._columns.items() if sums[column].any()})


def added_up(table: pa.Table) -> UnitSums:
    """The sums of a table with one or more rows per variant and event type; what no unit had is left out."""
    columns = [table[name].to_pylist() for name in ("variant", "event_type", *FIGURES)]
    sums: dict[_Key, list[list[float]]] = {}
    for row in zip(*columns, strict=True):
        sums.setdefault((row[0], row[1]), []).append([float(x) for x in row[2:]])
    added = {key: tuple(math.fsum(column) for column in zip(*rows, strict=True)) for key, rows in sums.items()}
    return UnitSums({key: figures for key, figures in added.items() if any(figures)})
