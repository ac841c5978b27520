"""`windows/{kind}`: what the agents computed."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.dependencies import Reader, SharedParts, SurfacePolicy, Waits
from query_api.domain.windows import list_windows
from query_api.errors import error_responses
from query_api.readers.windows import WindowFilter
from query_api.surfaces.platform.models import READ_ERRORS, Meta
from query_api.surfaces.platform.policy import PLATFORM
from query_api.surfaces.policy import list_response
from query_api.surfaces.times import micros

router = APIRouter(tags=["windows"])

Kind = Literal["assignments", "cardinality", "cost", "significance", "evaluation"]


class Window(BaseModel):
    """One item of a window at its newest revision."""

    kind: Kind
    subject: str = Field(description="The experiment; of cardinality the service; of cost `dimension=value`; of evaluation the rule.")
    grain: Literal["1m", "5m", "1h", "1d", "all"]
    window_start: datetime = Field(description="Event time; 1970-01-01 for `all`.")
    window_end: datetime | None = Field(description="First instant after the window; null for `all`.")
    item: str = Field(
        description="Of significance `metric/variant`, of assignments the variant, of cardinality the metric, of cost the unit of account, of evaluation `results` or a threshold."
    )
    revision: int = Field(description="Rises whenever the figures change, also through late data.")
    computed_at: datetime
    positions: dict[str, int] = Field(description="Highest offset by `topic:partition` that the figures include.")
    figures: dict[str, Any] = Field(description="The figures; which ones depends on the kind.")


class Windows(BaseModel):
    """A page of windows."""

    data: list[Window]
    next_cursor: str | None
    meta: Meta


_EXAMPLE = {
    "data": [
        {
            "kind": "significance",
            "subject": "checkout_button",
            "grain": "all",
            "window_start": "1970-01-01T00:00:00Z",
            "window_end": None,
            "item": "conversion/treatment",
            "revision": 42,
            "computed_at": "2026-01-01T12:00:00.250000Z",
            "positions": {"events:0": 118},
            "figures": {},
        }
    ],
    "next_cursor": None,
    "meta": {"watermark": "events:0:118"},
}


@router.get(
    "/windows/{kind}",
    response_model=Windows,
    operation_id="list_windows",
    summary="Windows of one kind",
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}, **error_responses(PLATFORM, *READ_ERRORS, "not_visible_yet")},
)
async def windows(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Reader,
    wait: Waits,
    kind: Annotated[Kind, Path(description="Which computation.")],
    subject: Annotated[str | None, Query(max_length=1_000, description="Only this subject.", examples=["checkout_button"])] = None,
    grain: Annotated[Literal["1m", "5m", "1h", "1d", "all"] | None, Query(description="Only this grain.")] = None,
    item: Annotated[str | None, Query(max_length=1_000, description="Only this item.")] = None,
    start: Annotated[datetime | None, Query(description="Windows that start at or after this; UTC without an offset.")] = None,
    end: Annotated[datetime | None, Query(description="Windows that start before this.")] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=PLATFORM.paging.maximum, description="Most windows in the answer.")] = PLATFORM.paging.default,
    order: Annotated[Literal["asc", "desc"], Query(description="By subject, grain, start and item.")] = "asc",
) -> Response:
    """Ordered by subject, grain, start and item. A page goes on exactly where the one before ended, also while windows are revised.

    With `X-Millstream-Wait-For` the answer includes that write in every window asked for. Ask for the grain `all` where it is enough: the
    other grains of significance are brought up to date after it. Windows of cost of a trace (`trace=ID`, 1m and all) and of a session (`session=ID`,
    but for all) are computed when they are asked for, and are in no list of all subjects; their revision is the time of the read."""
    wanted = WindowFilter(subject=subject, grain=grain, item=item, start_us=micros(start), end_us=micros(end))
    page = await list_windows(parts, kind, caller.tenant, wanted, limit=limit, cursor=cursor, order=order, wait=wait)
    return list_response(policy, page)
