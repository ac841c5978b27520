"""Reading the body of a request that is not JSON, without ever holding more of it than is allowed."""

from starlette.requests import Request

from infra.runtime.errors import TooLarge


async def raw_body(request: Request, limit: int) -> bytes:
    """The body as it came, still encoded. Raises TooLarge beyond `limit` bytes, without reading on."""
    pieces: list[bytes] = []
    room = limit
    async for piece in request.stream():
        room -= len(piece)
        if room < 0:
            raise TooLarge(f"The body has more than {limit} bytes. Send less at once.")
        pieces.append(piece)
    return b"".join(pieces)
