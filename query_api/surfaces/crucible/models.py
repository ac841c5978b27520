"""`models`: the registry of the models that experiments use, and how each does."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from query_api.access import Caller
from query_api.control.ml_models import MlModelFilter
from query_api.dependencies import Allowed, SharedParts, Waits
from query_api.domain.ml_models import MlModels, ModelSortField, ModelStatus, model_json
from query_api.domain.model_statistics import Period, model_statistics
from query_api.errors import error_responses
from query_api.surfaces.bodies import Body
from query_api.surfaces.crucible.answers import ONE_ERRORS, READ_ERRORS, PageMeta, WantedPage, filters, one, page_of
from query_api.surfaces.crucible.bodies import Config, Name
from query_api.surfaces.crucible.policy import CRUCIBLE

router = APIRouter(tags=["models"])

ModelId = Annotated[str, Path(description="Id of the model.", examples=["model_8c1f0a9be2d34757"], max_length=300)]
Reader = Annotated[Caller, Allowed("models:read")]
Writer = Annotated[Caller, Allowed("models:write")]
Type = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,64}$", max_length=64)]
Sort = Literal["name", "-name", "created_at", "-created_at", "updated_at", "-updated_at", "status", "-status", "provider", "-provider"]


class NewModel(Body):
    """What a model is created with."""

    name: Name = Field(description="What telemetry calls it in `metadata.model`.", examples=["Custom Model"])
    provider: Name = Field(examples=["custom"])
    type: Type = Field("llm", description="What kind of model it is.")
    config: Config = Field(
        {},
        description="Any JSON object; kept as it is and shown to every reader, so it holds no secrets: name the environment variable that does.",
        examples=[{"endpoint": "https://api.example.com/v1/completions", "api_key_env": "CUSTOM_API_KEY"}],
    )
    status: ModelStatus = Field("active", description="Whether it is for use.")


class ModelChanges(Body):
    """Fields left out stay as they are."""

    name: Name | None = None
    provider: Name | None = None
    type: Type | None = None
    config: Config | None = Field(None, description="In place of the whole config.")
    status: ModelStatus | None = None


class NewModelBody(Body):
    model: NewModel


class ModelChangesBody(Body):
    model: ModelChanges


class Model(BaseModel):
    """A stored model."""

    id: str
    name: str
    provider: str
    type: str
    config: Config
    status: ModelStatus
    created_at: AwareDatetime
    updated_at: AwareDatetime


class One(BaseModel):
    data: Model


class Several(BaseModel):
    data: list[Model]
    meta: PageMeta


class Statistics(BaseModel):
    """Of the requests to a model in a period."""

    model_config = ConfigDict(populate_by_name=True)

    total_requests: int = Field(ge=0)
    success_rate: float | None = Field(ge=0, le=1, description="Share of the requests that did not fail; null without requests.")
    avg_latency_ms: float | None = Field(description="Of the requests that say how long they took; null without such.")
    p50_latency_ms: float | None
    p99_latency_ms: float | None
    total_tokens: int = Field(ge=0)
    error_breakdown: dict[str, int] = Field(description="Failed requests by reason, the most frequent first.")
    period: Period
    from_: AwareDatetime = Field(alias="from")
    to: AwareDatetime


class StatisticsAnswer(BaseModel):
    data: Statistics


_EXAMPLE: Final[dict[str, Any]] = {
    "id": "model_8c1f0a9be2d34757",
    "name": "GPT-4",
    "provider": "openai",
    "type": "llm",
    "config": {"max_tokens": 4096, "temperature": 0.7},
    "status": "active",
    "created_at": "2026-01-15T10:00:00Z",
    "updated_at": "2026-01-15T10:00:00Z",
}
_STATISTICS: Final[dict[str, Any]] = {
    "total_requests": 10000,
    "success_rate": 0.9955,
    "avg_latency_ms": 234.1,
    "p50_latency_ms": 210.0,
    "p99_latency_ms": 890.0,
    "total_tokens": 1500000,
    "error_breakdown": {"timeout": 20, "rate_limit": 15, "server_error": 10},
    "period": "24h",
    "from": "2026-01-14T10:00:00Z",
    "to": "2026-01-15T10:00:00Z",
}
_META: Final = {"total": 1, "page": 1, "per_page": 25, "next_cursor": None, "has_more": False}


def _responses(*errors: str, example: Any = None, status: int = 200) -> dict[int | str, dict[str, Any]]:
    answer: dict[str, Any] = {} if example is None else {"content": {"application/json": {"example": example}}}
    return {status: answer, **error_responses(CRUCIBLE, *errors)}


@router.get(
    "/models",
    response_model=Several,
    operation_id="list_models",
    summary="List models",
    responses=_responses(*READ_ERRORS, example={"data": [_EXAMPLE], "meta": _META}),
    dependencies=[Depends(filters("status", "name", "provider", "type"))],
)
async def list_(
    parts: SharedParts,
    caller: Reader,
    page: WantedPage,
    status: Annotated[ModelStatus | None, Query(alias="filter[status]", description="Only those of this status.")] = None,
    name: Annotated[str | None, Query(alias="filter[name]", description="Only those with this in their name.", max_length=300)] = None,
    provider: Annotated[str | None, Query(alias="filter[provider]", description="Only those of this provider.", max_length=300)] = None,
    type: Annotated[str | None, Query(alias="filter[type]", description="Only those of this type.", max_length=64)] = None,
    sort: Annotated[Sort, Query(description="Field to sort by; with `-` from high to low.")] = "-created_at",
) -> Response:
    """The newest first unless sorted otherwise."""
    field: ModelSortField = sort.removeprefix("-")  # type: ignore[assignment]
    return page_of(await MlModels(parts).page(caller.tenant, MlModelFilter(status, name, provider, type), field, sort.startswith("-"), page))


@router.post(
    "/models",
    response_model=One,
    status_code=201,
    operation_id="create_model",
    summary="Create a model",
    responses=_responses(*READ_ERRORS, status=201),
)
async def create(parts: SharedParts, caller: Writer, body: NewModelBody) -> Response:
    """Several models may have one name; their ids differ."""
    return one(model_json(await MlModels(parts).create(caller, body.model.model_dump())), status=201)


@router.get(
    "/models/{model_id}",
    response_model=One,
    operation_id="get_model",
    summary="Get a model",
    responses=_responses(*ONE_ERRORS, example={"data": _EXAMPLE}),
)
async def get(parts: SharedParts, caller: Reader, model_id: ModelId) -> Response:
    """One model."""
    return one(model_json(await MlModels(parts).get(caller.tenant, model_id)))


@router.patch(
    "/models/{model_id}",
    response_model=One,
    operation_id="update_model",
    summary="Update a model",
    responses=_responses(*ONE_ERRORS),
)
async def update(parts: SharedParts, caller: Writer, model_id: ModelId, body: ModelChangesBody) -> Response:
    """Fields that are left out or null stay as they are."""
    given = {name: value for name, value in body.model.given().items() if value is not None}
    return one(model_json(await MlModels(parts).update(caller, model_id, given)))


@router.delete(
    "/models/{model_id}",
    status_code=204,
    response_class=Response,
    operation_id="delete_model",
    summary="Delete a model",
    responses=error_responses(CRUCIBLE, *ONE_ERRORS),
)
async def delete(parts: SharedParts, caller: Writer, model_id: ModelId) -> Response:
    """For good. Telemetry that names it stays."""
    await MlModels(parts).delete(caller, model_id)
    return Response(status_code=204)


@router.get(
    "/models/{model_id}/statistics",
    response_model=StatisticsAnswer,
    operation_id="get_model_statistics",
    summary="Get statistics of a model",
    responses=_responses(*ONE_ERRORS, "query_limit", "not_visible_yet", example={"data": _STATISTICS}),
)
async def statistics(
    parts: SharedParts,
    caller: Reader,
    wait: Waits,
    model_id: ModelId,
    period: Annotated[Period, Query(description="How much time up to now.")] = "24h",
) -> Response:
    """Requests are the telemetry events whose `metadata.model` or `metadata.model_id` is the id of the model, or its name in capitals or not, and
    whose name ends in `inference`, `inference.stop`, `inference.exception`, `request.stop`, `request.exception` or `prediction.stop`, or that have
    `measurements.duration_ms` or `measurements.latency_ms`. A `*.start` is none.

    One failed when its name ends in `exception`, its metadata says `error` or `error_type`, or their `status` is `error`, `failed` or `timeout`; the
    reason is `error_type`, else a short `error`, else `error`. Tokens are `measurements.tokens`, else `total_tokens`, else those of prompt and
    completion, or of input and output, together.
    """
    watermark, found = await model_statistics(parts, caller.tenant, model_id, period, wait)
    return one(found, watermark=watermark)
