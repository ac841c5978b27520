"""`If-Match`: change a thing only if it is still the version that was read."""

from typing import Annotated

from fastapi import Depends, Header
from pydantic import WithJsonSchema

_FORM = r'^("?[0-9]{1,15}"?|\*)$'
"""Quotes may be left out, as many clients do."""


async def _expected(
    if_match: Annotated[
        str | None,
        WithJsonSchema({"type": "string", "pattern": _FORM, "examples": ['"3"']}),
        Header(
            alias="If-Match",
            pattern=_FORM,
            description="`ETag` of the version that the change was made from: 409 when it is no longer the newest. `*` or nothing: whatever there is.",
        ),
    ] = None,
) -> int | None:
    return None if if_match in (None, "*") else int(if_match.strip('"'))


Expected = Annotated[int | None, Depends(_expected)]
"""The version a change must find, None for whatever there is."""
