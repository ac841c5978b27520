"""Answers that are sent while they are still being made."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from starlette.responses import Response, StreamingResponse


async def streamed(content: AsyncGenerator[bytes, None], media_type: str, headers: Mapping[str, str]) -> Response:
    """The answer once its first piece is there, so that what fails before is still an error of its own."""
    first = await anext(content)

    async def whole() -> AsyncIterator[bytes]:
        async with aclosing(content):
            yield first
            async for piece in content:
                yield piece

    return StreamingResponse(whole(), media_type=media_type, headers=dict(headers))
