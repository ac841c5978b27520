"""Columns of numbers, as units are held and events added up in."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Column = npt.NDArray[Any]

LATE: Final = np.iinfo(np.int64).max
"""Stands for "never" where an earliest time is kept or looked for."""


def column_of(table: pa.Table, name: str) -> Column:
    """A column of an Arrow table."""
    column: Column = table[name].combine_chunks().to_numpy(zero_copy_only=False)
    return column
