"""The units of an experiment in memory, a column for each figure, so that a refresh costs what came since the last one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.exposure_counts import DIMENSIONS
from schemas.unit_sums import FIGURES, SEVERAL, UNITS, UnitSums
from schemas.windows import MINUTE_US
from streams.columns import LATE, Column, column_of

_NONE, _SEVERAL = -2, -1
"""In the place of a variant: seen none, and seen several."""
_BITS = 12
"""Of a number that stands for a variant, an SDK or a source."""


class CannotHold(Exception):
    """Two units share a hash, so they can't be told apart here, or what sent them is too varied."""


@dataclass
class _Of:
    """What the units did of one event type, and the sums of it by variant."""

    events: Column
    total: Column
    first: Column
    sums: Column
    early: int = 0
    """Units with an event from before their exposure."""

    @classmethod
    def nothing(cls, units: int, variants: int) -> "_Of":
        return cls(np.zeros(units, np.int64), np.zeros(units), np.full(units, LATE), np.zeros((variants, len(FIGURES))))

    def insert(self, place: Column, events: Column | int, total: Column | float, first: Column | int) -> None:
        """Put new units in their places."""
        self.events, self.total, self.first = np.insert(self.events, place, events), np.insert(self.total, place, total), np.insert(self.first, place, first)


class _Names:
    """Texts as small numbers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {}

    def encode(self, column: pa.ChunkedArray) -> Column:
        """The number of every text."""
        encoded = column.combine_chunks().dictionary_encode()
        codes = [self._codes.setdefault(text, len(self._codes)) for text in encoded.dictionary.to_pylist()]
        self.texts = list(self._codes)
        places: Column = encoded.indices.to_numpy(zero_copy_only=False)
        return np.asarray(codes, np.int32)[places]

    def smaller(self, a: Column, b: Column) -> Column:
        """Of two numbers, the one whose text comes first by name."""
        rank = np.empty(len(self.texts), np.int32)
        rank[np.argsort(np.asarray(self.texts, dtype=object), kind="stable")] = np.arange(len(self.texts))
        return np.where(rank[a] <= rank[b], a, b)


class HeldUnits:
    """Every unit that had an event, by a hash of its name, with its first exposure, its variant, and its events by type.

    All figures of a unit merge by minimum or sum, so changes may be added in any order, each once. The sums over units follow the units that
    change, so that adding costs what changes are added and reading them nothing.
    """

    def __init__(self) -> None:
        self._hash: Column = np.zeros(0, np.uint64)
        self._check: Column = np.zeros(0, np.uint64)
        self._since: Column = np.zeros(0, np.int64)
        self._variant: Column = np.zeros(0, np.int32)
        self._sdk: Column = np.zeros(0, np.int32)
        self._source: Column = np.zeros(0, np.int32)
        self._of: dict[str, _Of] = {}
        self._variants, self._sdks, self._sources = _Names(), _Names(), _Names()
        self._units: Column = np.zeros(1, np.int64)
        """Exposed units by variant, those of several at place 0."""
        self._exposures: Counter[int] = Counter()
        self._exposures_table: pa.Table | None = None

    def __len__(self) -> int:
        return len(self._hash)

    @property
    def event_types(self) -> list[str]:
        """Types that events were added of."""
        return list(self._of)

    @property
    def nbytes(self) -> int:
        """Memory the columns take."""
        columns = [self._hash, self._check, self._since, self._variant, self._sdk, self._source]
        columns += [column for of in self._of.values() for column in (of.events, of.total, of.first)]
        return sum(int(column.nbytes) for column in columns)

    def add(self, changes: pa.Table, types: Sequence[str]) -> None:
        """Merge what units did, a row for each unit, with the columns of `streams.readers.unit_changes`; `types` are those they are of.

        Raises CannotHold, and is then of no more use.
        """
        order = np.argsort(column_of(changes, "hash"))
        hashes, checks = column_of(changes, "hash")[order], column_of(changes, "check")[order]
        variant = np.where(column_of(changes, "several")[order] > 0, _SEVERAL, self._variants.encode(changes["variant"])[order])
        exposed = column_of(changes, "is_exposed")[order] > 0
        variant = np.where(exposed, variant, _NONE)
        since = np.where(exposed, column_of(changes, "since")[order], LATE)
        sdk, source = self._sdks.encode(changes["sdk"])[order], self._sources.encode(changes["source"])[order]
        self._widen(types)

        place = np.searchsorted(self._hash, hashes)
        known = np.zeros(len(hashes), bool)
        inside = place < len(self._hash)
        known[inside] = self._hash[place[inside]] == hashes[inside]
        at, new = place[known], ~known
        if (hashes[1:] == hashes[:-1]).any() or (self._check[at] != checks[known]).any():
            raise CannotHold

        exposures = (
            (self._since, np.minimum(self._since[at], since[known])),
            (self._variant, _merged(self._variant[at], variant[known])),
            (self._sdk, self._sdks.smaller(self._sdk[at], sdk[known])),
            (self._source, self._sources.smaller(self._source[at], source[known])),
        )
        moved = new.copy()
        moved[known] = np.any([column[at] != now for column, now in exposures], axis=0)
        self._count_exposures(place[known & moved], -1)
        self._count_events(at, -1)
        for column, now in exposures:
            column[at] = now
        any_new = bool(new.any())
        for number, event_type in enumerate(types):
            of = self._of[event_type]
            events, total = column_of(changes, f"n{number}")[order].astype(np.int64), column_of(changes, f"x{number}")[order]
            first = np.where(events > 0, column_of(changes, f"first{number}")[order], LATE)
            of.events[at] += events[known]
            of.total[at] += total[known]
            of.first[at] = np.minimum(of.first[at], first[known])
            if any_new:
                of.insert(place[new], events[new], total[new], first[new])
        if any_new:
            for event_type in self._of.keys() - set(types):
                self._of[event_type].insert(place[new], 0, 0.0, LATE)
            self._hash = np.insert(self._hash, place[new], hashes[new])
            self._check = np.insert(self._check, place[new], checks[new])
            self._since = np.insert(self._since, place[new], since[new])
            self._variant = np.insert(self._variant, place[new], variant[new])
            self._sdk = np.insert(self._sdk, place[new], sdk[new])
            self._source = np.insert(self._source, place[new], source[new])
            place = np.searchsorted(self._hash, hashes)
        self._count_exposures(place[moved], 1)
        self._count_events(place, 1)

    def sums(self) -> UnitSums | None:
        """Sums over the exposed units; None when one of them had an event before its exposure, which the figures here cannot leave out."""
        if any(of.early for of in self._of.values()):
            return None
        names = [SEVERAL, *self._variants.texts]
        figures: dict[tuple[str, str], tuple[float, ...]] = {
            (name, UNITS): (float(n), 0.0, 0.0, 0.0, 0.0) for name, n in zip(names, self._units, strict=True) if n
        }
        for event_type, of in self._of.items():
            # What is left of sums that were taken back is no unit's.
            figures |= {(name, event_type): tuple(map(float, row)) for name, row in zip(names, of.sums, strict=True) if row[0]}
        return UnitSums(figures)

    def exposures(self) -> pa.Table:
        """Units by first exposure: a row for each combination of `schemas.exposure_counts.DIMENSIONS` that some unit has, with units. The same table as
        before when no first exposure changed."""
        if self._exposures_table is None:
            found: dict[str, list[Any]] = {name: [] for name in DIMENSIONS}
            names, mask = [SEVERAL, *self._variants.texts], (1 << _BITS) - 1
            for code in self._exposures:
                sdk, source = self._sdks.texts[code >> _BITS & mask], self._sources.texts[code & mask]
                for name, item in zip(DIMENSIONS, (names[code >> 2 * _BITS & mask], code >> 3 * _BITS, sdk, source), strict=True):
                    found[name].append(item)
            self._exposures_table = pa.table({**found, "units": pa.array(self._exposures.values(), pa.int64())})
        return self._exposures_table

    def _widen(self, types: Sequence[str]) -> None:
        """Make room for event types and variants that are new."""
        if max(len(names.texts) for names in (self._variants, self._sdks, self._sources)) >= 1 << _BITS:
            raise CannotHold
        missing = 1 + len(self._variants.texts) - len(self._units)
        self._units = np.pad(self._units, (0, missing))
        for of in self._of.values():
            of.sums = np.pad(of.sums, ((0, missing), (0, 0)))
        for event_type in types:
            self._of.setdefault(event_type, _Of.nothing(len(self._hash), len(self._units)))

    def _count_events(self, at: Column, sign: int) -> None:
        """Add what the units at these places did to the sums, or take it away."""
        at = at[self._variant[at] != _NONE]
        variant, since = self._variant[at] + 1, self._since[at]

        def by_variant(weights: Column) -> Column:
            return np.bincount(variant, weights=weights, minlength=len(self._units))

        for of in self._of.values():
            events, total = of.events[at].astype(np.float64), of.total[at]
            had = events > 0
            of.early += sign * int(np.count_nonzero(of.first[at][had] < since[had]))
            weights = (had.astype(np.float64), events, events * events, total, total * total)
            of.sums += sign * np.stack([by_variant(each) for each in weights], axis=1)

    def _count_exposures(self, at: Column, sign: int) -> None:
        """Add the units at these places to those by variant and first exposure, or take them away."""
        at = at[self._variant[at] != _NONE]
        if not len(at):
            return
        variant = self._variant[at] + 1
        self._units += sign * np.bincount(variant, minlength=len(self._units))
        code = ((self._since[at] // MINUTE_US << _BITS | variant) << _BITS | self._sdk[at]) << _BITS | self._source[at]
        for value, units in zip(*(found.tolist() for found in np.unique(code, return_counts=True)), strict=True):
            self._exposures[value] += sign * units
            if not self._exposures[value]:
                del self._exposures[value]
        self._exposures_table = None


def _merged(a: Column, b: Column) -> Column:
    """The variant of units that saw `a` before and now `b`."""
    return np.where(a == _NONE, b, np.where((b == _NONE) | (a == b), a, _SEVERAL))
