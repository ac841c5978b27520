"""Units by first exposure, kept apart by bucket: the mergeable state that the windows of assignments are read from."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

DIMENSIONS = ("variant", "minute", "sdk", "source")
"""What is known of a first exposure: the variant ('' for units of several), the minute since the epoch, and what sent it."""


class BucketedExposures:
    """Numbers of units by bucket and `DIMENSIONS`, so that a refresh replaces the buckets that changed and adds the rest up as they are."""

    def __init__(self) -> None:
        self._codes: dict[tuple[object, ...], int] = {}
        self._bucket = np.zeros(0, np.uint16)
        self._code = np.zeros(0, np.int32)
        self._units = np.zeros(0, np.int64)

    @property
    def nbytes(self) -> int:
        """Memory the numbers take."""
        return int(self._bucket.nbytes + self._code.nbytes + self._units.nbytes)

    def replace(self, buckets: Iterable[int], table: pa.Table) -> None:
        """Put the rows of `table` (bucket, `DIMENSIONS` and units) in the place of all that the buckets held."""
        gone = np.zeros(1 << 16, bool)
        gone[list(buckets)] = True
        kept = ~gone[self._bucket]
        keys = zip(*(table[name].to_pylist() for name in DIMENSIONS), strict=True)
        codes = np.fromiter((self._codes.setdefault(key, len(self._codes)) for key in keys), np.int32, table.num_rows)
        self._bucket = np.concatenate([self._bucket[kept], table["bucket"].to_numpy().astype(np.uint16)])
        self._code = np.concatenate([self._code[kept], codes])
        self._units = np.concatenate([self._units[kept], table["units"].to_numpy().astype(np.int64)])

    def total(self) -> pa.Table:
        """All buckets added up: a row for each combination that some unit has, with `DIMENSIONS` and units."""
        sums = np.bincount(self._code, weights=self._units, minlength=len(self._codes))
        found = [(key, int(units)) for key, units in zip(self._codes, sums, strict=True) if units]
        columns = {name: [key[place] for key, _ in found] for place, name in enumerate(DIMENSIONS)}
        return pa.table({**columns, "units": pa.array([units for _, units in found], pa.int64())})
