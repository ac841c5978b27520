"""From a change to its deliveries: what has to be sent, and what became of it.

Events are made from the audit log, which is written in the transaction of the change and whose lines appear in the order of their
numbers. Turning lines into events and moving on in the log is one transaction too, so an event is neither lost nor made twice,
whenever the process dies.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, RowMapping, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.runtime.clock import Clock
from query_api.control.engine import changing, reading
from query_api.control.models import (
    AuditRow,
    CrossedThresholdRow,
    DefinitionRow,
    SignificantRow,
    WebhookDeliveryRow,
    WebhookEventRow,
    WebhookProgressRow,
    WebhookRow,
)
from query_api.control.webhooks import TARGET, Delivery, Target, new_id, target_of
from schemas.webhook_events import body_of, event_of

LINES = 500
"""Lines of the audit log per transaction."""

_AUDIT = [
    AuditRow.__table__.c[name] for name in ("seq", "at_us", "tenant", "key_id", "key_name", "user_id", "action", "kind", "id", "before", "after", "evidence")
]
_TOLD_KINDS = ("experiment", "flag")


class Message(NamedTuple):
    """What a delivery sends."""

    event: str
    """The `webhook-id`."""
    body: str


class Due(NamedTuple):
    """A delivery whose time has come."""

    id: str
    attempts: int
    """Made before this one."""
    target: Target
    message: Message


class Ended(NamedTuple):
    """What became of an attempt."""

    status: str
    """pending, delivered or failed."""
    next_attempt_us: int | None
    response_code: int | None
    error: str
    duration_ms: int


class WebhookQueue:
    """For one process at a time, the leader (`tested`, `significant` and the thresholds for any). Every method is one transaction and raises `Unavailable` without the database."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def take_changes(self) -> bool:
        """Turns the next lines of the audit log into events and deliveries; True when there may be more."""
        place = select(WebhookProgressRow.audit_seq)
        async with reading(self._engine) as connection:
            newest = (await connection.execute(select(func.max(AuditRow.seq)))).scalar_one() or 0
            if newest <= ((await connection.execute(place)).scalar_one_or_none() or 0):
                return False
        async with changing(self._engine) as connection:
            reached = (await connection.execute(place.with_for_update())).scalar_one_or_none()
            lines = select(*_AUDIT).where(AuditRow.seq > (reached or 0)).order_by(AuditRow.seq).limit(LINES)
            rows = (await connection.execute(lines)).mappings().all()
            for row in rows:
                await self._tell(connection, row)
            if rows and reached is None:
                await connection.execute(insert(WebhookProgressRow).values(name="events", audit_seq=rows[-1]["seq"]))
            elif rows:
                await connection.execute(update(WebhookProgressRow).values(audit_seq=rows[-1]["seq"]))
        return len(rows) == LINES

    async def significant(self, tenant: str, experiment: str, metric: str, variant: str, data: Mapping[str, Any]) -> bool:
        """Announces, the first time it is called for these four, that a result became significant; False every other time."""
        now = self._clock.now_us()
        place = {"tenant": tenant, "experiment": experiment, "metric": metric, "variant": variant}
        async with changing(self._engine) as connection:
            here = [SignificantRow.__table__.c[name] == value for name, value in place.items()]
            if (await connection.execute(select(SignificantRow.at_us).where(*here))).first() is not None:
                return False
            await connection.execute(insert(SignificantRow).values(**place, at_us=now))
            await self._send(connection, tenant, "experiment.significant", data, now, None)
            return True

    async def announced(self) -> set[tuple[str, str, str, str]]:
        """What `significant` was called for: tenant, experiment, metric, variant."""
        query = select(SignificantRow.tenant, SignificantRow.experiment, SignificantRow.metric, SignificantRow.variant)
        async with reading(self._engine) as connection:
            return {(row[0], row[1], row[2], row[3]) for row in (await connection.execute(query)).all()}

    async def threshold_crossed(self, tenant: str, rule: str, alert: str, data: Mapping[str, Any]) -> bool:
        """Announces that a threshold was crossed, unless it was announced and has not recovered since; False then."""
        now = self._clock.now_us()
        async with changing(self._engine) as connection:
            if (await connection.execute(select(CrossedThresholdRow.at_us).where(*_threshold(tenant, rule, alert)))).first() is not None:
                return False
            await connection.execute(insert(CrossedThresholdRow).values(tenant=tenant, rule=rule, alert=alert, at_us=now))
            await self._send(connection, tenant, "evaluation.threshold_crossed", data, now, None)
            return True

    async def threshold_recovered(self, tenant: str, rule: str, alert: str) -> None:
        """The next crossing is announced again."""
        async with changing(self._engine) as connection:
            await connection.execute(delete(CrossedThresholdRow).where(*_threshold(tenant, rule, alert)))

    async def crossed(self) -> set[tuple[str, str, str]]:
        """The thresholds that were announced and have not recovered: tenant, rule, alert."""
        async with reading(self._engine) as connection:
            found = await connection.execute(select(CrossedThresholdRow.tenant, CrossedThresholdRow.rule, CrossedThresholdRow.alert))
            return {(row[0], row[1], row[2]) for row in found.all()}

    async def due(self, limit: int, each: int, under_way: Collection[str]) -> Sequence[Due]:
        """Deliveries whose time has come and that are not under way, the longest waiting first; at most `each` of one webhook."""
        now = self._clock.now_us()
        ranked = (
            select(
                WebhookDeliveryRow, func.row_number().over(partition_by=WebhookDeliveryRow.webhook, order_by=WebhookDeliveryRow.next_attempt_us).label("rank")
            )
            .where(WebhookDeliveryRow.next_attempt_us <= now)
            .subquery()
        )
        query = (
            select(ranked.c.id.label("delivery"), ranked.c.attempts, WebhookEventRow.id.label("event"), WebhookEventRow.body, *TARGET)
            .join(WebhookEventRow, WebhookEventRow.id == ranked.c.event)
            .join(WebhookRow, WebhookRow.id == ranked.c.webhook)
            .where(ranked.c.rank <= each, WebhookRow.enabled.is_(True))
            .order_by(ranked.c.next_attempt_us)
            .limit(limit + len(under_way))
        )
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings().all()
        waiting = [row for row in rows if row["delivery"] not in under_way][:limit]
        return [Due(row["delivery"], row["attempts"], target_of(row, now), Message(row["event"], row["body"])) for row in waiting]

    async def next_attempt_us(self) -> int | None:
        """When the next delivery is due that waits for its time; None when none waits."""
        async with reading(self._engine) as connection:
            return (await connection.execute(select(func.min(WebhookDeliveryRow.next_attempt_us)))).scalar_one()

    async def end(self, due: Due, ended: Ended, disable: str = "") -> None:
        """Notes what became of an attempt; with `disable`, also disables the webhook for this reason."""
        now = self._clock.now_us()
        async with changing(self._engine) as connection:
            here = WebhookDeliveryRow.id == due.id
            await connection.execute(update(WebhookDeliveryRow).where(here).values(**ended._asdict(), attempts=due.attempts + 1, attempted_at_us=now))
            if disable:
                values = {"enabled": False, "disabled_reason": disable, "updated_at_us": now}
                await connection.execute(update(WebhookRow).where(WebhookRow.id == due.target.id).values(**values))

    async def tested(self, tenant: str, webhook_id: str, message: Message, type: str, ended: Ended) -> Delivery:
        """Puts a test into the log."""
        now = self._clock.now_us()
        outcome = ended._asdict()
        delivery = Delivery(new_id("dlv", now), webhook_id, message.event, type, attempts=1, attempted_at_us=now, created_at_us=now, **outcome)
        values = {name: value for name, value in delivery._asdict().items() if name != "type"}
        async with changing(self._engine) as connection:
            await connection.execute(insert(WebhookEventRow).values(id=message.event, tenant=tenant, type=type, body=message.body, at_us=now))
            await connection.execute(insert(WebhookDeliveryRow).values(**values))
        return delivery

    async def forget(self, before_us: int) -> None:
        """Drops events from before a time with their deliveries, unless one still waits."""
        waiting = select(WebhookDeliveryRow.event).where(WebhookDeliveryRow.next_attempt_us.is_not(None))
        async with changing(self._engine) as connection:
            await connection.execute(delete(WebhookEventRow).where(WebhookEventRow.at_us < before_us, WebhookEventRow.id.not_in(waiting)))

    async def _tell(self, connection: AsyncConnection, row: RowMapping) -> None:
        before, after = json.loads(row["before"]), json.loads(row["after"])
        event = event_of(row["kind"], row["action"], before, after) if row["kind"] in _TOLD_KINDS else None
        if event is None:
            return
        here = (DefinitionRow.kind == row["kind"], DefinitionRow.tenant == row["tenant"], DefinitionRow.id == row["id"])
        payload = (await connection.execute(select(DefinitionRow.payload).where(*here))).scalar_one_or_none()
        await self._send(connection, row["tenant"], event, _data(row, before, after, json.loads(payload or "{}")), row["at_us"], row["seq"])

    async def _send(self, connection: AsyncConnection, tenant: str, event: str, data: Mapping[str, Any], at_us: int, audit_seq: int | None) -> None:
        """The event and a delivery to every webhook that was there when it happened and wants it."""
        wanted = select(WebhookRow.id, WebhookRow.events).where(WebhookRow.tenant == tenant, WebhookRow.enabled.is_(True), WebhookRow.created_at_us <= at_us)
        webhooks = [name for name, events in (await connection.execute(wanted)).all() if _wants(json.loads(events), event)]
        if not webhooks:
            return
        now = self._clock.now_us()
        message = new_id("msg", at_us)
        values = {"id": message, "tenant": tenant, "type": event, "body": body_of(event, at_us, data), "at_us": at_us, "audit_seq": audit_seq}
        await connection.execute(insert(WebhookEventRow).values(**values))
        fresh = {"event": message, "status": "pending", "attempts": 0, "next_attempt_us": now, "error": "", "created_at_us": now}
        await connection.execute(insert(WebhookDeliveryRow), [{"id": new_id("dlv", now), "webhook": webhook, **fresh} for webhook in webhooks])


def _threshold(tenant: str, rule: str, alert: str) -> tuple[ColumnElement[bool], ...]:
    return (CrossedThresholdRow.tenant == tenant, CrossedThresholdRow.rule == rule, CrossedThresholdRow.alert == alert)


def _wants(events: Iterable[str], event: str) -> bool:
    chosen = set(events)
    return not chosen or event in chosen


def _data(row: RowMapping, before: Mapping[str, Any], after: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says of a change: which thing, its state after it, and who did it."""
    by = {"key_id": row["key_id"], "key_name": row["key_name"], "user_id": row["user_id"]}
    if row["kind"] == "flag":
        return {"flag_id": row["id"], "key": now.get("key", ""), "name": now.get("name", ""), "enabled": after["enabled"], "changed_by": by}
    state = {name: after.get(name, now.get(name)) for name in ("status", "rolled_back")}
    data = {"experiment_id": row["id"], "name": now.get("name", ""), "status": str(state["status"] or "").upper(), "rolled_back": bool(state["rolled_back"])}
    if "status" in before:
        data["previous_status"] = str(before["status"]).upper()
    evidence = {"evidence": json.loads(row["evidence"])} if row["evidence"] else {}
    return {**data, **evidence, "changed_by": by}
