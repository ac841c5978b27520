"""JSON objects kept as sent, packed end to end: a binary column is made of them without touching each one."""

from collections.abc import Iterator, Sequence
from itertools import chain

import msgspec
import numpy as np
import pyarrow as pa

from ingest.json_rows import check_object

_BRACE = ord("{")
_FEW = 8


class JsonObjects(msgspec.Struct, frozen=True):
    """The same field of several items, in their order; an item without one has length 0."""

    data: bytes
    lengths: list[int]

    @classmethod
    def of(cls, raws: Sequence[msgspec.Raw], field: str) -> "JsonObjects":
        """Pack the values of a field; null counts as absent. Raises ValidationFailed when one is not an object."""
        if len(raws) >= _FEW:  # below that, looking at each is cheaper than calling numpy
            packed = cls(b"".join(raws), list(map(len, raws)))
            if packed._all_objects():
                return packed
        for raw in raws:
            check_object(raw, field)
        kept = [raw if raw[:1] == b"{" else b"" for raw in map(bytes, raws)]
        return cls(b"".join(kept), list(map(len, kept)))

    @property
    def longest(self) -> int:
        """Bytes of the longest object."""
        return max(self.lengths, default=0)

    def each(self) -> Iterator[bytes]:
        """The objects one by one."""
        if len(self.lengths) == 1:
            yield self.data
            return
        end = 0
        for length in self.lengths:
            start, end = end, end + length
            yield self.data[start:end]

    def _all_objects(self) -> bool:
        if not self.data:
            return True
        lengths = np.array(self.lengths)
        starts = np.cumsum(lengths) - lengths
        return bool((np.frombuffer(self.data, np.uint8)[starts[lengths > 0]] == _BRACE).all())


def column(parts: Sequence[JsonObjects]) -> pa.Array:
    """The objects of several requests as one binary column."""
    lengths = list(chain.from_iterable(part.lengths for part in parts))
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = b"".join(part.data for part in parts)
    return pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
