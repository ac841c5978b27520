"""Webhooks as tenants set them up, and the log of their deliveries.

Secrets stand in this table and nowhere else: not on the control topic, not in the audit log, not in what is listed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, RowMapping, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.runtime.clock import Clock, uuid7
from infra.runtime.errors import Conflict
from query_api.control.audit import Actor, AuditEntry, add_entries
from query_api.control.engine import changing, reading
from query_api.control.models import WebhookDeliveryRow, WebhookEventRow, WebhookRow
from schemas.webhook_signature import make_secret

MAX_WEBHOOKS = 50
"""Per tenant; each event is sent to every one of them."""
OLD_SECRET_US = 24 * 3_600 * 1_000_000
"""How long a replaced secret still signs, so that receivers can change theirs without losing a message."""


class Webhook(NamedTuple):
    """A webhook without its secret."""

    id: str
    tenant: str
    url: str
    description: str
    events: tuple[str, ...]
    """Empty means all."""
    enabled: bool
    disabled_reason: str
    """Why the platform disabled it; empty when it did not."""
    created_at_us: int
    updated_at_us: int


class Target(NamedTuple):
    """What sending needs to know of a webhook."""

    id: str
    url: str
    secrets: tuple[str, ...]
    """Those in force, the newest first."""

    def __repr__(self) -> str:
        return f"Target(id={self.id!r})"


class Delivery(NamedTuple):
    """One line of the delivery log."""

    id: str
    webhook: str
    event: str
    """The `webhook-id` of the message."""
    type: str
    status: str
    attempts: int
    next_attempt_us: int | None
    attempted_at_us: int | None
    response_code: int | None
    error: str
    duration_ms: int | None
    created_at_us: int


_SHOWN = [WebhookRow.__table__.c[name] for name in Webhook._fields]
_LOG: Select[Any] = select(*(WebhookDeliveryRow.__table__.c[name] for name in Delivery._fields if name != "type"), WebhookEventRow.type).join(
    WebhookEventRow, WebhookEventRow.id == WebhookDeliveryRow.event
)


class WebhookStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def create(self, tenant: str, values: Mapping[str, Any], actor: Actor) -> tuple[Webhook, str]:
        """Stores a webhook (`url`, `description`, `events`, `enabled`) and returns it with its secret, which no other method gives out.
        Raises `Conflict` beyond the limit."""
        now, secret = self._clock.now_us(), make_secret()
        webhook = Webhook(new_id("wh", now), tenant, **values, disabled_reason="", created_at_us=now, updated_at_us=now)
        async with changing(self._engine) as connection:
            if await _total(connection, select(WebhookRow.id).where(WebhookRow.tenant == tenant)) >= MAX_WEBHOOKS:
                raise Conflict(f"There are {MAX_WEBHOOKS} webhooks already, which is the limit; delete one first.", details={"limit": MAX_WEBHOOKS})
            await connection.execute(insert(WebhookRow).values(**_stored(webhook._asdict()), secret=secret))
            await add_entries(connection, [_entry(actor, "created", webhook, {}, values)], now)
        return webhook, secret

    async def list(self, tenant: str, offset: int, limit: int) -> tuple[Sequence[Webhook], int]:
        """Part of a tenant's webhooks, oldest first, and how many there are."""
        query = select(*_SHOWN).where(WebhookRow.tenant == tenant)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query.order_by(WebhookRow.id).offset(offset).limit(limit))).mappings().all()
            return [_webhook(row) for row in rows], await _total(connection, query)

    async def get(self, tenant: str, webhook_id: str) -> Webhook | None:
        async with reading(self._engine) as connection:
            return await _one(connection, tenant, webhook_id)

    async def update(self, tenant: str, webhook_id: str, values: Mapping[str, Any], actor: Actor) -> Webhook | None:
        """Changes the fields given; None when there is no such webhook. Enabling forgets why it was disabled."""
        now = self._clock.now_us()
        async with changing(self._engine) as connection:
            before = await _one(connection, tenant, webhook_id)
            if before is None:
                return None
            wanted = {**values, "disabled_reason": ""} if values.get("enabled") else dict(values)
            changed = {name: value for name, value in wanted.items() if getattr(before, name) != value}
            if not changed:
                return before
            after = before._replace(**changed, updated_at_us=now)
            await connection.execute(update(WebhookRow).where(WebhookRow.id == webhook_id).values(**_stored({**changed, "updated_at_us": now})))
            old = {name: getattr(before, name) for name in changed}
            await add_entries(connection, [_entry(actor, "updated", after, old, changed)], now)
            return after

    async def remove(self, tenant: str, webhook_id: str, actor: Actor) -> bool:
        """Deletes a webhook and its log; what is under way may still arrive. False when there is none."""
        async with changing(self._engine) as connection:
            before = await _one(connection, tenant, webhook_id)
            if before is None:
                return False
            await connection.execute(delete(WebhookRow).where(WebhookRow.id == webhook_id))
            await add_entries(connection, [_entry(actor, "deleted", before, {"url": before.url}, {})], self._clock.now_us())
            return True

    async def rotate(self, tenant: str, webhook_id: str, actor: Actor) -> str | None:
        """Gives a webhook a new secret and returns it; for a day messages carry a signature of both. None when there is no such webhook."""
        now, secret = self._clock.now_us(), make_secret()
        async with changing(self._engine) as connection:
            before = await _one(connection, tenant, webhook_id)
            if before is None:
                return None
            values = {"previous_secret": WebhookRow.secret, "previous_until_us": now + OLD_SECRET_US, "secret": secret, "updated_at_us": now}
            await connection.execute(update(WebhookRow).where(WebhookRow.id == webhook_id).values(**values))
            await add_entries(connection, [_entry(actor, "secret_rotated", before, {}, {})], now)
            return secret

    async def target(self, tenant: str, webhook_id: str) -> Target | None:
        """What the test button needs to send."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(select(*TARGET).where(WebhookRow.tenant == tenant, WebhookRow.id == webhook_id))
            row = rows.mappings().first()
            return target_of(row, self._clock.now_us()) if row is not None else None

    async def log(self, tenant: str, webhook_id: str, status: str | None, offset: int, limit: int) -> tuple[Sequence[Delivery], int]:
        """Part of the deliveries of a webhook, newest first, and how many there are."""
        query = _LOG.where(WebhookEventRow.tenant == tenant, WebhookDeliveryRow.webhook == webhook_id)
        if status is not None:
            query = query.where(WebhookDeliveryRow.status == status)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query.order_by(WebhookDeliveryRow.id.desc()).offset(offset).limit(limit))).mappings().all()
            return [Delivery(**row) for row in rows], await _total(connection, query)

    async def retry(self, tenant: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        """Makes a delivery due now, whatever became of it before; None when there is no such delivery."""
        here: list[ColumnElement[bool]] = [WebhookDeliveryRow.id == delivery_id, WebhookDeliveryRow.webhook == webhook_id]
        async with changing(self._engine) as connection:
            row = (await connection.execute(_LOG.where(WebhookEventRow.tenant == tenant, *here))).mappings().first()
            if row is None:
                return None
            values = {"status": "pending", "next_attempt_us": self._clock.now_us()}
            await connection.execute(update(WebhookDeliveryRow).where(*here).values(**values))
            return Delivery(**{**row, **values})


TARGET = [WebhookRow.__table__.c[name] for name in ("id", "url", "secret", "previous_secret", "previous_until_us")]
"""The columns of a `Target`."""


def target_of(row: RowMapping, now_us: int) -> Target:
    """The target in a row that has the columns of `TARGET`."""
    old = row["previous_secret"] if row["previous_secret"] and (row["previous_until_us"] or 0) > now_us else None
    return Target(row["id"], row["url"], (row["secret"], old) if old else (row["secret"],))


def new_id(prefix: str, now_us: int) -> str:
    """An id that sorts by the time it was made."""
    return f"{prefix}_{uuid7(now_us).hex}"


async def _one(connection: AsyncConnection, tenant: str, webhook_id: str) -> Webhook | None:
    rows = await connection.execute(select(*_SHOWN).where(WebhookRow.tenant == tenant, WebhookRow.id == webhook_id))
    row = rows.mappings().first()
    return _webhook(row) if row is not None else None


async def _total(connection: AsyncConnection, query: Select[Any]) -> int:
    return int((await connection.execute(select(func.count()).select_from(query.order_by(None).subquery()))).scalar_one())


def _webhook(row: RowMapping) -> Webhook:
    return Webhook(**{**row, "events": tuple(json.loads(row["events"]))})


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, "events": json.dumps(values["events"])} if "events" in values else dict(values)


def _entry(actor: Actor, done: str, webhook: Webhook, before: Mapping[str, Any], after: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(webhook.tenant, actor, f"webhook.{done}", "webhook", webhook.id, before, after)
