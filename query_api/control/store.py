"""The control store: definitions and the outbox, the only SQL over it.

Every change writes the definition and its outbox row in one transaction, so what was answered as done will reach the
control topic, and nothing reaches it that was not done.
"""

import base64
import binascii
import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import RowMapping, delete, func, insert, select, text, tuple_, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.errors import Conflict, InvalidArgument
from query_api.control import migrate
from query_api.control.audit import AuditEntry, AuditFilter, AuditRecord, add_entries, count_entries, record_of, select_entries
from query_api.control.engine import make_engine, unavailable, writing
from query_api.control.local_file import local_file
from query_api.control.models import DefinitionRow, OutboxRow
from schemas.definition_kinds import ControlRecord

Records = list[ControlRecord]
"""Named, because `ControlStore.list` hides the type within the class."""
Versions = list[int]
Payloads = Sequence[str]

_FIELDS = ("kind", "tenant", "id", "version", "deleted", "payload", "updated_at_us")
_COLUMNS = [DefinitionRow.__table__.c[name] for name in _FIELDS]
_OUTBOX_COLUMNS = [OutboxRow.__table__.c[name] for name in _FIELDS]
_INSERT_ATTEMPTS = 5


class Draft(NamedTuple):
    """A change to make."""

    kind: str
    tenant: str
    id: str
    payload: str | None
    """Canonical JSON; None deletes."""
    expected: int | None = None
    """Version the change was made from (0: not there yet); None takes whatever is stored."""


class Outdated(Conflict):
    """The stored version is another one than the change was made from."""


class Page(NamedTuple):
    """Part of a list."""

    records: list[ControlRecord]
    cursor: str | None
    """Where the next part begins; None at the end."""


class Waiting(NamedTuple):
    """A change that is not on the control topic yet."""

    seq: int
    record: ControlRecord


Backlog = list[Waiting]


class AuditPage(NamedTuple):
    """Part of the audit log."""

    records: list[AuditRecord]
    total: int
    """How many lines the filter lets through."""


class ControlStore:
    """Every method is one transaction. Raises `Unavailable` when the database cannot be reached."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self.engine = make_engine(url)
        self._file = local_file(url)
        self._clock = clock or SystemClock()

    async def migrate(self) -> None:
        """Brings the tables to the version of this program. Safe to call at every start and from several processes."""
        try:
            await migrate.upgrade(self.engine)
        except (DBAPIError, OSError) as error:
            raise unavailable(error) from error

    def commits(self) -> object:
        """Equal to what it was only when nothing was committed in between, so that whoever polls a local file asks it nothing for nothing. Call from the
        thread of the loop. Never equal for a store that is no file."""
        if self._file is not None:
            with contextlib.suppress(sqlite3.Error):
                return self._file.commits()
        return object()

    async def close(self) -> None:
        if self._file is not None:
            self._file.close()
        await self.engine.dispose()

    async def put(self, kind: str, tenant: str, id: str, payload: str, *, expected: int | None = None) -> int:
        """Stores a definition and returns its version. The payload that is stored already keeps its version.

        Raises `Conflict` when `expected` is given and is not the stored version."""
        return (await self.write([Draft(kind, tenant, id, payload, expected)]))[0]

    async def delete(self, kind: str, tenant: str, id: str) -> bool:
        """Removes a definition; False when there is none."""
        before = await self.get(kind, tenant, id)
        await self.write([Draft(kind, tenant, id, None)])
        return before is not None

    async def write(self, drafts: Sequence[Draft], audit: Sequence[AuditEntry] = (), forbidden: Callable[[Payloads], None] | None = None) -> Versions:
        """All changes and their lines in the audit log, or none; returns the version of each change (0 where nothing was there to delete).

        `forbidden` gets every definition of the first change's kind and tenant, which stay as they are until the changes are stored, and raises
        what speaks against them."""
        for attempt in range(_INSERT_ATTEMPTS):
            try:
                async with writing(self.engine) as connection:
                    if forbidden is not None:
                        forbidden(await self._held(connection, drafts[0]))
                    versions = [await self._write_one(connection, draft) for draft in drafts]
                    if audit:
                        await add_entries(connection, audit, self._clock.now_us())
                    return versions
            except IntegrityError as error:
                # Two processes saw the definition missing and both inserted it: the loser looks again.
                if attempt == _INSERT_ATTEMPTS - 1:
                    raise Conflict("The same definitions are being written by somebody else; try again.") from error
            except (DBAPIError, OSError) as error:
                raise unavailable(error) from error
        raise AssertionError("unreachable")

    async def get(self, kind: str, tenant: str, id: str) -> ControlRecord | None:
        """The definition, None when it is not there or was deleted."""
        if self._file is not None:
            try:
                return self._file.get(kind, tenant, id)
            except sqlite3.Error:
                # The engine waits where it has to, and says what is wrong.
                pass
        query = select(*_COLUMNS).where(DefinitionRow.kind == kind, DefinitionRow.tenant == tenant, DefinitionRow.id == id, DefinitionRow.deleted.is_(False))
        rows = await self._read(query)
        return _record(rows[0]) if rows else None

    async def list(self, kind: str, tenant: str | None = None, cursor: str | None = None, limit: int = 100) -> Page:
        """Definitions of a kind by tenant and id, of all tenants when `tenant` is None. Raises `InvalidArgument` for a
        cursor that did not come from here."""
        query = select(*_COLUMNS).where(DefinitionRow.kind == kind, DefinitionRow.deleted.is_(False))
        if tenant is not None:
            query = query.where(DefinitionRow.tenant == tenant)
        if cursor is not None:
            query = query.where(tuple_(DefinitionRow.tenant, DefinitionRow.id) > tuple_(*_read_cursor(cursor)))
        rows = await self._read(query.order_by(DefinitionRow.tenant, DefinitionRow.id).limit(limit + 1))
        records = [_record(row) for row in rows[:limit]]
        return Page(records, _make_cursor(records[-1]) if len(rows) > limit and records else None)

    async def every(self, kind: str, tenant: str | None = None) -> Records:
        """All definitions of a kind; for kinds of which there are few."""
        records: Records = []
        page = await self.list(kind, tenant, limit=1_000)
        records += page.records
        while page.cursor is not None:
            page = await self.list(kind, tenant, page.cursor, limit=1_000)
            records += page.records
        return records

    async def audit_log(self, tenant: str, wanted: AuditFilter, offset: int = 0, limit: int = 100) -> AuditPage:
        """Lines of a tenant's audit log, newest first."""
        rows = await self._read(select_entries(tenant, wanted, offset, limit))
        total = (await self._read(count_entries(tenant, wanted)))[0]["total"]
        return AuditPage([record_of(row) for row in rows], total)

    async def unpublished(self, limit: int = 100) -> Backlog:
        """The changes that wait for the control topic, oldest first."""
        query = select(OutboxRow.seq, *_OUTBOX_COLUMNS).where(OutboxRow.published_at_us.is_(None)).order_by(OutboxRow.seq).limit(limit)
        return [Waiting(row["seq"], _record(row)) for row in await self._read(query)]

    async def waiting(self) -> int:
        """How many changes wait for the control topic."""
        rows = await self._read(select(func.count().label("waiting")).select_from(OutboxRow).where(OutboxRow.published_at_us.is_(None)))
        return int(rows[0]["waiting"])

    async def mark_published(self, seqs: Iterable[int]) -> None:
        """Notes that the broker acknowledged these changes. Idempotent."""
        wanted = sorted(seqs)
        if wanted:
            await self._change(update(OutboxRow).where(OutboxRow.seq.in_(wanted)).values(published_at_us=self._clock.now_us()))

    async def forget_published(self, before_us: int) -> None:
        """Drops outbox rows that were published before a time; the definitions themselves stay."""
        await self._change(delete(OutboxRow).where(OutboxRow.published_at_us < before_us))

    async def requeue_all(self) -> int:
        """Queues the newest version of everything, deletions included, for a control topic that lost its records.

        Replaces what was waiting (it is part of everything), so calling it again queues nothing twice."""
        async with writing(self.engine) as connection:
            await connection.execute(delete(OutboxRow).where(OutboxRow.published_at_us.is_(None)))
            everything = select(*_COLUMNS).order_by(DefinitionRow.updated_at_us, DefinitionRow.kind, DefinitionRow.tenant, DefinitionRow.id)
            done = await connection.execute(insert(OutboxRow).from_select([*_FIELDS], everything))
            return done.rowcount

    @staticmethod
    async def _held(connection: AsyncConnection, draft: Draft) -> Payloads:
        if connection.dialect.name == "postgresql":
            # Other writers wait until the commit, as they always do on SQLite.
            await connection.execute(text("LOCK TABLE definitions IN SHARE ROW EXCLUSIVE MODE"))
        of_kind = (DefinitionRow.kind == draft.kind, DefinitionRow.tenant == draft.tenant, DefinitionRow.deleted.is_(False))
        return (await connection.execute(select(DefinitionRow.payload).where(*of_kind))).scalars().all()

    async def _write_one(self, connection: AsyncConnection, draft: Draft) -> int:
        here = (DefinitionRow.kind == draft.kind, DefinitionRow.tenant == draft.tenant, DefinitionRow.id == draft.id)
        # FOR UPDATE (ignored by SQLite, where the whole transaction holds the write lock) makes writers of one
        # definition wait for each other, so that its outbox rows stand in the order of its versions.
        row = (await connection.execute(select(*_COLUMNS).where(*here).with_for_update())).mappings().first()
        stored = _record(row) if row is not None else None
        version = stored.version if stored else 0
        live_version = stored.version if stored and not stored.deleted else 0
        if draft.expected is not None and draft.expected != live_version:
            raise Outdated(
                f"{draft.kind} {draft.id!r} is at version {live_version}, not {draft.expected}: read it again and repeat the change.",
                details={"version": live_version},
            )
        deleted, payload = draft.payload is None, draft.payload or ""
        if stored is None and deleted:
            return 0
        if stored is not None and (stored.deleted, stored.payload) == (deleted, payload):
            return version
        values: dict[str, Any] = {"version": version + 1, "payload": payload, "deleted": deleted, "updated_at_us": self._clock.now_us()}
        address = {"kind": draft.kind, "tenant": draft.tenant, "id": draft.id}
        if stored is None:
            await connection.execute(insert(DefinitionRow).values(**address, **values))
        else:
            await connection.execute(update(DefinitionRow).where(*here).values(**values))
        await connection.execute(insert(OutboxRow).values(**address, **values))
        return version + 1

    async def _read(self, query: Any) -> Sequence[RowMapping]:
        try:
            async with self.engine.connect() as connection:
                return (await connection.execute(query)).mappings().all()
        except (DBAPIError, OSError) as error:
            raise unavailable(error) from error

    async def _change(self, statement: Any) -> None:
        try:
            async with writing(self.engine) as connection:
                await connection.execute(statement)
        except (DBAPIError, OSError) as error:
            raise unavailable(error) from error


def _record(row: RowMapping) -> ControlRecord:
    return ControlRecord(**{name: row[name] for name in _FIELDS})


def _make_cursor(record: ControlRecord) -> str:
    return base64.urlsafe_b64encode(json.dumps([record.tenant, record.id]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        tenant, name = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, binascii.Error) as error:
        raise InvalidArgument("The cursor is not one that a list returned; leave it out to start at the beginning.") from error
    return str(tenant), str(name)
