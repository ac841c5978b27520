"""Content encodings: what comes out is what went in, and bad data is a client's error without costing memory."""

import gzip
import tracemalloc
import zlib

import pytest
import zstandard

from infra.runtime.decoding import MAX_MEMBERS, inflate
from infra.runtime.errors import InvalidArgument, TooLarge, UnsupportedMediaType

LIMIT = 4_194_304
PLAIN = b"".join(f"{number * number};".encode() for number in range(60_000))
_raw = zlib.compressobj(wbits=-15)
RAW_DEFLATE = _raw.compress(PLAIN) + _raw.flush()
ENCODED = {
    "gzip": gzip.compress(PLAIN),
    "deflate": zlib.compress(PLAIN),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress(PLAIN),
}


@pytest.mark.parametrize("name", ENCODED)
def test_round_trip(name: str) -> None:
    assert inflate(ENCODED[name], f" {name.upper()} ", LIMIT) == PLAIN


def test_identity_raw_deflate_and_several_members() -> None:
    assert inflate(PLAIN, "", LIMIT) == inflate(PLAIN, "identity", LIMIT) == PLAIN
    assert inflate(RAW_DEFLATE, "deflate", LIMIT) == PLAIN
    assert inflate(ENCODED["gzip"] + gzip.compress(b"tail"), "gzip", LIMIT) == PLAIN + b"tail"
    assert inflate(ENCODED["zstd"] + zstandard.compress(b"tail"), "zstd", LIMIT) == PLAIN + b"tail"


def test_output_that_ends_exactly_at_a_step() -> None:
    for size in (262_144, 262_145, 262_143, 524_288):
        assert inflate(gzip.compress(bytes(size)), "gzip", LIMIT) == bytes(size)


@pytest.mark.parametrize("name", ENCODED)
def test_cut_off_anywhere_is_refused(name: str) -> None:
    body = ENCODED[name]
    for end in (0, 1, 2, 5, 11, len(body) // 2, len(body) - 5, len(body) - 1):
        with pytest.raises(InvalidArgument):
            inflate(body[:end], name, LIMIT)


@pytest.mark.parametrize("name", ENCODED)
def test_damaged_data_is_refused(name: str) -> None:
    body = bytearray(ENCODED[name])
    for place in (0, len(body) // 2, len(body) - 2):
        damaged = bytes(body[:place]) + bytes([body[place] ^ 0x5A]) + bytes(body[place + 1 :])
        with pytest.raises(InvalidArgument):
            inflate(damaged, name, LIMIT)


def test_data_behind_a_stream_is_refused() -> None:
    for name in ENCODED:
        with pytest.raises(InvalidArgument):
            inflate(ENCODED[name] + b"\x00garbage", name, LIMIT)


def test_limit_counts_inflated_bytes() -> None:
    for name, body in ENCODED.items():
        assert len(inflate(body, name, len(PLAIN))) == len(PLAIN)
        with pytest.raises(TooLarge):
            inflate(body, name, len(PLAIN) - 1)
    with pytest.raises(TooLarge):
        inflate(PLAIN, "identity", len(PLAIN) - 1)


def test_bombs_stop_at_the_limit_with_flat_memory() -> None:
    zeros = bytes(1 << 20)
    deflated, squeezed = zlib.compressobj(9, wbits=31), zstandard.ZstdCompressor().compressobj()
    bombs = {
        "gzip": b"".join(deflated.compress(zeros) for _ in range(300)) + deflated.flush(),
        "zstd": b"".join(squeezed.compress(zeros) for _ in range(300)) + squeezed.flush(),
    }
    for name, bomb in bombs.items():
        tracemalloc.start()
        with pytest.raises(TooLarge):
            inflate(bomb, name, 20_971_520)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 64 << 20, name


def test_members_are_bounded() -> None:
    for name, empty in (("gzip", gzip.compress(b"")), ("zstd", zstandard.compress(b""))):
        with pytest.raises(InvalidArgument):
            inflate(empty * (MAX_MEMBERS + 1), name, LIMIT)


def test_unknown_encodings_are_refused() -> None:
    for name in ("br", "gzip, gzip", "compress"):
        with pytest.raises(UnsupportedMediaType):
            inflate(b"x", name, LIMIT)
