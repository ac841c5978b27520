"""The query service on running parts: from the updates topic and the tables to a client's socket and a waiting read."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import Settings
from query_api.app import create_app
from schemas.any_value import encode
from schemas.avro import WindowUpdate, encode_update
from schemas.tables.catalog import TABLES
from schemas.topics import TOPICS, UPDATES
from tests.support import EmbeddedParts, eventually

KEY = "flow-test-key-0123456789"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedParts]:
    base = Settings(bootstrap_api_key=SecretStr(KEY))
    with EmbeddedParts(settings=base) as parts:
        asyncio.run(prepare(parts.settings))
        yield parts


async def prepare(settings: Settings) -> None:
    """Database, tables and topics."""
    root = ClickHouse(settings.clickhouse.url, settings.clickhouse.user, settings.clickhouse.password.get_secret_value(), "")
    await root.command(f"CREATE DATABASE IF NOT EXISTS {settings.clickhouse.database}")
    await root.aclose()
    clickhouse = writer(settings)
    for table in TABLES:
        for statement in table.create(1_000, 90):
            await clickhouse.command(statement)
    await clickhouse.aclose()
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic.name, 1, 1) for topic in TOPICS])
    finally:
        await admin.close()


def writer(settings: Settings) -> ClickHouse:
    return ClickHouse(settings.clickhouse.url, settings.clickhouse.user, settings.clickhouse.password.get_secret_value(), settings.clickhouse.database)


async def insert(settings: Settings, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    clickhouse = writer(settings)
    try:
        await clickhouse.insert_bytes(f"INSERT INTO {table} FORMAT JSONEachRow", "\n".join(json.dumps(row) for row in rows).encode())
    finally:
        await clickhouse.aclose()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """The query service on a port of its own; gives host and port once it is ready for the key."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning", ws="websockets-sansio", lifespan="on"))
    task = asyncio.create_task(server.serve([listener]))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:

            async def knows_the_key() -> bool:
                return (await http.get("/platform/v1/definitions", headers=HEADERS)).status_code == 200

            await eventually(lambda: server.started)
            await eventually(knows_the_key)
            await eventually(lambda: followed(http))
        yield address
    finally:
        server.should_exit = True
        await task
        listener.close()


async def followed(http: httpx.AsyncClient) -> bool:
    """Whether every part but the workers is ready."""
    parts = (await http.get("/platform/v1/health/ready")).json()["parts"]
    return [part["part"] for part in parts if not part["ready"]] == ["workers"]


def window(revision: int, item: str = "m/b") -> dict[str, Any]:
    return {
        "tenant": "default", "subject": "exp", "grain": "all", "window_start": "1970-01-01 00:00:00.000000", "item": item, "revision": revision,
        "computed_at": "2026-01-01 00:00:00.000000", "positions": {"events:0": revision}, "payload": json.dumps({"n": revision}),
    }  # fmt: skip


async def publish(settings: Settings, *revisions: int, tenant: str = "default") -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
    await producer.start()
    try:
        for revision in revisions:
            update = WindowUpdate("significance", tenant, "exp", "all", 0, revision, revision, {"events:0": revision}, json.dumps({"m/b": {"n": revision}}))
            await producer.send_and_wait(UPDATES.name, encode_update(update))
    finally:
        await producer.stop()


async def received(connection: websockets.ClientConnection, type: str) -> dict[str, Any]:
    """The next message of a type."""
    async with asyncio.timeout(20):
        while True:
            message: dict[str, Any] = json.loads(await connection.recv())
            assert message["type"] in {type, "heartbeat"}, message
            if message["type"] == type:
                return message


async def test_snapshot_revisions_and_resume(embedded: EmbeddedParts) -> None:
    settings = embedded.settings
    await insert(settings, "windows_significance", [window(1), window(2), window(2, "m/c")])
    async with serving(settings) as address:
        url = f"ws://{address}/platform/v1/live"
        async with websockets.connect(url, additional_headers=HEADERS) as connection:
            await received(connection, "authenticated")
            await connection.send(json.dumps({"type": "subscribe", "kind": "significance", "subject": "exp"}))
            snapshot = await received(connection, "snapshot")
            assert [(each["revision"], each["items"]) for each in snapshot["windows"]] == [(2, {"m/b": {"n": 2}, "m/c": {"n": 2}})]
            await publish(settings, 1, tenant="other")
            await publish(settings, 2, 3, 4)
            updates = [(await received(connection, "update"))["window"] for _ in range(2)]
            assert [(each["revision"], each["items"]) for each in updates] == [(3, {"m/b": {"n": 3}}), (4, {"m/b": {"n": 4}})]
        await insert(settings, "windows_significance", [window(5)])
        async with websockets.connect(url) as connection:
            await connection.send(json.dumps({"type": "authenticate", "key": KEY}))
            await received(connection, "authenticated")
            await connection.send(json.dumps({"type": "subscribe", "kind": "significance", "subject": "exp", "from_revision": 4}))
            assert [each["revision"] for each in (await received(connection, "snapshot"))["windows"]] == [5]
            await publish(settings, 5, 6)
            assert (await received(connection, "update"))["window"]["revision"] == 6


async def test_a_read_waits_for_storage_and_for_the_windows(embedded: EmbeddedParts) -> None:
    settings = embedded.settings
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    block = {"topic": "events", "partition": 0, "generation": "g", "batch_id": "b", "rows": 1, "outcome": "stored", "born": now, "stored": now}
    await insert(settings, "ledger", [{**block, "offset": 0, "subjects": ["default/waited"]}])
    async with serving(settings) as address, httpx.AsyncClient(base_url=f"http://{address}", headers=HEADERS) as http:
        path = "/platform/v1/windows/significance?subject=waited&grain=all"
        late = await http.get(path, headers={"X-Millstream-Wait-For": "events:0:1", "X-Millstream-Wait-Timeout": "0.1"})
        assert late.status_code == 504
        assert late.headers["x-millstream-watermark"] == "events:0:0"
        waiting = asyncio.create_task(http.get(path, headers={"X-Millstream-Wait-For": "events:0:1"}))
        await insert(settings, "ledger", [{**block, "offset": 1, "subjects": ["default/waited"]}])
        stored = await http.get("/llm/v1/projects/default/spans", headers={"X-Millstream-Wait-For": "events:0:1"})
        assert stored.headers["x-millstream-watermark"] == "events:0:1"
        assert not waiting.done()
        progress = {"kind": "significance", "tenant": "default", "subject": "waited", "revision": 1, "positions": {"events:0": 1}, "at": now}
        await insert(settings, "windows_significance", [{**window(1), "subject": "waited"}])
        await insert(settings, "watermarks", [progress])
        answer = await waiting
        assert answer.status_code == 200
        assert [each["item"] for each in answer.json()["data"]] == ["m/b"]
        every_grain = "/platform/v1/windows/significance?subject=waited"
        early = await http.get(every_grain, headers={"X-Millstream-Wait-For": "events:0:1", "X-Millstream-Wait-Timeout": "0.1"})
        assert early.status_code == 504, "the other grains are not there yet"
        await insert(settings, "watermarks", [{**progress, "kind": "significance/windows"}])
        whole = await http.get(every_grain, headers={"X-Millstream-Wait-For": "events:0:1"})
        assert whole.status_code == 200


async def test_every_span_once_over_the_pages(embedded: EmbeddedParts) -> None:
    settings = embedded.settings
    clickhouse = writer(settings)
    model = encode("gpt-4o").hex()
    for _ in range(2):
        # Equal starts, several minutes, and everything sent twice.
        await clickhouse.command(
            "INSERT INTO spans (tenant, project, trace_id, span_id, name, start_time, end_time, attributes, received) "
            "SELECT 'default', 'pages', lower(hex(MD5(toString(number % 700)))), lower(hex(substring(MD5(toString(number)), 1, 8))), concat('op', toString(number % 3)), "
            f"toDateTime64('2026-01-01 00:00:00', 9, 'UTC') + toIntervalSecond(number % 200), now64(9), map('llm.model_name', unhex('{model}')), now64(6) FROM numbers(2500)"
        )
    await clickhouse.aclose()
    async with serving(settings) as address, httpx.AsyncClient(base_url=f"http://{address}", headers=HEADERS) as http:

        async def every(**params: Any) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            cursor = None
            while True:
                response = await http.get("/llm/v1/projects/pages/spans", params={**params, **({"cursor": cursor} if cursor else {})})
                assert response.status_code == 200, response.text
                found += response.json()["data"]
                cursor = response.json()["next_cursor"]
                if cursor is None:
                    return found

        for limit in (1000, 333):
            spans = await every(limit=limit)
            assert len(spans) == len({(span["context"]["trace_id"], span["context"]["span_id"]) for span in spans}) == 2500
            starts = [span["start_time"] for span in spans]
            assert starts == sorted(starts, reverse=True)
        assert {span["attributes"]["llm.model_name"] for span in spans} == {"gpt-4o"}
        assert {span["name"] for span in await every(limit=1000, name=["op1", "op2"])} == {"op1", "op2"}
        traces = [spans[0]["context"]["trace_id"], spans[1]["context"]["trace_id"]]
        assert {span["context"]["trace_id"] for span in await every(trace_id=traces)} == set(traces)
        inside = await every(limit=1000, start_time="2026-01-01T00:00:10Z", end_time="2026-01-01T00:00:12Z")
        assert {span["start_time"] for span in inside} == {"2026-01-01T00:00:10Z", "2026-01-01T00:00:11Z"}


async def test_other_tenants_see_nothing(embedded: EmbeddedParts) -> None:
    await insert(embedded.settings, "windows_significance", [{**window(1), "tenant": "other", "subject": "theirs"}])
    async with serving(embedded.settings) as address, httpx.AsyncClient(base_url=f"http://{address}", headers=HEADERS) as http:
        found = (await http.get("/platform/v1/windows/significance?subject=theirs")).json()
        assert found["data"] == []
        topics = (await http.get("/platform/v1/topics")).json()["data"]
        assert {topic["topic"] for topic in topics} == {topic.name for topic in TOPICS}
        assert all(topic["exists"] for topic in topics)
