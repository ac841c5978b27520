"""`topics`, `freshness` and `dead-letters`: how data moves."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.dependencies import Reader, SharedParts, SurfacePolicy
from query_api.domain.dead_letter_list import list_dead_letters
from query_api.domain.freshness_report import freshness_report
from query_api.domain.topic_lag import list_topics
from query_api.errors import error_responses
from query_api.readers.dead_letters import DeadLetterReader
from query_api.readers.ledger import LedgerReader
from query_api.readers.windows import WindowReader
from query_api.surfaces.platform.models import READ_ERRORS, Meta
from query_api.surfaces.platform.policy import PLATFORM
from query_api.surfaces.policy import json_response, list_response
from schemas.position import encode

router = APIRouter(tags=["flow"], responses=error_responses(PLATFORM, *READ_ERRORS))


class Partition(BaseModel):
    """One partition of a topic."""

    partition: int
    end: int = Field(description="Offset the next record will get.")
    stored: int | None = Field(description="Offset behind the last block that is stored; null where no table is fed.")
    lag: int | None = Field(description="Blocks that are not stored yet.")


class TopicState(BaseModel):
    """One topic."""

    topic: str
    holds: str
    meaning: str
    exists: bool
    lag: int | None
    partitions: list[Partition]


class Topics(BaseModel):
    """All topics."""

    data: list[TopicState]
    next_cursor: None = None
    meta: Meta


class TopicFreshnessModel(BaseModel):
    """Freshness of one topic."""

    topic: str
    blocks: int
    rows: int
    p50_ms: float = Field(description="From the close of a block at ingest to its storage, milliseconds.")
    p95_ms: float
    p99_ms: float
    last_stored_at: datetime


class KindFreshness(BaseModel):
    """Freshness of one kind of window."""

    kind: str
    last_computed_at: datetime | None


class FreshnessData(BaseModel):
    """Topics without blocks in the time are left out."""

    minutes: int
    topics: list[TopicFreshnessModel]
    windows: list[KindFreshness]


class FreshnessAnswer(BaseModel):
    """How fresh the tables are."""

    data: FreshnessData
    meta: Meta


class DeadLetterModel(BaseModel):
    """A block that could not be stored."""

    at: datetime
    topic: str
    partition: int
    offset: int
    batch_id: str
    reason: str
    rows: int
    letter: str = Field(description="Where its bytes are: `dead_letters:partition:offset`.")


class DeadLetters(BaseModel):
    """A page of dead letters."""

    data: list[DeadLetterModel]
    next_cursor: str | None
    meta: Meta


@router.get("/topics", response_model=Topics, operation_id="list_topics", summary="Topics and their lag")
async def topics(parts: SharedParts, policy: SurfacePolicy, caller: Reader) -> Response:
    """Lag in blocks: the end of each partition less the high-water mark of what is stored."""
    return list_response(policy, await list_topics(parts.broker, parts.freshness))


@router.get("/freshness", response_model=FreshnessAnswer, operation_id="freshness", summary="Time from acknowledged to visible")
async def freshness(
    parts: SharedParts,
    caller: Reader,
    minutes: Annotated[int, Query(ge=1, le=1_440, description="Blocks stored in the last minutes.")] = 5,
) -> Response:
    """Quantiles per topic, and when each kind of window of the tenant was computed last."""
    watermark = await parts.freshness.watermark()
    report = await freshness_report(LedgerReader(parts.rows), WindowReader(parts.rows), parts.clock, caller.tenant, minutes)
    return json_response({"data": report, "meta": {"watermark": encode(watermark)}}, watermark=watermark)


@router.get("/dead-letters", response_model=DeadLetters, operation_id="list_dead_letters", summary="What could not be stored")
async def dead_letters(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Reader,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=PLATFORM.paging.maximum)] = PLATFORM.paging.default,
) -> Response:
    """Newest first. The original bytes are on the topic of dead letters; `millstream dlq replay` sends them again."""
    watermark = await parts.freshness.watermark()
    return list_response(policy, await list_dead_letters(DeadLetterReader(parts.rows), caller, limit=limit, cursor=cursor, watermark=watermark))
