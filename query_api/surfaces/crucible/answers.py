"""The envelopes of the surface, and what lists of it take."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection
from starlette.responses import Response

from infra.runtime.errors import ValidationFailed
from query_api.domain.sorted_page import Listed, Wanted
from query_api.surfaces.crucible.policy import CRUCIBLE
from query_api.surfaces.policy import json_response
from schemas.position import Positions

READ_ERRORS: Final = ("unauthenticated", "forbidden", "validation_failed", "rate_limited", "unavailable", "internal")
"""What any operation of the surface may answer; those of one thing add `not_found`."""
ONE_ERRORS: Final = (*READ_ERRORS, "not_found")


_CURSOR: Final = "^[A-Za-z0-9_=-]*$"


class PageMeta(BaseModel):
    """`meta` of a list."""

    total: int = Field(ge=0, description="Items on all pages together.", examples=[45])
    page: int = Field(ge=1, examples=[1])
    per_page: int = Field(ge=1, examples=[25])
    next_cursor: str | None = Field(description="Begins the page behind; null on the last one.")
    has_more: bool


async def _wanted(
    page: Annotated[int, Query(ge=1, le=1_000_000, description="Number of the page.")] = 1,
    per_page: Annotated[int, Query(ge=1, le=CRUCIBLE.paging.maximum, description="Most items on a page.")] = CRUCIBLE.paging.default,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before; in place of `page`.", max_length=9_000, pattern=_CURSOR)] = None,
) -> Wanted:
    if cursor is not None and page != 1:
        raise ValidationFailed("give `page` or `cursor`, not both", details={"cursor": ["cannot be given together with page"]})
    return Wanted(page, per_page, cursor)


WantedPage = Annotated[Wanted, Depends(_wanted)]
"""The page that a request asks for."""


def filters(*names: str) -> Callable[[HTTPConnection], Awaitable[None]]:
    """A dependency that refuses any other `filter[...]`: one that is not looked at must not pass for one that found nothing to leave out."""
    known = {f"filter[{name}]" for name in names}

    async def check(connection: HTTPConnection) -> None:
        unknown = sorted({name for name in connection.query_params if name.startswith("filter[")} - known)
        if unknown:
            message = f"is no filter of this list; there are {', '.join(sorted(known)) or 'none'}"
            raise ValidationFailed(f"{unknown[0]} {message}", details={name: [message] for name in unknown})

    return check


def one(data: Any, *, status: int = 200, watermark: Positions | None = None) -> Response:
    """An answer that is one thing."""
    return json_response({"data": data}, status=status, watermark=watermark)


def page_of(found: Listed, *, watermark: Positions | None = None) -> Response:
    """A page of a list."""
    meta = {
        "total": found.total,
        "page": found.wanted.page,
        "per_page": found.wanted.per_page,
        "next_cursor": found.next_cursor,
        "has_more": found.next_cursor is not None,
    }
    return json_response({"data": list(found.items), "meta": meta}, watermark=watermark)
