"""How inserts behave when they come in every format, are repeated, are damaged, or are cut off: the ground that the sink stands on."""

import asyncio
import gzip
import json
import zlib
from typing import Any

import httpx
import lz4.frame
import pytest
import zstandard

from infra.runtime.clickhouse import ClickHouse, ClickHouseError
from tests.contract.clickhouse import PROTO, Server, count, lines, names, protobuf_line
from tests.support import EmbeddedParts, eventually


@pytest.mark.parametrize("form", ["plain", "input"])
@pytest.mark.parametrize("data", ["ArrowStream", "JSONEachRow", "Native", "Protobuf"])
async def test_bodies_are_inserted_in_every_format(writer: ClickHouse, server: Server, table: str, data: str, form: str) -> None:
    settings: dict[str, Any] = {"insert_deduplication_token": f"{data}-{form}", "async_insert": 0, "insert_deduplicate": 1}
    if data == "Protobuf":
        body = b"".join(protobuf_line(number, f"n{number}", []) for number in range(100))
        settings |= {"format_schema_source": "string", "format_schema": PROTO, "format_schema_message_name": "Line"}
    elif data == "JSONEachRow":
        body = b"\n".join(json.dumps({"id": number, "name": f"n{number}"}).encode() for number in range(100))
    elif data == "ArrowStream":
        body = lines(0, 100)
    else:
        async with httpx.AsyncClient() as http:
            source = "SELECT number AS id, concat('n', toString(number)) AS name FROM numbers(100) FORMAT Native"
            body = (await http.post(server.url, params={"user": server.writer}, content=source)).content
    source = "" if form == "plain" else "SELECT id, name FROM input('id UInt64, name String')"
    for _ in range(2):
        await writer.insert_bytes(f"INSERT INTO {table} (id, name) {source} FORMAT {data}", body, settings)
    rows = await writer.query(f"SELECT count() AS n, sum(id) AS ids, uniqExact(name) AS names, any(note) AS note FROM {table}")
    assert rows == [{"n": 100, "ids": 4950, "names": 100, "note": "none"}]


async def test_rows_are_unfolded_while_they_are_inserted(writer: ClickHouse, table: str) -> None:
    body = b"".join(protobuf_line(number, "x", [1, 2, 3]) for number in range(50))
    schema = {"format_schema_source": "string", "format_schema": PROTO, "format_schema_message_name": "Line"}
    sql = (
        f"INSERT INTO {table} (id, name) SETTINGS max_insert_block_size = 1048449 "
        "SELECT id * 10 + arrayJoin(parts), name FROM input('id UInt64, name String, parts Array(UInt64)') FORMAT Protobuf"
    )
    await writer.insert_bytes(sql, body, {**schema, "async_insert": 0})
    assert await count(writer, table) == 150


async def test_data_may_follow_the_statement_or_come_apart(server: Server, writer: ClickHouse, table: str) -> None:
    async with httpx.AsyncClient(params={"user": server.writer, "database": "suite"}) as http:
        head = f"INSERT INTO {table} (id, name)"
        for query, body in (
            ("", head.encode() + b" FORMAT JSONEachRow\n" + b'{"id": 1, "name": "a"}'),
            ("", head.encode() + b" FORMAT ArrowStream\n" + lines(2, 1)),
            (f"{head} FORMAT JSONEachRow", b'{"id": 3, "name": "c"}'),
            (f"{head} VALUES", b"(4, 'd')"),
            ("", head.encode() + b" VALUES (5, 'e; f')"),
            (f"{head} SETTINGS async_insert = 0 FORMAT CSV", b"6,g\n"),
        ):
            answer = await http.post(server.url, params={"query": query} if query else {}, content=body)
            assert answer.status_code == 200, answer.text
    assert [row["id"] for row in await writer.query(f"SELECT id FROM {table} ORDER BY id")] == [1, 2, 3, 4, 5, 6]


async def test_compressed_bodies(server: Server, writer: ClickHouse, table: str) -> None:
    packers = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress, "lz4": lz4.frame.compress}
    async with httpx.AsyncClient() as http:
        for number, (encoding, pack) in enumerate(packers.items()):
            params = {"user": server.writer, "database": "suite", "query": f"INSERT INTO {table} (id, name) FORMAT ArrowStream"}
            answer = await http.post(server.url, params=params, content=pack(lines(number * 10, 10)), headers={"Content-Encoding": encoding})
            assert answer.status_code == 200, answer.text
    assert await count(writer, table) == 40


@pytest.mark.parametrize("form", ["plain", "input"])
async def test_compressed_blocks_are_stored_once_and_damaged_ones_are_poison(writer: ClickHouse, table: str, form: str) -> None:
    schema: dict[str, Any] = {"format_schema_source": "string", "format_schema": PROTO, "format_schema_message_name": "Line"}
    settings = {**schema, "async_insert": 0, "insert_deduplicate": 1, "insert_deduplication_token": "packed"}
    source = "" if form == "plain" else "SELECT id, name FROM input('id UInt64, name String')"
    statement = f"INSERT INTO {table} (id, name) {source} FORMAT Protobuf"
    plain = b"".join(protobuf_line(number, f"n{number}", []) for number in range(1, 128))
    sized, unsized = lz4.frame.compress(plain), lz4.frame.compress(plain, store_size=False)
    for body in (sized, sized, unsized):
        await writer.insert_bytes(statement, body, settings, encoding="lz4")
    assert await count(writer, table) == 127
    for damaged in (sized[:30] + b"\xff" * 40 + sized[70:], b"no frame at all"):
        with pytest.raises(ClickHouseError) as refused:
            await writer.insert_bytes(statement, damaged, {**settings, "insert_deduplication_token": "damaged"}, encoding="lz4")
        assert refused.value.poison, refused.value.message
    assert await count(writer, table) == 127


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ("ArrowStream", lines(0, 50)[:-30]),
        ("ArrowStream", b"garbage!" * 8),
        ("JSONEachRow", b'{"id": "x"}'),
        ("Native", b"\x07garbage"),
        ("Protobuf", b"\xff\xff\xff"),
    ],
)
async def test_malformed_data_is_poison_and_stores_nothing(writer: ClickHouse, table: str, data: str, body: bytes) -> None:
    schema = {"format_schema_source": "string", "format_schema": PROTO, "format_schema_message_name": "Line"} if data == "Protobuf" else {}
    with pytest.raises(ClickHouseError) as refused:
        await writer.insert_bytes(f"INSERT INTO {table} (id, name) FORMAT {data}", body, {**schema, "async_insert": 0})
    assert refused.value.poison
    assert not refused.value.retryable
    assert await count(writer, table) == 0


async def test_damaged_blocks_never_stop_the_server(writer: ClickHouse, table: str) -> None:
    good = lines(0, 20)
    for position in range(0, len(good), 23):
        damaged = good[:position] + bytes([good[position] ^ 0xFF]) + good[position + 1 :]
        try:
            await writer.insert_bytes(f"INSERT INTO {table} (id, name) FORMAT ArrowStream", damaged, {"async_insert": 0, "insert_deduplicate": 0})
        except ClickHouseError as error:
            assert error.code != 0, error.message
    assert await writer.ping()


@pytest.mark.parametrize("views", [0, 1])
@pytest.mark.parametrize("target_window", [0, 1000])
@pytest.mark.parametrize("source_window", [0, 1000])
async def test_repeated_inserts(writer: ClickHouse, source_window: int, target_window: int, views: int) -> None:
    """Three times the same 1,000 rows with the same token, for every combination of windows and view setting."""
    name = f"raw_{next(names)}"
    window = "SETTINGS non_replicated_deduplication_window"
    await writer.command(f"CREATE TABLE {name} (id UInt64, name String) ENGINE = MergeTree ORDER BY id {window} = {source_window}")
    await writer.command(f"CREATE TABLE {name}_sum (n AggregateFunction(count)) ENGINE = AggregatingMergeTree ORDER BY tuple() {window} = {target_window}")
    await writer.command(f"CREATE MATERIALIZED VIEW {name}_view TO {name}_sum AS SELECT countState() AS n FROM {name}")
    settings = {
        "insert_deduplication_token": "one",
        "async_insert": 0,
        "insert_deduplicate": 1,
        "deduplicate_blocks_in_dependent_materialized_views": views,
        "max_insert_block_size": 1_048_449,
    }
    for _ in range(3):
        await writer.insert_bytes(f"INSERT INTO {name} (id, name) FORMAT ArrowStream", lines(0, 1000), settings)
    counted = int((await writer.query(f"SELECT countMerge(n) AS n FROM {name}_sum"))[0]["n"])
    expected_rows = 1000 if source_window else 3000
    expected_counted = 1000 if target_window and views else 3000
    assert (await count(writer, name), counted) == (expected_rows, expected_counted)


async def test_a_failed_view_is_healed_by_repeating_with_the_token(writer: ClickHouse) -> None:
    name = f"heal_{next(names)}"
    window = "SETTINGS non_replicated_deduplication_window = 100"
    await writer.command(f"CREATE TABLE {name} (id UInt64, name String) ENGINE = MergeTree ORDER BY id {window}")
    await writer.command(f"CREATE TABLE {name}_copy (id UInt64) ENGINE = MergeTree ORDER BY id {window}")
    await writer.command(f"CREATE TABLE {name}_stop (id UInt64) ENGINE = MergeTree ORDER BY id")
    await writer.command(f"INSERT INTO {name}_stop VALUES (1)")
    await writer.command(
        f"CREATE MATERIALIZED VIEW {name}_view TO {name}_copy AS SELECT id FROM {name} WHERE throwIf((SELECT count() FROM {name}_stop) > 0) = 0"
    )
    settings = {"insert_deduplication_token": "one", "async_insert": 0, "insert_deduplicate": 1, "deduplicate_blocks_in_dependent_materialized_views": 1}

    async def insert() -> None:
        await writer.insert_bytes(f"INSERT INTO {name} (id, name) FORMAT ArrowStream", lines(0, 10), settings)

    with pytest.raises(ClickHouseError):
        await insert()
    await writer.command(f"TRUNCATE TABLE {name}_stop")
    await insert()
    await insert()
    assert (await count(writer, name), await count(writer, f"{name}_copy")) == (10, 10)


async def test_asynchronous_inserts_keep_their_tokens(writer: ClickHouse, table: str) -> None:
    settings = {"async_insert": 1, "wait_for_async_insert": 1, "insert_deduplicate": 1, "async_insert_deduplicate": 1}
    for token in ("a", "a", "b"):
        body = lines(0 if token == "a" else 100, 10)
        await writer.insert_bytes(f"INSERT INTO {table} (id, name) FORMAT ArrowStream", body, {**settings, "insert_deduplication_token": token})
    assert await count(writer, table) == 20


async def test_what_was_answered_survives_a_kill() -> None:
    """Every insert that was confirmed is there after SIGKILL, and tokens are still remembered."""
    parts = EmbeddedParts(kafka=False)
    await asyncio.to_thread(parts.start)
    clickhouse = parts.settings.clickhouse
    client = ClickHouse(clickhouse.url, clickhouse.user, database="default")
    try:
        await client.command("CREATE TABLE kept (id UInt64, name String) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100")
        confirmed: set[int] = set()

        async def insert(number: int) -> None:
            settings = {"insert_deduplication_token": str(number), "async_insert": 0, "insert_deduplicate": 1}
            await client.insert_bytes("INSERT INTO kept (id, name) FORMAT ArrowStream", lines(number * 100, 100), settings)
            confirmed.add(number)

        writes = [asyncio.create_task(insert(number)) for number in range(60)]
        while len(confirmed) < 20:
            await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED, timeout=0.01)
        parts.kill_engine()
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(outcome, ClickHouseError) and outcome.retryable for outcome in outcomes if outcome is not None)
        await asyncio.to_thread(parts.start_engine)
        survived = {int(row["k"]) for row in await client.query("SELECT DISTINCT intDiv(id, 100) AS k FROM kept")}
        assert confirmed <= survived
        await asyncio.gather(*(insert(number) for number in range(60)))
        assert await client.query("SELECT count() AS n, uniqExact(id) AS ids FROM kept") == [{"n": 6000, "ids": 6000}]
    finally:
        await client.aclose()
        await asyncio.to_thread(parts.stop)


async def test_sigterm_lets_running_statements_finish() -> None:
    parts = EmbeddedParts(kafka=False)
    await asyncio.to_thread(parts.start)
    client = ClickHouse(parts.settings.clickhouse.url, parts.settings.clickhouse.user, database="default")
    slow = asyncio.create_task(client.query("SELECT sum(sleepEachRow(0.1)) AS s FROM numbers(10)", settings={"max_block_size": 1}))
    try:

        async def runs() -> bool:
            seen = await client.query("SELECT count() AS n FROM system.processes WHERE query LIKE '%sleepEachRow(0.1)%' AND query NOT LIKE '%processes%'")
            return bool(seen[0]["n"])

        await eventually(runs)
        status = await asyncio.to_thread(parts.end_engine)
        assert await slow == [{"s": 0}]
        assert status == 0
    finally:
        await client.aclose()
        await asyncio.to_thread(parts.stop)
