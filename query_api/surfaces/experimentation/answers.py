"""The envelopes of the surface: one thing, or one numbered page of several."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from query_api.surfaces.policy import json_response

READ_ERRORS: Final = ("unauthenticated", "forbidden", "validation_failed", "rate_limited", "unavailable", "internal")
"""What any read of the surface may answer; those of one thing add `not_found`."""
WRITE_ERRORS: Final = (*READ_ERRORS, "invalid_argument", "not_found", "conflict")

PageNumber = Annotated[int, Query(ge=1, le=1_000_000, description="Number of the page.")]
PageLimit = Annotated[int, Query(ge=1, le=EXPERIMENTATION.paging.maximum, description="Most items on a page.")]


class Nothing(BaseModel):
    """`meta` of an answer that is one thing."""


class PageMeta(BaseModel):
    """`meta` of a list."""

    total: int = Field(ge=0, description="Items on all pages together.", examples=[42])
    page: int = Field(ge=1, examples=[1])
    limit: int = Field(ge=1, examples=[20])
    pages: int = Field(ge=0, description="How many pages there are.", examples=[3])


def one(data: Any, *, status: int = 200, version: int | None = None) -> Response:
    """An answer that is one thing; its version, when known, becomes the `ETag`."""
    return json_response({"data": data, "meta": {}}, status=status, headers={} if version is None else {"ETag": f'"{version}"'})


def numbered(items: Sequence[Any], total: int, page: int, limit: int) -> Response:
    """One page of a list that has `total` items."""
    return json_response({"data": list(items), "meta": {"total": total, "page": page, "limit": limit, "pages": -(-total // limit)}})


def on_page(items: Sequence[Any], page: int, limit: int) -> Sequence[Any]:
    """The items of a whole list that stand on a page; none beyond the last."""
    return items[(page - 1) * limit : page * limit]


def instant(time: datetime | None) -> str | None:
    """As the surface writes times: UTC, `2026-01-01T12:00:00Z`."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")
