"""A look at the outline of a large protobuf request before it is parsed.

Two bytes can stand for an empty span, which takes a hundred bytes once parsed: 20 MiB of them would take gigabytes.
"""

from infra.runtime.errors import TooLarge

SMALL = 524_288
"""Bodies below this are not looked at: what they can grow to is bounded by their size."""

_ITEMS = ((1,), (2,), (2,))
"""Field numbers from a request down to its items: resource groups, scopes, then spans, log records or metrics."""
_POINTS = (*_ITEMS, (5, 7, 9, 10, 11), (1,))


def check_counts(body: bytes, metrics: bool, limit: int) -> None:
    """Raises TooLarge when the outline holds more than `limit` resources, scopes or items. Damaged bytes are left to the parser."""
    if len(body) >= SMALL:
        _count(body, 0, len(body), _POINTS if metrics else _ITEMS, 0, [0], limit)


def _count(body: bytes, position: int, end: int, path: tuple[tuple[int, ...], ...], level: int, counts: list[int], limit: int) -> None:
    wanted = path[level]
    last = level == len(path) - 1
    while position < end:
        tag, position = _varint(body, position, end)
        kind = tag & 7
        if kind == 2:
            size, position = _varint(body, position, end)
            if tag >> 3 in wanted:
                counts[0] += 1
                if counts[0] > 2 * limit:
                    raise TooLarge(f"The request has more than {limit} items. Send smaller batches.")
                if not last:
                    _count(body, position, min(position + size, end), path, level + 1, counts, limit)
            position += size
        elif kind == 0:
            _, position = _varint(body, position, end)
        elif kind == 1:
            position += 8
        elif kind == 5:
            position += 4
        else:
            return


def _varint(body: bytes, position: int, end: int) -> tuple[int, int]:
    result = shift = 0
    while position < end and shift < 64:
        byte = body[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
    return 7, end  # cut off: no field has this kind, and nothing is left to read
