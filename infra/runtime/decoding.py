"""Content encodings of request bodies, inflated in small steps so that a bomb costs no more memory than the limit."""

import zlib
from collections.abc import Callable

import zstandard

from infra.runtime.errors import InvalidArgument, TooLarge, UnsupportedMediaType

MAX_MEMBERS = 1_000
"""Gzip members or zstd frames in one body; real senders use one or a few."""

_STEP = 65_536
_ZSTD_STEP = 512
"""Bytes fed to zstd at once: one can inflate to at most 16 MiB, because four bytes can stand for a block of 128 KiB."""
_ZSTD_WINDOW = 8_388_608
"""Largest zstd window taken, the one every decoder has to support (RFC 8878, section 3.1.1.1.2)."""


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding: identity, gzip (several members), deflate (zlib or raw) or zstd (several frames).

    Raises TooLarge when more than `limit` bytes come out, InvalidArgument when the data is damaged or cut off,
    UnsupportedMediaType for any other encoding. Blocks for the time of inflating at most `limit` bytes.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    decoder = _DECODERS.get(name)
    if decoder is None:
        raise UnsupportedMediaType(f"Content-Encoding {encoding!r} is not supported. Use identity, gzip, deflate or zstd.")
    try:
        return decoder(body, limit)
    except (zlib.error, zstandard.ZstdError) as error:
        raise InvalidArgument(f"The body is not valid {name} data: {error}.") from error


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body has more than {limit} bytes after decompression. Send smaller batches.")


def _zlib_stream(body: bytes, start: int, wbits: int, room: int, limit: int, out: list[bytes]) -> tuple[int, int]:
    """Inflate one stream from `start` into `out`; returns where it ended and the room that is left."""
    stream = zlib.decompressobj(wbits)
    view = memoryview(body)
    position = start
    pending: bytes | memoryview = b""
    more = False
    while not stream.eof:
        if not pending and not more:
            if position >= len(body):
                raise InvalidArgument("The compressed data ends too early.")
            pending = view[position : position + _STEP]
            position += len(pending)
        chunk = stream.decompress(pending, _STEP * 4)
        room -= len(chunk)
        if room < 0:
            raise _too_large(limit)
        out.append(chunk)
        pending = stream.unconsumed_tail
        # A full chunk may have left output behind even when all input is taken.
        more = len(chunk) == _STEP * 4
    return position - len(stream.unused_data), room


def _gzip(body: bytes, limit: int) -> bytes:
    out: list[bytes] = []
    position, room, members = 0, limit, 0
    while position < len(body) or not members:
        members += 1
        if members > MAX_MEMBERS:
            raise InvalidArgument(f"The body has more than {MAX_MEMBERS} gzip members.")
        position, room = _zlib_stream(body, position, 31, room, limit, out)
    return b"".join(out)


def _deflate(body: bytes, limit: int) -> bytes:
    # RFC 9110 means zlib by "deflate", but senders of raw deflate exist and cannot be told apart by a flag.
    zlib_head = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    for wbits in (15, -15) if zlib_head else (-15,):
        out: list[bytes] = []
        try:
            end, _ = _zlib_stream(body, 0, wbits, limit, limit, out)
        except zlib.error:
            if wbits < 0:
                raise
        else:
            if end != len(body):
                raise InvalidArgument("There is data behind the end of the deflate stream.")
            return b"".join(out)
    raise AssertionError("raw deflate either returns or raises")


def _zstd(body: bytes, limit: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    view = memoryview(body)
    out: list[bytes] = []
    position, room, frames = 0, limit, 0
    while position < len(body) or not frames:
        frames += 1
        if frames > MAX_MEMBERS:
            raise InvalidArgument(f"The body has more than {MAX_MEMBERS} zstd frames.")
        stream = decompressor.decompressobj()
        while not stream.eof:
            if position >= len(body):
                raise InvalidArgument("The zstd data ends too early.")
            piece = view[position : position + _ZSTD_STEP]
            position += len(piece)
            chunk = stream.decompress(piece)
            room -= len(chunk)
            if room < 0:
                raise _too_large(limit)
            out.append(chunk)
        position -= len(stream.unused_data)
    return b"".join(out)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate, "zstd": _zstd}
