"""What the platform relies on in ClickHouse's HTTP interface, asked of the embedded engine and of the server proper.

The server proper runs in a container where a Docker engine answers; elsewhere those cases are skipped.
"""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import clickhouse_connect
import httpx
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from infra.runtime.clickhouse import ClickHouse, ClickHouseError
from tests.contract.clickhouse import Server, count, lines


async def test_ping_and_headers(server: Server, writer: ClickHouse) -> None:
    assert await writer.ping()
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{server.url}/ping")).text == "Ok.\n"
        answer = await http.post(server.url, params={"user": server.writer, "query_id": "mine-1"}, content="SELECT 1 AS x FORMAT JSONCompact")
        assert answer.status_code == 200
        assert answer.headers["x-clickhouse-query-id"] == "mine-1"
        assert answer.headers["x-clickhouse-format"] == "JSONCompact"
        assert "read_rows" in json.loads(answer.headers["x-clickhouse-summary"])
        assert answer.json()["data"] == [[1]]


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("SELEKT 1", 400, 62),
        ("SELECT * FROM suite.nowhere", 404, 60),
        ("SELECT unknown_name", 404, 47),
        ("SELECT nofunction(1)", 404, 46),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT 1 SETTINGS no_such_setting = 1", 404, 115),
    ],
)
@pytest.mark.usefixtures("writer")
async def test_refusals_carry_code_and_status(server: Server, statement: str, status: int, code: int) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(server.url, params={"user": server.writer}, content=statement)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (status, str(code))
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")


async def test_unknown_users_and_wrong_passwords_are_refused(server: Server) -> None:
    async with httpx.AsyncClient() as http:
        nobody = {"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": "x"}
        for params, headers in (({"user": "nobody"}, {}), ({}, nobody), ({"user": server.writer, "password": "wrong"}, {})):
            answer = await http.post(server.url, params=params, content="SELECT 1", headers=headers)
            assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (403, "516")
        assert (await http.post(server.url, content="SELECT 1", auth=(server.writer, ""))).text == "1\n"
        assert (await http.post(server.url, content="SELECT 1", headers={"X-ClickHouse-User": server.writer})).text == "1\n"


async def test_get_changes_nothing(server: Server, table: str) -> None:
    async with httpx.AsyncClient() as http:
        base = {"user": server.writer, "database": "suite"}
        assert (await http.get(server.url, params={**base, "query": "SELECT 1"})).text == "1\n"
        assert (await http.get(server.url, params={**base, "query": f"DROP TABLE {table}"})).headers["x-clickhouse-exception-code"] == "164"


async def test_parameters_arrive_as_they_were(writer: ClickHouse) -> None:
    values: dict[str, Any] = {
        "s": "it's \\ \t\n\r ünï {a:b} ' OR 1=1 --",
        "a": ["x'y", "\\n", "\n"],
        "i": 2**64 - 1,
        "n": None,
        "m": {"k'": "v\t"},
        "f": 1.5e300,
        "b": True,
        "e": "",
        "an": [None, "x"],
    }
    types = {"s": "String", "a": "Array(String)", "i": "UInt64", "n": "Nullable(String)", "m": "Map(String, String)"}
    types |= {"f": "Float64", "b": "Bool", "e": "String", "an": "Array(Nullable(String))"}
    select = "SELECT " + ", ".join(f"{{{name}:{kind}}} AS {name}" for name, kind in types.items())
    assert await writer.query(select, values) == [values]
    moment = datetime(2024, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    row = await writer.query(
        "SELECT {d:DateTime64(6, 'UTC')} AS d, {u:UUID} AS u, {t:Tuple(UInt8, String)} AS t", {"d": moment, "u": UUID(int=5), "t": (1, "z")}
    )
    assert row == [{"d": "2024-01-02 03:04:05.678901", "u": str(UUID(int=5)), "t": [1, "z"]}]


@pytest.mark.parametrize("length", [5_000, 5_001, 120_000])
async def test_long_parameters_arrive_as_they_were(writer: ClickHouse, length: int) -> None:
    """However they travel."""
    values: dict[str, Any] = {"a": ["it's \\ \t\n\r\n--x ünï"] * (length // 40), "s": "é" * (length // 2), "e": ""}
    assert await writer.query("SELECT {a:Array(String)} AS a, {s:String} AS s, {e:String} AS e", values) == [values]


async def test_integers_stay_exact_and_arrow_comes_typed(writer: ClickHouse) -> None:
    assert await writer.query("SELECT 18446744073709551615::UInt64 AS a, -9223372036854775808::Int64 AS b") == [{"a": 2**64 - 1, "b": -(2**63)}]
    result = await writer.query_arrow("SELECT number AS n, toString(number) AS s FROM numbers({k:UInt64})", {"k": 3})
    assert result.to_pydict() == {"n": [0, 1, 2], "s": ["0", "1", "2"]}


async def test_settings_of_one_request_do_not_reach_another(writer: ClickHouse) -> None:
    read = "SELECT getSetting('max_block_size') AS v"
    before = await writer.query(read)
    assert await writer.query(read, settings={"max_block_size": 777}) == [{"v": 777}]
    await writer.command("SET max_block_size = 778")
    answers = await asyncio.gather(*(writer.query(read, settings={"max_block_size": 1000 + number}) for number in range(12)))
    assert [answer[0]["v"] for answer in answers] == [1000 + number for number in range(12)]
    assert await writer.query(read) == before


async def test_nothing_of_a_request_stays_for_the_next_with_the_same_settings(reader: ClickHouse, writer: ClickHouse) -> None:
    read, parameter = "SELECT getSetting('max_block_size') AS v", "SELECT {mine:String} AS v"
    for client in (writer, reader):
        before = await client.query(read)
        assert await client.query(parameter, {"mine": "first"}) == [{"v": "first"}]
        with pytest.raises(ClickHouseError, match="mine"):
            await client.query(parameter)
        assert await client.query(read) == before
        with pytest.raises(ClickHouseError, match="mistake"):
            await client.query("SELECT throwIf(1, 'mistake')")
        assert await client.query(parameter, {"mine": "second"}) == [{"v": "second"}]
    before = await writer.query(read)
    assert await writer.query(f"{read} SETTINGS max_block_size = 779") == [{"v": 779}]
    await writer.command("CREATE TEMPORARY TABLE passing (a UInt8)")
    with pytest.raises(ClickHouseError, match="passing"):
        await writer.query("SELECT * FROM passing")
    assert await writer.query(read) == before


async def test_more_kinds_of_settings_than_are_remembered(writer: ClickHouse) -> None:
    read = "SELECT getSetting('max_block_size') AS v"
    for _ in range(2):
        assert [(await writer.query(read, settings={"max_block_size": 1_000 + number}))[0]["v"] for number in range(80)] == list(range(1_000, 1_080))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {table} (id) VALUES (1)",
        "DROP TABLE {table}",
        "TRUNCATE TABLE {table}",
        "ALTER TABLE {table} DELETE WHERE 1",
        "CREATE TABLE other (a UInt8) ENGINE = Memory",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM `file`('/etc/hostname', 'LineAsString')",
        "SELECT * FROM remote('127.0.0.1:1', system.one)",
        "SYSTEM FLUSH LOGS",
        "SELECT 1; DROP TABLE {table}",
    ],
)
async def test_the_reader_may_only_read(reader: ClickHouse, writer: ClickHouse, table: str, statement: str) -> None:
    with pytest.raises(ClickHouseError) as refused:
        await reader.command(statement.format(table=table))
    assert refused.value.code in (62, 164, 497)
    assert await count(reader, table) == 0


@pytest.mark.parametrize(
    "statement", ["SELECT file('/etc/hostname')", "SELECT 1 INTO OUTFILE '/tmp/millstream-out'", "SELECT * FROM python('x')", "KILL QUERY WHERE 1"]
)
async def test_the_reader_cannot_leave_the_engine(reader: ClickHouse, statement: str) -> None:
    with pytest.raises(ClickHouseError):
        await reader.command(statement)


@pytest.mark.parametrize(
    ("statement", "codes"),
    [
        ("SELECT count() FROM numbers(100000000)", {158}),
        (
            "SELECT count() FROM (SELECT number AS a FROM numbers(4000000)) AS l CROSS JOIN (SELECT number AS b FROM numbers(900000)) AS r WHERE a * b % 7 = 3",
            {159, 160},
        ),
        ("SELECT length(groupArray(repeat(toString(number), 100))) FROM numbers(4000000)", {241}),
    ],
)
async def test_the_reader_has_limits(reader: ClickHouse, statement: str, codes: set[int]) -> None:
    # The ceiling holds even where the request asks for more.
    for settings in ({}, {"max_execution_time": 600}):
        if settings and codes != {159, 160}:
            continue
        with pytest.raises(ClickHouseError) as refused:
            await reader.query(statement, settings=settings)
        # The server proper refuses to raise a limit; the embedded engine keeps it silently.
        assert refused.value.code in (codes if not settings else codes | {452})


async def test_reads_and_inserts_run_side_by_side(writer: ClickHouse, table: str) -> None:
    slow = [asyncio.create_task(writer.query("SELECT sum(sleepEachRow(0.2)) AS s FROM numbers(10)", settings={"max_block_size": 1})) for _ in range(6)]
    for number in range(10):
        await writer.insert_bytes(f"INSERT INTO {table} (id, name) FORMAT ArrowStream", lines(number * 10, 10), {"async_insert": 0})
    assert await count(writer, table) == 100
    assert not all(task.done() for task in slow)
    await asyncio.gather(*slow)


async def test_connection_failures_are_retryable() -> None:
    client = ClickHouse("http://127.0.0.1:1", "nobody")
    assert not await client.ping()
    with pytest.raises(ClickHouseError) as refused:
        await client.query("SELECT 1")
    assert (refused.value.code, refused.value.retryable, refused.value.poison) == (0, True, False)
    await client.aclose()


async def test_deadlines_are_retryable(writer: ClickHouse) -> None:
    with pytest.raises(ClickHouseError) as refused:
        await writer.query("SELECT sleep(1)", timeout=0.1)
    assert (refused.value.code, refused.value.retryable) == (0, True)


@pytest.mark.parametrize("compress", [False, True])
def test_clickhouse_connect_works_unmodified(server: Server, compress: bool) -> None:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    client = clickhouse_connect.get_client(host=host, port=int(port), username=server.writer, compress=compress)
    try:
        client.command("DROP TABLE IF EXISTS typed")
        client.command(
            "CREATE TABLE typed (id UInt64, s String, n Nullable(Int32), d DateTime64(6, 'UTC'), m Map(String, String), a Array(String)) "
            "ENGINE = MergeTree ORDER BY id"
        )
        moment = datetime(2024, 5, 6, 7, 8, 9, 123_456, tzinfo=UTC)
        rows = [[number, f"søme{number}", None if number % 2 else number, moment, {"k": str(number)}, ["x", "y"]] for number in range(1000)]
        assert client.insert("typed", rows, column_names=["id", "s", "n", "d", "m", "a"]).written_rows == 1000
        found = client.query("SELECT * FROM typed WHERE id < {top:UInt64} ORDER BY id", parameters={"top": 2}).result_rows
        assert [row[:3] for row in found] == [(0, "søme0", 0), (1, "søme1", None)]
        assert found[0][4:] == ({"k": "0"}, ["x", "y"])
        assert client.query_arrow("SELECT count() AS c, max(id) AS m FROM typed").to_pylist() == [{"c": 1000, "m": 999}]
        assert client.insert_arrow("typed", pa.table({"id": pa.array([5000], pa.uint64()), "s": ["z"]})).written_rows == 1
        assert client.command("SELECT count() FROM typed") == 1001
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            client.query("SELECT * FROM nowhere")
    finally:
        client.close()
