"""Request bodies as they were before the client compressed them."""

import zlib

import lz4.frame
import zstandard

from infra.embedded.engine_errors import failure

MAX_BODY_BYTES = 64 * 1024 * 1024
"""Largest body, counted after decompression."""


def decoded(body: bytes, encoding: str) -> bytes:
    """The body without its Content-Encoding. Raises EngineFailure for an unknown encoding, damage, or too many bytes."""
    try:
        match encoding:
            case "" | "identity":
                plain = body
            case "gzip":
                plain = _inflate(body, 16 + zlib.MAX_WBITS)
            case "deflate":
                plain = _inflate(body, zlib.MAX_WBITS)
            case "zstd":
                with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
                    plain = reader.read(MAX_BODY_BYTES + 1)
            case "lz4":
                plain = lz4.frame.LZ4FrameDecompressor().decompress(body, max_length=MAX_BODY_BYTES + 1)
            case _:
                raise failure(48, "NOT_IMPLEMENTED", f"Unknown compression method {encoding}")
    except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError) as error:
        raise failure(271, "CANNOT_DECOMPRESS", f"Cannot decompress the body as {encoding}: {error}") from error
    if len(plain) > MAX_BODY_BYTES:
        raise failure(223, "QUERY_IS_TOO_LARGE", f"The body is larger than {MAX_BODY_BYTES} bytes")
    return plain


def may_stay_packed(body: bytes, encoding: str) -> bool:
    """Whether the engine may decompress the body itself: it is an LZ4 frame that says how long it gets, and that is not too long.

    The engine checks what the frame says against what comes out.
    """
    if encoding != "lz4":
        return False
    try:
        size: int = lz4.frame.get_frame_info(body)["content_size"]
    except RuntimeError:
        return False
    return 0 < size <= MAX_BODY_BYTES


def _inflate(body: bytes, window_bits: int) -> bytes:
    stream = zlib.decompressobj(window_bits)
    plain = stream.decompress(body, MAX_BODY_BYTES + 1)
    if not stream.eof and len(plain) <= MAX_BODY_BYTES:
        raise EOFError("the stream ends too early")
    return plain
