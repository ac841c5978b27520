"""`telemetry`: events listed, grouped, aggregated over time and exported as a file."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from infra.runtime.errors import ValidationFailed
from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, Waits
from query_api.domain.dataset_exports import file_headers
from query_api.domain.telemetry import Interval, Telemetry
from query_api.domain.telemetry_export import MEDIA_TYPES, WHOLE, Form, columns_of, exported
from query_api.errors import error_responses
from query_api.readers.telemetry import Function, TelemetryFilter
from query_api.surfaces.bodies import Body, Instant
from query_api.surfaces.crucible.answers import READ_ERRORS, PageMeta, WantedPage, filters, one, page_of
from query_api.surfaces.crucible.policy import CRUCIBLE
from query_api.surfaces.policy import WATERMARK_HEADER
from query_api.surfaces.streamed import streamed
from query_api.surfaces.times import micros
from schemas.position import encode

router = APIRouter(tags=["telemetry"])

_ERRORS: Final = (*READ_ERRORS, "query_limit", "not_visible_yet")
_PAGING: Final = ("page", "per_page", "cursor")

Reader = Annotated[Caller, Allowed("telemetry:read")]
# All of them together, percent-encoded, fit into the 64 KiB that the head of a request may have.
Value = Annotated[str, StringConstraints(min_length=1, max_length=512)]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=512)]
GroupBy = Annotated[
    FieldName | None,
    Query(
        description="`event_name`, `experiment_id`, or a field of `measurements.` or `metadata.`, dots leading into objects; a name without either is one "
        "of the metadata. Events without it form the group null.",
        examples=["metadata.model"],
    ),
]


async def _filter(
    event_name: Annotated[
        Value | None, Query(alias="filter[event_name]", description="Only those of this name, its parts joined by dots.", examples=["crucible.model.inference"])
    ] = None,
    experiment_id: Annotated[Value | None, Query(alias="filter[experiment_id]", description="Only those of this experiment.")] = None,
    run_id: Annotated[
        Value | None, Query(alias="filter[run_id]", description="Only those of this run: `metadata.run_id` is this text, or this whole number.")
    ] = None,
    model: Annotated[Value | None, Query(alias="filter[model]", description="Only those whose `metadata.model` is this text.")] = None,
    after: Annotated[datetime | None, Query(alias="filter[after]", description="Only those at or after this; UTC without an offset.")] = None,
    before: Annotated[datetime | None, Query(alias="filter[before]", description="Only those before this; UTC without an offset.")] = None,
) -> TelemetryFilter:
    return TelemetryFilter(event_name, experiment_id, run_id, model, micros(after), micros(before))


Filter = Annotated[TelemetryFilter, Depends(_filter)]
_KNOWN: Final = Depends(filters("event_name", "experiment_id", "run_id", "model", "after", "before"))


class TelemetryEvent(BaseModel):
    """A stored event."""

    id: str = Field(description="The client's, else one made at ingest.")
    event_name: list[str]
    measurements: dict[str, Any]
    metadata: dict[str, Any]
    timestamp: datetime
    extra: dict[str, Any] = Field({}, description="Fields that the surface does not know, as they were sent; left out when there are none.")


class TelemetryEvents(BaseModel):
    data: list[TelemetryEvent]
    meta: PageMeta


class TelemetryGroup(BaseModel):
    """A value over the events of one group."""

    group: Any = Field(description="What the events have in common; null for those without it, and without `group_by`.", examples=["gpt-4"])
    value: float | None = Field(description="Null when no event counts.")
    count: int = Field(description="Events that count.")


class TelemetryGroups(BaseModel):
    data: list[TelemetryGroup]


class TelemetryPoint(BaseModel):
    """A value over the events of one bin of time."""

    timestamp: datetime = Field(description="Begin of the bin; without an interval the time of the first event that counts.")
    group: Any = Field(None, description="With `group_by`: what the events have in common.")
    value: float | None


class TelemetryPoints(BaseModel):
    data: list[TelemetryPoint]


class ExportFilters(Body):
    """Which events; fields left out leave it open."""

    event_name: Value | None = Field(None, description="Parts of the name joined by dots.")
    experiment_id: Value | None = None
    run_id: Value | None = Field(None, description="Text or whole number in `metadata.run_id`.")
    model: Value | None = Field(None, description="Text in `metadata.model`.")
    after: Instant | None = Field(None, description="At or after this.")
    before: Instant | None = Field(None, description="Before this.")


class ExportBody(Body):
    """What is exported, and as which kind of file."""

    format: Form = "csv"
    filters: ExportFilters = ExportFilters()
    fields: list[FieldName] | None = Field(
        None,
        min_length=1,
        max_length=200,
        description=f"Any of {', '.join(WHOLE)}, and fields of the last two with dots; all of these when left out.",
        examples=[["timestamp", "event_name", "measurements.duration_ms"]],
    )


_EVENT: Final[dict[str, Any]] = {
    "id": "evt_123",
    "event_name": ["crucible", "model", "inference"],
    "measurements": {"duration_ms": 234, "tokens": 150},
    "metadata": {"experiment_id": "exp_abc123", "model": "gpt-4", "request_id": "req_12345"},
    "timestamp": "2026-01-15T10:35:00Z",
}
_META: Final = {"total": 1, "page": 1, "per_page": 25, "next_cursor": None, "has_more": False}
_EXAMPLES: Final = {
    "events": {"value": {"data": [_EVENT], "meta": _META}},
    "groups": {"value": {"data": [{"group": "gpt-4", "value": 234.5, "count": 12}]}},
}
_TEXT: Final = {"type": "string"}
_FILES: Final[dict[Form, dict[str, Any]]] = {"json": {"type": "array", "items": {"type": "object"}}}
_POINTS: Final = {"data": [{"timestamp": "2026-01-15T10:00:00Z", "value": 234.5}, {"timestamp": "2026-01-15T11:00:00Z", "value": 198.3}]}


@router.get(
    "/telemetry/events",
    response_model=TelemetryEvents | TelemetryGroups,
    operation_id="query_telemetry_events",
    summary="List telemetry events, or compute over groups of them",
    responses={200: {"content": {"application/json": {"examples": _EXAMPLES}}}, **error_responses(CRUCIBLE, *_ERRORS)},
    dependencies=[_KNOWN],
)
async def events(
    request: Request,
    parts: SharedParts,
    caller: Reader,
    wait: Waits,
    wanted: Filter,
    page: WantedPage,
    agg: Annotated[Literal["count", "avg", "sum", "min", "max"] | None, Query(description="Answers values of groups in place of events.")] = None,
    agg_field: Annotated[
        FieldName | None,
        Query(
            description="What `agg` is of: a field of `measurements.` or `metadata.`, dots leading into objects; a name without either is a measurement. "
            "Events without a number there do not count; a count of metadata counts any value.",
            examples=["measurements.duration_ms"],
        ),
    ] = None,
    group_by: GroupBy = None,
) -> Response:
    """Newest first, in pages. With `agg` the answer is a value for each group, the group of most events first, all at once; those whose time is absurdly
    far from the time of receipt are left out of it."""
    telemetry = Telemetry(parts, caller.tenant)
    if agg is None:
        _refuse({"agg_field": agg_field, "group_by": group_by}, "needs `agg`; say what to compute")
        found, watermark = await telemetry.events(wanted, page, wait)
        return page_of(found, watermark=watermark)
    _refuse({name: request.query_params.get(name) for name in _PAGING}, "cannot be given together with `agg`, which answers all groups at once")
    groups, watermark = await telemetry.groups(wanted, agg, agg_field, group_by, wait)
    return one(groups, watermark=watermark)


@router.get(
    "/telemetry/aggregate",
    response_model=TelemetryPoints,
    operation_id="aggregate_telemetry_events",
    summary="Aggregate telemetry events over time",
    responses={200: {"content": {"application/json": {"example": _POINTS}}}, **error_responses(CRUCIBLE, *_ERRORS)},
    dependencies=[_KNOWN],
)
async def aggregate(
    parts: SharedParts,
    caller: Reader,
    wait: Waits,
    wanted: Filter,
    metric: Annotated[
        FieldName | None,
        Query(
            description="The measurement, dots leading into objects; needed unless `agg` is count. Events without it, or where it is no number, do not count.",
            examples=["duration_ms"],
        ),
    ] = None,
    agg: Annotated[Function, Query(description="Percentiles are exact: the value at rank floor(p * n) + 1 of the n values.")] = "avg",
    group_by: GroupBy = None,
    interval: Annotated[Interval | None, Query(description="Width of the bins of time; left out, all time is one.")] = None,
) -> Response:
    """Rising in time; bins begin at multiples of their width in UTC, and those without events are left out. Without an interval there is one value, at the
    time of the first event that counts. Events whose time is absurdly far from the time of receipt are left out."""
    points, watermark = await Telemetry(parts, caller.tenant).series(wanted, agg, metric, group_by, interval, wait)
    return one(points, watermark=watermark)


@router.post(
    "/telemetry/export",
    operation_id="export_telemetry_events",
    summary="Export telemetry events as a file",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file.",
            "content": {media_type.partition(";")[0]: {"schema": _FILES.get(form, _TEXT)} for form, media_type in MEDIA_TYPES.items()},
        },
        **error_responses(CRUCIBLE, *_ERRORS),
    },
)
async def export(parts: SharedParts, caller: Reader, wait: Waits, body: ExportBody) -> Response:
    """In the order of time, without a limit of size. A CSV file has the names of the fields in its first line and the parts of `event_name` joined by dots;
    what an event does not have is empty, or null in JSON. A file that could not be finished breaks off without the end of the transfer."""
    columns = columns_of(body.fields)
    chosen = body.filters
    wanted = TelemetryFilter(chosen.event_name, chosen.experiment_id, chosen.run_id, chosen.model, micros(chosen.after), micros(chosen.before))
    watermark = await parts.freshness.raw(wait)
    headers = {WATERMARK_HEADER: encode(watermark), **file_headers("telemetry", body.format)}
    return await streamed(exported(parts.rows, caller.tenant, wanted, body.format, columns), MEDIA_TYPES[body.format], headers)


def _refuse(given: dict[str, str | None], message: str) -> None:
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise ValidationFailed(f"{wrong[0]} {message}", details={name: [message] for name in wrong})
