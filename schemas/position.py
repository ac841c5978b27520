"""A position: where on the topics an acknowledged write stands, so that a read can wait for it."""

import re
from collections.abc import Mapping

Positions = Mapping[str, int]
"""Highest offset by `topic:partition`."""

_PART = re.compile(r"([a-z_]+):(\d{1,9}):(\d{1,18})")


def encode(positions: Positions) -> str:
    """The value of the header `X-Millstream-Position`: `topic:partition:offset`, comma separated and sorted."""
    return ",".join(f"{place}:{offset}" for place, offset in sorted(positions.items()))


def decode(text: str) -> dict[str, int]:
    """Read a header value back. Raises ValueError, naming the part, when it is not a position."""
    positions: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not topic:partition:offset, as X-Millstream-Position returned it")
        place = f"{match[1]}:{match[2]}"
        positions[place] = max(positions.get(place, -1), int(match[3]))
    return positions


def merge(*several: Positions) -> dict[str, int]:
    """The highest offset of each place."""
    merged: dict[str, int] = {}
    for positions in several:
        for place, offset in positions.items():
            merged[place] = max(merged.get(place, -1), offset)
    return merged


def covers(watermark: Positions, wanted: Positions) -> bool:
    """Whether everything up to `wanted` is within `watermark`."""
    return all(watermark.get(place, -1) >= offset for place, offset in wanted.items())
