"""Where a unit falls in an experiment: the published GrowthBook hash, version 2 (FNV-1a 32 applied twice).

Chosen because its SDKs in every language give the same number, so an assignment made on a phone can be checked here.
The resolution is 10,000 buckets: shares finer than 0.01 % cannot be expressed.
"""

from __future__ import annotations

_OFFSET = 0x811C9DC5
_PRIME = 0x01000193
_BUCKETS = 10_000


def fnv1a_32(text: str) -> int:
    """32-bit FNV-1a over UTF-16 code units, as the published JavaScript SDK walks a string.

    For ASCII that equals hashing the bytes. Lone surrogates are hashed like any code unit and do not raise.
    """
    data = text.encode("utf-16-le", "surrogatepass")
    value = _OFFSET
    for low, high in zip(data[::2], data[1::2], strict=True):
        value = ((value ^ (low | high << 8)) * _PRIME) & 0xFFFFFFFF
    return value


def bucket(unit: str, seed: str) -> float:
    """The unit's place in [0, 1), a multiple of 0.0001; the same for ever for the same unit and seed."""
    return fnv1a_32(str(fnv1a_32(seed + unit))) % _BUCKETS / _BUCKETS
