"""Units that keep the variant they were shown although new weights would give them another.

A pin is the hash of a unit and the variant it keeps. The hash is BLAKE2b (RFC 7693) of the unit in UTF-8 with a digest of 64 bits, read as a
little-endian integer. With a million pins, a unit that has none meets one of them by chance with probability 5e-14.
"""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain, islice
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta

from schemas.fields import Name, TenantId

CHUNK: Final = 20_000
"""Pins of one definition. Part of the stored form: the names of an experiment's definitions follow from it and the number of its pins."""
MAX_PINS: Final = 1_000_000
"""Most pins of one experiment."""
_BYTES: Final = 8

Pin = tuple[str, int]
"""A variant and the hash of a unit that keeps it."""


class Pins(msgspec.Struct, frozen=True):
    """Part of the pins of an experiment. All its parts but the last are full."""

    tenant: TenantId
    experiment: Name
    number: Annotated[int, Meta(ge=0)]
    """Place among the parts."""
    units: dict[str, bytes]
    """By variant the hashes of its units, 8 bytes each, little-endian; base64 in JSON."""

    def __post_init__(self) -> None:
        for variant, hashes in self.units.items():
            if len(hashes) % _BYTES:
                raise ValueError(f"units: {variant!r} has {len(hashes)} bytes; each hash has {_BYTES}")
        if len(self) > CHUNK:
            raise ValueError(f"units: {len(self)} are too many; put at most {CHUNK} into one part")

    def __len__(self) -> int:
        return sum(map(len, self.units.values())) // _BYTES

    @property
    def id(self) -> str:
        return part_id(self.experiment, self.number)

    def each(self) -> Iterator[Pin]:
        """Every pin."""
        for variant, hashes in self.units.items():
            for place in range(0, len(hashes), _BYTES):
                yield variant, int.from_bytes(hashes[place : place + _BYTES], "little")


class PinnedUnits:
    """Finds the pin of a unit in about a microsecond; 9 bytes of memory for each pin."""

    def __init__(self, parts: Iterable[Pins]) -> None:
        """Of two pins of one unit the earlier counts."""
        blocks = [(variant, np.frombuffer(hashes, "<u8").astype(np.uint64)) for part in parts for variant, hashes in part.units.items()]
        self._variants = sorted({variant for variant, _ in blocks})
        hashes = np.concatenate([np.zeros(0, np.uint64), *(block for _, block in blocks)])
        numbers = np.concatenate([np.zeros(0, np.uint8), *(np.full(len(block), self._variants.index(variant), np.uint8) for variant, block in blocks)])
        order = np.argsort(hashes, kind="stable")
        # Looked up one by one, where arrays of Python's own are several times faster than those of numpy.
        self._hashes = array("Q", hashes[order].tobytes())
        self._numbers = numbers[order].tobytes()

    def __len__(self) -> int:
        return len(self._hashes)

    def variant(self, unit: str) -> str | None:
        """The variant that a unit keeps; None when it has no pin."""
        return self.variant_of(unit_hash(unit))

    def variant_of(self, hashed: int) -> str | None:
        """The same for the hash of a unit."""
        place = bisect_left(self._hashes, hashed)
        if place < len(self._hashes) and self._hashes[place] == hashed:
            return self._variants[self._numbers[place]]
        return None


def unit_hash(unit: str) -> int:
    """The hash of a unit, 64 bits. Raises nothing, whatever the text."""
    return int.from_bytes(blake2b(unit.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest(), "little")


def part_id(experiment: str, number: int) -> str:
    """Id of the definition that holds one part of an experiment's pins."""
    return f"{experiment}/{number}"


def part_ids(experiment: str, pinned: int) -> list[str]:
    """Ids of all parts of so many pins."""
    return [part_id(experiment, number) for number in range(-(-pinned // CHUNK))]


def with_pins(tenant: str, experiment: str, last: Pins | None, added: Iterable[Pin]) -> list[Pins]:
    """The parts that are new or fuller when pins are added. `last` is the last part so far, None when there is none."""
    fill = last is not None and len(last) < CHUNK
    number = 0 if last is None else last.number if fill else last.number + 1
    pins = chain(last.each(), added) if last is not None and fill else iter(added)
    parts: list[Pins] = []
    while some := list(islice(pins, CHUNK)):
        hashes: dict[str, array[int]] = {}
        for variant, hashed in some:
            hashes.setdefault(variant, array("Q")).append(hashed)
        parts.append(Pins(tenant, experiment, number + len(parts), {variant: _little(found) for variant, found in hashes.items()}))
    return parts


def _little(hashes: "array[int]") -> bytes:
    if sys.byteorder == "big":
        hashes.byteswap()
    return hashes.tobytes()
