"""The form in which a statement may come with its parameters, when these are too long for an URL."""

from collections.abc import AsyncGenerator, Mapping

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from infra.embedded.engine_errors import failure

_MOST_PART_BYTES = 131_072
"""ClickHouse's default for `http_max_field_value_size`."""


async def form_fields(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """The fields of a multipart body (RFC 7578). Raises EngineFailure for one that is broken or has a longer field."""
    try:
        form = await MultiPartParser(Headers(headers), _once(body), max_part_size=_MOST_PART_BYTES).parse()
    except (MultiPartException, ValueError, KeyError) as error:
        raise failure(1000, "POCO_EXCEPTION", f"HTML Form Exception: {getattr(error, 'message', error)}") from error
    return {name: value for name, value in form.multi_items() if isinstance(value, str)}


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
