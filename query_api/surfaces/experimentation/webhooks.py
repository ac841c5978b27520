"""`webhooks`: who is told of events, by signed HTTP messages."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from query_api.access import Caller
from query_api.control.webhooks import Delivery, Webhook
from query_api.dependencies import Allowed, SharedParts
from query_api.errors import error_responses
from query_api.surfaces.bodies import Body
from query_api.surfaces.experimentation.answers import READ_ERRORS, WRITE_ERRORS, Nothing, PageLimit, PageMeta, PageNumber, instant, numbered, one
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from schemas.webhook_events import WebhookEvent

router = APIRouter(tags=["webhooks"])

WebhookId = Annotated[str, Path(pattern=r"^[\w-]{1,64}$", description="Id of the webhook.", examples=["wh_0199c2f4a1b37000a1b2c3d4e5f60718"])]
DeliveryId = Annotated[str, Path(pattern=r"^[\w-]{1,64}$", description="Id of the delivery.", examples=["dlv_0199c2f4a1b37000a1b2c3d4e5f60718"])]
Status = Literal["pending", "delivered", "failed"]
Reads = Annotated[Caller, Allowed("webhooks:read")]
Writes = Annotated[Caller, Allowed("webhooks:write")]
_READ: Final = error_responses(EXPERIMENTATION, *READ_ERRORS, "not_found")
_WRITE: Final = error_responses(EXPERIMENTATION, *WRITE_ERRORS)


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class WebhookChanges(Body):
    """The fields to change; the others stay."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    url: str = Field("", min_length=1, max_length=2_000, description="Where messages are posted; http or https.", examples=["https://example.com/hooks"])
    description: str = Field("", max_length=300, pattern=r"^[^\x00]*$", examples=["Deploy channel"])
    events: list[WebhookEvent] = Field([], max_length=20, description="What to tell of; empty means everything.", examples=[["experiment.started"]])
    enabled: bool = Field(True, description="A disabled webhook gets no new events; what waits is kept until it is enabled.")


class NewWebhook(WebhookChanges):
    """A webhook to create. What is left out: no description, every event, enabled."""

    url: str = Field(min_length=1, max_length=2_000, description="Where messages are posted; http or https.", examples=["https://example.com/hooks"])


class WebhookModel(BaseModel):
    """A webhook, without its secret."""

    id: str
    url: str
    description: str
    events: list[WebhookEvent] = Field(description="Empty means everything.")
    enabled: bool
    disabled_reason: str | None = Field(description="Why the platform disabled it: a receiver that answers 410 Gone wants no more messages.")
    created_at: datetime
    updated_at: datetime


class CreatedWebhookModel(WebhookModel):
    """A new webhook."""

    secret: str = Field(description="What messages are signed with. It is shown only now.", examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"])


class SecretModel(BaseModel):
    """A new secret."""

    secret: str = Field(description="It is shown only now. For a day messages are signed with the old one too.")


class DeletedModel(BaseModel):
    """A webhook that is no more."""

    id: str
    deleted: Literal[True]


class DeliveryModel(BaseModel):
    """One event on its way to the webhook."""

    id: str
    event_id: str = Field(description="Sent as `webhook-id`; the same at every attempt.")
    event: WebhookEvent | Literal["webhook.test"] = Field(description="`webhook.test` comes from the test button.")
    status: Status
    attempts: int = Field(ge=0, description="How many were made.")
    response_code: int | None = Field(description="Of the last attempt; null when no answer came.")
    error: str | None = Field(description="Why the last attempt failed.")
    duration_ms: int | None
    attempted_at: datetime | None
    next_attempt_at: datetime | None = Field(description="Null when none follows.")
    created_at: datetime


class WebhookAnswer(BaseModel):
    """One webhook."""

    data: WebhookModel
    meta: Nothing


class CreatedWebhookAnswer(BaseModel):
    """A new webhook."""

    data: CreatedWebhookModel
    meta: Nothing


class WebhooksAnswer(BaseModel):
    """A page of webhooks."""

    data: list[WebhookModel]
    meta: PageMeta


class SecretAnswer(BaseModel):
    """A new secret."""

    data: SecretModel
    meta: Nothing


class DeletedAnswer(BaseModel):
    """A webhook that is no more."""

    data: DeletedModel
    meta: Nothing


class DeliveryAnswer(BaseModel):
    """One delivery."""

    data: DeliveryModel
    meta: Nothing


class DeliveriesAnswer(BaseModel):
    """A page of deliveries."""

    data: list[DeliveryModel]
    meta: PageMeta


@router.get(
    "/webhooks", response_model=WebhooksAnswer, operation_id="list_webhooks", summary="List webhooks", responses=error_responses(EXPERIMENTATION, *READ_ERRORS)
)
async def list_(parts: SharedParts, caller: Reads, page: PageNumber = 1, limit: PageLimit = EXPERIMENTATION.paging.default) -> Response:
    """Oldest first."""
    found, total = await parts.webhooks.page(caller.tenant, (page - 1) * limit, limit)
    return numbered([_view(webhook) for webhook in found], total, page, limit)


@router.post("/webhooks", response_model=CreatedWebhookAnswer, status_code=201, operation_id="create_webhook", summary="Create a webhook", responses=_WRITE)
async def create(parts: SharedParts, caller: Writes, body: NewWebhook) -> Response:
    """Messages are signed as Standard Webhooks 1.0 has it (`webhook-id`, `webhook-timestamp`, `webhook-signature`), so its libraries verify them.
    A message counts as taken when the receiver answers 2xx in time; otherwise it is sent again for about three days. The address must be public."""
    created = await parts.webhooks.create(caller.tenant, _values(body.model_dump()), caller.actor)
    return one(_view(created.webhook) | {"secret": created.secret}, status=201)


@router.get("/webhooks/{webhook_id}", response_model=WebhookAnswer, operation_id="get_webhook", summary="Get a webhook", responses=_READ)
async def get(parts: SharedParts, caller: Reads, webhook_id: WebhookId) -> Response:
    """Without its secret, which nothing shows again."""
    return one(_view(await parts.webhooks.get(caller.tenant, webhook_id)))


@router.put("/webhooks/{webhook_id}", response_model=WebhookAnswer, operation_id="update_webhook", summary="Change a webhook", responses=_WRITE)
async def update(parts: SharedParts, caller: Writes, webhook_id: WebhookId, body: WebhookChanges) -> Response:
    """Only the fields given change."""
    return one(_view(await parts.webhooks.update(caller.tenant, webhook_id, _values(body.given()), caller.actor)))


@router.delete("/webhooks/{webhook_id}", response_model=DeletedAnswer, operation_id="delete_webhook", summary="Delete a webhook", responses=_WRITE)
async def delete(parts: SharedParts, caller: Writes, webhook_id: WebhookId) -> Response:
    """Its delivery log goes with it."""
    await parts.webhooks.remove(caller.tenant, webhook_id, caller.actor)
    return one({"id": webhook_id, "deleted": True})


@router.post(
    "/webhooks/{webhook_id}/rotate-secret", response_model=SecretAnswer, operation_id="rotate_webhook_secret", summary="Give a new secret", responses=_WRITE
)
async def rotate(parts: SharedParts, caller: Writes, webhook_id: WebhookId) -> Response:
    """For a day messages carry a signature of the old secret as well, so that no receiver has to change in the same instant."""
    return one({"secret": await parts.webhooks.rotate_secret(caller.tenant, webhook_id, caller.actor)})


@router.post("/webhooks/{webhook_id}/test", response_model=DeliveryAnswer, operation_id="test_webhook", summary="Send a test message", responses=_WRITE)
async def test(parts: SharedParts, caller: Writes, webhook_id: WebhookId) -> Response:
    """Sends an event `webhook.test` now, once, and answers with what became of it; 200 also when the receiver refused it."""
    return one(_delivery(await parts.webhooks.test(caller.tenant, webhook_id)))


@router.get(
    "/webhooks/{webhook_id}/deliveries", response_model=DeliveriesAnswer, operation_id="list_webhook_deliveries", summary="List deliveries", responses=_READ
)
async def deliveries(
    parts: SharedParts,
    caller: Reads,
    webhook_id: WebhookId,
    status: Annotated[Status | None, Query(description="Only those in this state.")] = None,
    page: PageNumber = 1,
    limit: PageLimit = EXPERIMENTATION.paging.default,
) -> Response:
    """Newest first."""
    found, total = await parts.webhooks.deliveries(caller.tenant, webhook_id, status, (page - 1) * limit, limit)
    return numbered([_delivery(each) for each in found], total, page, limit)


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/retry",
    response_model=DeliveryAnswer,
    status_code=202,
    operation_id="retry_webhook_delivery",
    summary="Send a delivery again",
    responses=_WRITE,
)
async def retry(parts: SharedParts, caller: Writes, webhook_id: WebhookId, delivery_id: DeliveryId) -> Response:
    """It is sent a moment later, under the same `webhook-id`, whatever became of it before."""
    return one(_delivery(await parts.webhooks.retry(caller.tenant, webhook_id, delivery_id)), status=202)


def _values(given: dict[str, Any]) -> dict[str, Any]:
    return {**given, "events": tuple(dict.fromkeys(given["events"]))} if "events" in given else given


def _view(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "description": webhook.description,
        "events": list(webhook.events),
        "enabled": webhook.enabled,
        "disabled_reason": webhook.disabled_reason or None,
        "created_at": _at(webhook.created_at_us),
        "updated_at": _at(webhook.updated_at_us),
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "event_id": delivery.event,
        "event": delivery.type,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "response_code": delivery.response_code,
        "error": delivery.error or None,
        "duration_ms": delivery.duration_ms,
        "attempted_at": _at(delivery.attempted_at_us),
        "next_attempt_at": _at(delivery.next_attempt_us),
        "created_at": _at(delivery.created_at_us),
    }


def _at(time_us: int | None) -> str | None:
    return None if time_us is None else instant(datetime.fromtimestamp(time_us / 1_000_000, UTC))
