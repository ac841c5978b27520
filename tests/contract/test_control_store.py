"""One suite for the control store on every database it runs on."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from infra.runtime.errors import Conflict, InvalidArgument, Unavailable
from query_api.control import migrate
from query_api.control.audit import Actor, AuditFilter, add_entries, audited
from query_api.control.engine import writing
from query_api.control.leadership import Leadership
from query_api.control.models import Base
from query_api.control.store import ControlStore, Draft
from schemas.definition_kinds import Key, Metric, encode_definition
from tests.support import eventually


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata))


def _tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_migrations_go_up_and_down_twice_and_match_the_models(store: ControlStore) -> None:
    for _ in range(2):
        await migrate.downgrade(store.engine, "base")
        async with store.engine.connect() as connection:
            assert await connection.run_sync(_tables) == {"alembic_version"}
        await store.migrate()
        await store.migrate()
        async with store.engine.connect() as connection:
            assert await connection.run_sync(_differences) == []


async def test_migrating_from_two_stores_at_once_is_safe(database: str, store: ControlStore) -> None:
    await migrate.downgrade(store.engine, "base")
    other = ControlStore(database)
    await asyncio.gather(store.migrate(), other.migrate())
    await other.close()
    assert await store.put("metric", "t", "m", "{}") == 1


async def test_versions_rise_only_with_changes(store: ControlStore) -> None:
    assert await store.put("metric", "t", "m", '{"a":1}') == 1
    assert await store.put("metric", "t", "m", '{"a":1}') == 1
    assert await store.put("metric", "t", "m", '{"a":2}') == 2
    assert await store.delete("metric", "t", "m")
    assert not await store.delete("metric", "t", "m")
    assert await store.get("metric", "t", "m") is None
    assert await store.put("metric", "t", "m", '{"a":2}') == 4
    waiting = await store.unpublished()
    assert [(each.record.version, each.record.deleted, each.record.payload) for each in waiting] == [
        (1, False, '{"a":1}'),
        (2, False, '{"a":2}'),
        (3, True, ""),
        (4, False, '{"a":2}'),
    ]
    found = await store.get("metric", "t", "m")
    assert found == waiting[-1].record


async def test_a_change_made_from_an_old_version_is_a_conflict(store: ControlStore) -> None:
    assert await store.put("metric", "t", "m", "{}", expected=0) == 1
    with pytest.raises(Conflict, match="at version 1, not 0"):
        await store.put("metric", "t", "m", '{"a":1}', expected=0)
    assert await store.put("metric", "t", "m", '{"a":1}', expected=1) == 2


async def test_several_changes_are_made_together_or_not_at_all(store: ControlStore) -> None:
    with pytest.raises(Conflict):
        await store.write([Draft("metric", "t", "a", "{}"), Draft("metric", "t", "b", "{}", expected=7)])
    assert await store.get("metric", "t", "a") is None and await store.unpublished() == []
    assert await store.write([Draft("metric", "t", "a", "{}"), Draft("metric", "t", "never", None)]) == [1, 0]


async def test_lists_are_cut_into_pages_per_tenant(store: ControlStore) -> None:
    for tenant in ("t2", "t1"):
        for number in range(5):
            await store.put("metric", tenant, f"m{number}", "{}")
    await store.delete("metric", "t1", "m1")
    await store.put("experiment", "t1", "e", "{}")
    first = await store.list("metric", "t1", limit=3)
    assert [record.id for record in first.records] == ["m0", "m2", "m3"] and first.cursor is not None
    rest = await store.list("metric", "t1", first.cursor, limit=3)
    assert [record.id for record in rest.records] == ["m4"] and rest.cursor is None
    assert [(record.tenant, record.id) for record in await store.every("metric")][:5] == [("t1", "m0"), ("t1", "m2"), ("t1", "m3"), ("t1", "m4"), ("t2", "m0")]
    with pytest.raises(InvalidArgument, match="cursor"):
        await store.list("metric", "t1", "rubbish")


async def test_writers_at_the_same_time_lose_nothing_and_keep_the_order(database: str, store: ControlStore) -> None:
    stores = [store, ControlStore(database)]
    await asyncio.gather(*(stores[number % 2].put("metric", "t", f"m{number % 3}", f'{{"n":{number}}}') for number in range(30)))
    await stores[1].close()
    waiting = await store.unpublished(100)
    assert len(waiting) == 30
    for name in ("m0", "m1", "m2"):
        assert [each.record.version for each in waiting if each.record.id == name] == list(range(1, 11))


async def test_published_changes_wait_no_longer(store: ControlStore) -> None:
    for number in range(3):
        await store.put("metric", "t", f"m{number}", "{}")
    first, second, third = await store.unpublished()
    await store.mark_published([first.seq, second.seq])
    await store.mark_published([first.seq])
    assert await store.unpublished() == [third] and await store.waiting() == 1
    await store.forget_published(2**62)
    assert await store.unpublished() == [third] and len(await store.every("metric")) == 3


async def test_requeue_queues_the_newest_of_everything_once(store: ControlStore) -> None:
    await store.put("metric", "t", "a", '{"n":1}')
    await store.put("metric", "t", "a", '{"n":2}')
    await store.put("metric", "t", "gone", "{}")
    await store.mark_published(each.seq for each in await store.unpublished())
    await store.delete("metric", "t", "gone")
    assert await store.requeue_all() == 2 and await store.requeue_all() == 2
    assert {(each.record.id, each.record.version, each.record.deleted) for each in await store.unpublished()} == {("a", 2, False), ("gone", 2, True)}


async def test_only_one_process_publishes_until_it_lets_go(database: str, store: ControlStore) -> None:
    other = ControlStore(database)
    one, two = Leadership(store.engine), Leadership(other.engine)
    try:
        assert await one.held() and await one.held()
        assert not await two.held()
        await one.release()
        assert await two.held() and not await one.held()
    finally:
        await one.release()
        await two.release()
        await other.close()


async def test_a_database_out_of_reach_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "control.sqlite3").mkdir()
    for url in (f"sqlite+aiosqlite:///{tmp_path}/control.sqlite3", "postgresql+asyncpg://nobody@127.0.0.1:1/nothing"):
        store = ControlStore(url)
        with pytest.raises(Unavailable):
            await store.migrate()
        with pytest.raises(Unavailable):
            await store.put("metric", "t", "m", "{}")
        await store.close()


async def test_sqlite_keeps_what_was_committed(tmp_path: Path) -> None:
    store = ControlStore(f"sqlite+aiosqlite:///{tmp_path}/control.sqlite3")
    async with store.engine.connect() as connection:
        values = [(await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one() for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")]
    await store.close()
    assert values == ["wal", 2, 1, 5_000]


ACTOR = Actor("k1", "ci", "usr_1")


async def test_a_change_and_its_audit_line_are_written_together_or_not_at_all(store: ControlStore) -> None:
    before, after = Metric(tenant="audited", id="m", event_type="buy"), Metric(tenant="audited", id="m", event_type="pay")
    created, updated = audited(ACTOR, "metric.created", None, before), audited(ACTOR, "metric.updated", before, after, {"p": 0.01})
    await store.write([Draft("metric", "audited", "m", encode_definition(before), 0)], [created])
    await store.write([Draft("metric", "audited", "m", encode_definition(after), 1)], [updated])
    with pytest.raises(Conflict):
        await store.write([Draft("metric", "audited", "m", encode_definition(before), 1)], [updated])
    log = await store.audit_log("audited", AuditFilter())
    assert log.total == 2 and [line.entry.action for line in log.records] == ["metric.updated", "metric.created"]
    newest = log.records[0].entry
    assert newest == updated and (newest.before, newest.after, newest.evidence) == ({"event_type": "buy"}, {"event_type": "pay"}, {"p": 0.01})
    for wanted in (AuditFilter(kind="metric", id="m"), AuditFilter(actor="k1"), AuditFilter(actor="usr_1")):
        assert (await store.audit_log("audited", wanted)).total == 2
    for wanted in (AuditFilter(kind="flag"), AuditFilter(id="other"), AuditFilter(actor="k2")):
        assert (await store.audit_log("audited", wanted)).total == 0
    assert (await store.audit_log("audited", AuditFilter(action="metric.created"), 0, 1)).records[0].entry.action == "metric.created"
    assert (await store.audit_log("other", AuditFilter())).total == 0


async def test_the_audit_log_can_only_be_added_to(store: ControlStore) -> None:
    await store.write([], [audited(ACTOR, "metric.created", None, Metric(tenant="kept", id="m", event_type="buy"))])
    for statement in ("UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log"):
        with pytest.raises(DBAPIError, match="can only be added to"):
            async with store.engine.begin() as connection:
                await connection.execute(text(statement))
    assert (await store.audit_log("kept", AuditFilter())).records[0].entry.action == "metric.created"


async def test_lines_appear_in_the_order_of_their_numbers(database: str, store: ControlStore) -> None:
    if not database.startswith("postgresql"):
        pytest.skip("SQLite has one writer at a time")
    metric = Metric(tenant="ordered", id="m", event_type="buy")
    async with store.engine.connect() as slow:
        async with slow.begin():
            await add_entries(slow, [audited(ACTOR, "metric.slow", None, metric)], 1)
            fast = asyncio.create_task(store.write([], [audited(ACTOR, "metric.fast", None, metric)]))

            async def waits() -> bool:
                async with store.engine.connect() as watcher:
                    query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                    return bool((await watcher.execute(query)).scalar_one() == 1)

            await eventually(waits)
        await fast
    assert [line.entry.action for line in (await store.audit_log("ordered", AuditFilter())).records] == ["metric.fast", "metric.slow"]


def test_an_audit_line_hides_secrets() -> None:
    key = Key(tenant="t", id="k", name="k", sha256="a" * 64)
    entry = audited(ACTOR, "key.created", None, key)
    assert entry.after["sha256"] == "(hidden)" and key.sha256 not in repr(entry) and entry.before == {}


async def test_what_forbids_a_change_is_looked_at_with_all_others_waiting(store: ControlStore) -> None:
    """Of ten definitions that may only be alone, written side by side, one is."""

    def alone(others: Sequence[str]) -> None:
        if others:
            raise Conflict("there is another one")

    drafts = [Draft("user", "alone", f"u{number}", "{}", 0) for number in range(10)]
    written = await asyncio.gather(*(store.write([draft], (), alone) for draft in drafts), return_exceptions=True)
    assert sum(isinstance(each, Conflict) for each in written) == 9 and len(await store.every("user", "alone")) == 1
    await store.write([Draft("user", "elsewhere", "u1", "{}", 0)], (), alone)


async def test_a_definition_is_read_as_it_was_committed_last(database: str, store: ControlStore) -> None:
    other = ControlStore(database)
    try:
        assert await store.get("metric", "t", "seen") is None
        for version, payload in enumerate(('{"n":1}', '{"n":2}'), start=1):
            await other.put("metric", "t", "seen", payload)
            found = await store.get("metric", "t", "seen")
            assert found is not None and (found.version, found.payload, found.deleted) == (version, payload, False)
        assert await store.get("metric", "other", "seen") is None and await store.get("flag", "t", "seen") is None
        await other.delete("metric", "t", "seen")
        assert await store.get("metric", "t", "seen") is None
    finally:
        await other.close()


async def test_a_definition_is_read_beside_an_open_transaction(store: ControlStore) -> None:
    await store.put("metric", "t", "busy", '{"n":1}')
    async with writing(store.engine) as connection:
        await connection.execute(text("UPDATE definitions SET payload = 'half' WHERE id = 'busy'"))
        found = await store.get("metric", "t", "busy")
    assert found is not None and found.payload == '{"n":1}'


async def test_a_definition_cannot_be_read_before_there_is_a_store(tmp_path: Path) -> None:
    store = ControlStore(f"sqlite+aiosqlite:///{tmp_path}/control.sqlite3")
    with pytest.raises(Unavailable):
        await store.get("metric", "t", "m")
    await store.migrate()
    await store.put("metric", "t", "m", "{}")
    assert await store.get("metric", "t", "m") is not None
    await store.close()
