"""`projects/{project}/costs`: what the spans of a project cost."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy, Waits
from query_api.domain.costs import By, list_costs
from query_api.errors import error_responses
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import list_response
from query_api.surfaces.times import micros
from schemas.windows import Grain

router = APIRouter(tags=["costs"])

_ERRORS = ("unauthenticated", "forbidden", "not_found", "validation_failed", "query_limit", "unavailable", "not_visible_yet", "internal")


class Cost(BaseModel):
    """What one model, user, session or version of a prompt used in one window, and what that costs."""

    by: By
    value: str
    grain: Grain
    window_start: datetime = Field(description="Event time; 1970-01-01 for `all`.")
    window_end: datetime | None = Field(description="First instant after the window; null for `all`.")
    tokens: int = Field(description="Prompt and completion tokens.")
    amount: float | None = Field(description="Of everything that has a price; null when nothing has, or the prices are in several currencies.")
    currency: str | None
    complete: bool = Field(description="Whether everything has a price; the units say what has none and why.")
    units: dict[str, dict[str, Any]] = Field(description="Quantity, price, amount and price list by unit of account.")


class Costs(BaseModel):
    """A page of costs."""

    data: list[Cost]
    next_cursor: str | None


_EXAMPLE: dict[str, Any] = {
    "data": [
        {
            "by": "model",
            "value": "gpt-4o-mini",
            "grain": "1d",
            "window_start": "2026-01-01T00:00:00Z",
            "window_end": "2026-01-02T00:00:00Z",
            "tokens": 1_200_000,
            "amount": 0.27,
            "currency": "USD",
            "complete": True,
            "units": {
                "completion_tokens": {
                    "quantity": 200_000,
                    "unit_price": 0.6,
                    "per": 1_000_000,
                    "amount": 0.12,
                    "currency": "USD",
                    "price_list": {"name": "default-2026-11-21", "version": 1},
                    "price_lists": [{"name": "default-2026-11-21", "version": 1}],
                },
                "prompt_tokens": {
                    "quantity": 1_000_000,
                    "unit_price": 0.15,
                    "per": 1_000_000,
                    "amount": 0.15,
                    "currency": "USD",
                    "price_list": {"name": "default-2026-11-21", "version": 1},
                    "price_lists": [{"name": "default-2026-11-21", "version": 1}],
                },
            },
        }
    ],
    "next_cursor": None,
}


@router.get(
    "/projects/{project_identifier}/costs",
    response_model=Costs,
    operation_id="getProjectCosts",
    summary="What a project costs",
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}, **error_responses(LLM, *_ERRORS)},
)
async def costs(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Annotated[Caller, Allowed("traces:read")],
    wait: Waits,
    project_identifier: Annotated[str, Path(description="Name of the project, or its GlobalID.", examples=["default"])],
    by: Annotated[By, Query(description="What to tell apart; `project` for its total.")] = "project",
    grain: Annotated[Literal["1m", "5m", "1h", "1d", "all"], Query(description="Length of the windows; `all` is one over all time.")] = "all",
    start_time: Annotated[datetime | None, Query(description="Windows that start at or after this; UTC without an offset. Not for `all`.")] = None,
    end_time: Annotated[datetime | None, Query(description="Windows that start before this. Not for `all`.")] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=LLM.paging.maximum, description="Most windows in the answer.")] = LLM.paging.default,
) -> Response:
    """The newest windows first, in each what used most tokens. Prices are those of the lists in force now; what was spent stays counted when
    its spans are deleted or moved. The same windows arrive live at `/platform/v1/live` as kind `cost`, subject `project=NAME`, `model=NAME` and so on."""
    start_us, end_us = micros(start_time), micros(end_time)
    page = await list_costs(parts, caller.tenant, project_identifier, by, Grain(grain), start_us, end_us, limit=limit, cursor=cursor, wait=wait)
    return list_response(policy, page)
