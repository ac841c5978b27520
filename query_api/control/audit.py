"""The audit log: who changed what. Written in the transaction of the change, and never changed afterwards."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, RowMapping, Select, func, insert, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from query_api.control.models import AuditRow
from schemas.definition_kinds import Definition, kind_of

_HIDDEN = ("sha256", "secret")
"""Fields whose values no log may show."""
_BESIDE = ("updated_at",)
"""Fields that only follow others."""
_MASK = "(hidden)"
_LOCK = 0x6D696C6C61756474
"""Number of the PostgreSQL advisory lock that writers of the log hold until they commit."""


class Actor(NamedTuple):
    """Who made a change. Empty where it does not apply: a key may belong to no user, and a part of the platform has no key."""

    key_id: str
    key_name: str = ""
    user_id: str = ""


class AuditEntry(NamedTuple):
    """One change, as it is handed to `ControlStore.write`."""

    tenant: str
    actor: Actor
    action: str
    """`<kind>.<what was done>`, in the past: `experiment.started`, `flag.toggled`, `key.revoked`."""
    kind: str
    id: str
    before: Mapping[str, Any]
    """The changed fields as they were; empty for something new."""
    after: Mapping[str, Any]
    """The same fields as they are now; empty for something removed."""
    evidence: Mapping[str, Any] | None = None
    """JSON-able facts that led to the change, of one that nobody asked for."""


class AuditRecord(NamedTuple):
    """One line of the log."""

    seq: int
    """Rises with every line."""
    at_us: int
    entry: AuditEntry


class AuditFilter(NamedTuple):
    """Which lines a reader wants; None takes all."""

    kind: str | None = None
    id: str | None = None
    actor: str | None = None
    """Id of a key or of a user."""
    action: str | None = None


def audited(actor: Actor, action: str, before: Definition | None, after: Definition | None, evidence: Mapping[str, Any] | None = None) -> AuditEntry:
    """The entry for a definition that came (`before` None), changed or went (`after` None): only fields that differ, secrets masked."""
    subject = after if after is not None else before
    assert subject is not None
    old, new = _changes(before, after)
    return AuditEntry(subject.tenant, actor, action, kind_of(subject), subject.id, old, new, evidence)


async def add_entries(connection: AsyncConnection, entries: Sequence[AuditEntry], now_us: int) -> None:
    """Writes the entries, in their order. Whoever has seen a line has seen, or can see, every line with a smaller number."""
    if connection.dialect.name == "postgresql":
        # Numbers are given before the commit: without waiting for each other, a smaller one could appear after a greater one.
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    await connection.execute(
        insert(AuditRow).values(
            [
                {
                    "at_us": now_us,
                    "tenant": entry.tenant,
                    **entry.actor._asdict(),
                    "action": entry.action,
                    "kind": entry.kind,
                    "id": entry.id,
                    "before": _text(entry.before),
                    "after": _text(entry.after),
                    "evidence": None if entry.evidence is None else _text(entry.evidence),
                }
                for entry in entries
            ]
        )
    )


def select_entries(tenant: str, wanted: AuditFilter, offset: int, limit: int) -> Select[Any]:
    """The statement that reads lines of a tenant, newest first."""
    return select(*AuditRow.__table__.columns).where(*_where(tenant, wanted)).order_by(AuditRow.seq.desc()).offset(offset).limit(limit)


def count_entries(tenant: str, wanted: AuditFilter) -> Select[Any]:
    """The statement that counts them, as `total`."""
    return select(func.count().label("total")).select_from(AuditRow).where(*_where(tenant, wanted))


def record_of(row: RowMapping) -> AuditRecord:
    """One row read."""
    evidence = None if row["evidence"] is None else json.loads(row["evidence"])
    actor = Actor(row["key_id"], row["key_name"], row["user_id"])
    before, after = json.loads(row["before"]), json.loads(row["after"])
    return AuditRecord(row["seq"], row["at_us"], AuditEntry(row["tenant"], actor, row["action"], row["kind"], row["id"], before, after, evidence))


def _changes(before: Definition | None, after: Definition | None) -> tuple[dict[str, Any], dict[str, Any]]:
    old: dict[str, Any] = msgspec.to_builtins(before) if before is not None else {}
    new: dict[str, Any] = msgspec.to_builtins(after) if after is not None else {}
    differing = [name for name in {**old, **new} if name not in _BESIDE and (name not in old or name not in new or old[name] != new[name])]
    return _picked(old, differing), _picked(new, differing)


def _picked(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: _MASK if name in _HIDDEN and values[name] else values[name] for name in names if name in values}


def _where(tenant: str, wanted: AuditFilter) -> list[ColumnElement[bool]]:
    conditions = [AuditRow.tenant == tenant]
    if wanted.kind is not None:
        conditions.append(AuditRow.kind == wanted.kind)
    if wanted.id is not None:
        conditions.append(AuditRow.id == wanted.id)
    if wanted.action is not None:
        conditions.append(AuditRow.action == wanted.action)
    if wanted.actor is not None:
        conditions.append(or_(AuditRow.key_id == wanted.actor, AuditRow.user_id == wanted.actor))
    return conditions


def _text(values: Mapping[str, Any]) -> str:
    return msgspec.json.encode(values).decode()
