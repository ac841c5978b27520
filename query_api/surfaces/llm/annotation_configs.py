"""`annotation_configs`: listed, read, created, replaced and deleted."""

from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, Field, model_validator
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy
from query_api.domain.annotation_configs import AnnotationConfigs, config_json
from query_api.errors import error_responses
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import json_response, list_response

router = APIRouter(tags=["annotation_configs"])

_READ: Final = ("unauthenticated", "forbidden", "validation_failed", "unavailable", "internal")
_CHANGE: Final = (*_READ, "conflict")

Direction = Literal["MINIMIZE", "MAXIMIZE", "NONE"]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Value(BaseModel):
    """A label to choose."""

    label: str = Field(min_length=1, max_length=1_000)
    score: Number | None = None


def _distinct(values: list[Value]) -> list[Value]:
    labels = [value.label for value in values]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise ValueError(f"the label {twice!r} is there twice; give each label once")
    return values


class Named(BaseModel):
    """What every configuration has."""

    name: str = Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$", description="Of the annotations it is for.", examples=["correctness"])
    description: str | None = Field(None, max_length=10_000)


class Categorical(Named):
    """One of several labels."""

    type: Literal["CATEGORICAL"]
    optimization_direction: Direction
    values: Annotated[list[Value], Field(min_length=1, max_length=1_000), AfterValidator(_distinct)]


class _Bounded(Named):
    lower_bound: Number | None = None
    upper_bound: Number | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lower_bound is not None and self.upper_bound is not None and self.lower_bound >= self.upper_bound:
            raise ValueError("lower_bound must be less than upper_bound")
        return self


class Continuous(_Bounded):
    """A score."""

    type: Literal["CONTINUOUS"]
    optimization_direction: Direction


class Freeform(_Bounded):
    """A text, and perhaps a score."""

    type: Literal["FREEFORM"]
    optimization_direction: Direction | None = None
    threshold: Number | None = None


class StoredCategorical(Categorical):
    """A stored configuration."""

    id: str


class StoredContinuous(Continuous):
    """A stored configuration."""

    id: str


class StoredFreeform(Freeform):
    """A stored configuration."""

    id: str


Config = Annotated[Categorical | Continuous | Freeform, Field(discriminator="type")]
Stored = Annotated[StoredCategorical | StoredContinuous | StoredFreeform, Field(discriminator="type")]


class One(BaseModel):
    """One configuration."""

    data: Stored


class Several(BaseModel):
    """A page of configurations."""

    data: list[Stored]
    next_cursor: str | None


Reads = Annotated[Caller, Allowed("traces:read")]
Writes = Annotated[Caller, Allowed("evaluations:write")]
ConfigId = Annotated[str, Path(description="GlobalID of the configuration.")]
_EXAMPLE: Final[dict[str, Any]] = {"data": [], "next_cursor": None}


@router.get(
    "/annotation_configs",
    response_model=Several,
    operation_id="listAnnotationConfigs",
    summary="List annotation configurations",
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}, **error_responses(LLM, *_READ)},
)
async def configs(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Reads,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before: the id of its first item.")] = None,
    limit: Annotated[int, Query(ge=1, le=LLM.paging.maximum, description="Most configurations in the answer.")] = LLM.paging.default,
) -> Response:
    """Newest first."""
    return list_response(policy, await AnnotationConfigs(parts).page(caller.tenant, limit=limit, cursor=cursor))


@router.post(
    "/annotation_configs",
    response_model=One,
    operation_id="createAnnotationConfig",
    summary="Create an annotation configuration",
    responses=error_responses(LLM, *_CHANGE),
)
async def create(parts: SharedParts, caller: Writes, body: Config) -> Response:
    """What the values of annotations of this name may be, for the programs in which people annotate. It refuses no annotation."""
    return json_response({"data": config_json(await AnnotationConfigs(parts).create(caller, body.model_dump()))})


@router.get(
    "/annotation_configs/{config_identifier}",
    response_model=One,
    operation_id="getAnnotationConfig",
    summary="Get an annotation configuration by id or name",
    responses=error_responses(LLM, *_READ, "not_found"),
)
async def config(parts: SharedParts, caller: Reads, config_identifier: Annotated[str, Path(description="GlobalID or name of the configuration.")]) -> Response:
    """One configuration."""
    return json_response({"data": config_json(await AnnotationConfigs(parts).get(caller.tenant, config_identifier))})


@router.put(
    "/annotation_configs/{config_identifier}",
    response_model=One,
    operation_id="updateAnnotationConfig",
    summary="Replace an annotation configuration",
    responses=error_responses(LLM, *_CHANGE, "not_found"),
)
async def replace(parts: SharedParts, caller: Writes, config_identifier: ConfigId, body: Config) -> Response:
    """Fields left out take their defaults; name and type may change."""
    return json_response({"data": config_json(await AnnotationConfigs(parts).replace(caller, config_identifier, body.model_dump()))})


@router.delete(
    "/annotation_configs/{config_identifier}",
    response_model=One,
    operation_id="deleteAnnotationConfig",
    summary="Delete an annotation configuration",
    responses=error_responses(LLM, *_READ, "not_found"),
)
async def remove(parts: SharedParts, caller: Writes, config_identifier: ConfigId) -> Response:
    """Answers what was deleted. Annotations of its name stay."""
    return json_response({"data": config_json(await AnnotationConfigs(parts).delete(caller, config_identifier))})
