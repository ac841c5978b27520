"""The servers and databases that the contract suites ask."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from sqlalchemy import text

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import Settings
from query_api.control.store import ControlStore
from tests.contract.clickhouse import READ_MEMORY, READ_ROWS, READ_SECONDS, Server, names
from tests.contract.postgres import postgres_url
from tests.support import EmbeddedParts


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an empty database: SQLite in a folder that is still to be made, then PostgreSQL where one is found; one of each per test file."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('control')}/folder/control.sqlite3"
        return
    with postgres_url() as url:
        yield url


@pytest.fixture
async def store(database: str) -> AsyncIterator[ControlStore]:
    """A migrated store without definitions; whatever else a test stores stays for those after it."""
    store = ControlStore(database)
    await store.migrate()
    async with store.engine.begin() as connection:
        await connection.execute(text("DELETE FROM definitions"))
        await connection.execute(text("DELETE FROM outbox"))
    yield store
    await store.close()


@pytest.fixture(scope="module", params=["embedded", "server"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The embedded engine, then ClickHouse's own server where Docker answers; one of each per test file."""
    if request.param == "embedded":
        limits = {"read_timeout_s": READ_SECONDS, "read_max_memory_bytes": READ_MEMORY, "read_max_rows": READ_ROWS}
        settings = Settings()
        with EmbeddedParts(kafka=False, settings=settings.model_copy(update={"clickhouse": settings.clickhouse.model_copy(update=limits)})) as parts:
            clickhouse = parts.settings.clickhouse
            yield Server(clickhouse.url, clickhouse.user, clickhouse.reader_user, embedded=True)
    else:
        yield from _container()


def _container() -> Iterator[Server]:
    docker = pytest.importorskip("docker")
    try:
        docker.from_env().ping()
    except docker.errors.DockerException:
        pytest.skip("no Docker engine answers here")
    from testcontainers.clickhouse import ClickHouseContainer

    with ClickHouseContainer("clickhouse/clickhouse-server:26.3", username="millstream", password="").with_env(
        "CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT", "1"
    ) as container:
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8123)}"
        limits = f"max_execution_time = {READ_SECONDS:g} MIN 0 MAX {READ_SECONDS:g}, max_memory_usage = {READ_MEMORY}, max_rows_to_read = {READ_ROWS}"
        for statement in (
            f"CREATE USER millstream_reader IDENTIFIED WITH no_password SETTINGS {limits}, readonly = 2",
            "GRANT SELECT, SHOW ON *.* TO millstream_reader",
        ):
            httpx.post(url, params={"user": "millstream"}, content=statement).raise_for_status()
        yield Server(url, "millstream", "millstream_reader", embedded=False)


@pytest.fixture
async def writer(server: Server) -> AsyncIterator[ClickHouse]:
    setup = server.client(database="")
    await setup.command("CREATE DATABASE IF NOT EXISTS suite")
    await setup.aclose()
    client = server.client()
    yield client
    await client.aclose()


@pytest.fixture
async def reader(server: Server, writer: ClickHouse) -> AsyncIterator[ClickHouse]:
    client = server.client(server.reader)
    yield client
    await client.aclose()


@pytest.fixture
async def table(writer: ClickHouse) -> str:
    """A fresh table that remembers insert tokens."""
    name = f"lines_{next(names)}"
    await writer.command(
        f"CREATE TABLE {name} (id UInt64, name String, note String DEFAULT 'none') ENGINE = MergeTree ORDER BY id "
        "SETTINGS non_replicated_deduplication_window = 1000"
    )
    return name
