"""Where a unit falls in an experiment: the published GrowthBook hash, version 2 (FNV-1a 32 applied twice).

Chosen because its SDKs in every language give the same number, so an assignment made on a phone can be checked here.
The resolution is 10,000 buckets: shares finer than 0.01 % cannot be expressed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

_OFFSET = 0x811C9DC5
_PRIME = 0x01000193
_BUCKETS = 10_000


def fnv1a_32(text: str, start: int = _OFFSET) -> int:
    """32-bit FNV-1a over UTF-16 code units, as the published JavaScript SDK walks a string.

    For ASCII that equals hashing the bytes. Lone surrogates are hashed like any code unit and do not raise. With the hash of a first
    text as `start` it is the hash of both texts together.
    """
    value = start
    for unit in _code_units(text):
        value = ((value ^ unit) * _PRIME) & 0xFFFFFFFF
    return value


def bucket(unit: str, seed: str) -> float:
    """The unit's place in [0, 1), a multiple of 0.0001; the same for ever for the same unit and seed."""
    return _place(fnv1a_32(seed), unit)


def buckets(seed: str) -> Callable[[str], float]:
    """`bucket` for many units of one seed, which is hashed only once."""
    return partial(_place, fnv1a_32(seed))


def places(units: Sequence[str], seed: str) -> NDArray[np.float64]:
    """`bucket` of each of many units at once; ten times as fast when all are ASCII."""
    start = fnv1a_32(seed)
    if not all(unit.isascii() and "\0" not in unit for unit in units):
        return np.array([_place(start, unit) for unit in units], np.float64)
    if not units:
        return np.zeros(0)
    first = _fnv1a_32_of_all(np.array(units, np.bytes_), start)
    return _fnv1a_32_of_all(first.astype("S10"), _OFFSET) % _BUCKETS / _BUCKETS


def _fnv1a_32_of_all(texts: NDArray[np.bytes_], start: int) -> NDArray[np.uint32]:
    """`fnv1a_32` of ASCII texts without zero bytes, which fill them up here."""
    values = np.full(len(texts), start, np.uint32)
    for column in texts.view(np.uint8).reshape(len(texts), -1).T:
        values = np.where(column > 0, (values ^ column) * np.uint32(_PRIME), values)
    return values


def _place(start: int, unit: str) -> float:
    return fnv1a_32(str(fnv1a_32(unit, start))) % _BUCKETS / _BUCKETS


def _code_units(text: str) -> Iterable[int]:
    if text.isascii():
        return text.encode()
    data = text.encode("utf-16-le", "surrogatepass")
    return (low | high << 8 for low, high in zip(data[::2], data[1::2], strict=True))
