"""The C library's allocator, for a process that takes and drops buffers of megabytes all day."""

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's mallopt(3)."""
_LARGEST: Final = 32 * 2**20
"""The largest that glibc takes as the size from which a buffer has a mapping of its own."""
_KEPT: Final = 256 * 2**20


def keep_buffers() -> None:
    """Use memory that was dropped again instead of giving it back to the system, which clears every page of it before it comes back.

    A fifth of the CPU of a process that passes blocks on went there. Up to 256 MiB that nobody uses stay with the process. Does nothing
    with another C library than glibc.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _KEPT)
